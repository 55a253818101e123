package internal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The table in docs/promises.md names a test for each promise; every one of them
// must exist.
func TestPromises(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- promises -->")
	rows, _, found := strings.Cut(rest, "<!-- /promises -->")
	if !found {
		t.Fatal("no table between the promises comments")
	}
	promises := 0
	for line := range strings.SplitSeq(rows, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "Promise" {
			continue
		}
		promises++
		for place := range strings.SplitSeq(cells[2], ";") {
			folder, names, ok := strings.Cut(strings.TrimSpace(place), ": ")
			if !ok {
				t.Errorf("%q names no package and test", line)
			}
			for name := range strings.SplitSeq(names, ", ") {
				if !defined(t, folder, name) {
					t.Errorf("%s has no test %s, promised for: %s", folder, name, strings.TrimSpace(cells[1]))
				}
			}
		}
	}
	if promises == 0 {
		t.Error("the table is empty")
	}
}

func defined(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
