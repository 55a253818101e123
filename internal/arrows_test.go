package internal_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/prefect-kube/prefect-kube/"

// The table in ARCHITECTURE.md is the list of packages and of what each may
// import of ours. This test compares it with the code, both ways.
func TestArrows(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(table(t), imports(t)); diff != "" {
		t.Errorf("ARCHITECTURE.md and the code differ (-table +code):\n%s", diff)
	}
}

func table(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- arrows -->")
	rows, _, found := strings.Cut(rest, "<!-- /arrows -->")
	if !found {
		t.Fatal("no table between the arrows comments")
	}
	out := map[string][]string{}
	lines := bufio.NewScanner(strings.NewReader(rows))
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "Package" {
			continue
		}
		var ours []string
		for name := range strings.SplitSeq(cells[3], ",") {
			if name = strings.TrimSpace(name); name != "" {
				ours = append(ours, name)
			}
		}
		slices.Sort(ours)
		out[strings.TrimSpace(cells[1])] = ours
	}
	return out
}

func imports(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,GoFiles", "./...")
	list.Dir = ".."
	data, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	out := map[string][]string{}
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	for decoder.More() {
		var p struct {
			ImportPath string
			Imports    []string
			GoFiles    []string
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		var ours []string
		for _, name := range p.Imports {
			if after, ok := strings.CutPrefix(name, module); ok {
				ours = append(ours, after)
			}
		}
		slices.Sort(ours)
		out[strings.TrimPrefix(p.ImportPath, module)] = ours
	}
	return out
}
