package internal_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/releases.md")

// releasesOf are the recorded releases, the oldest first.
func releasesOf() []string {
	return []string{"0.11.0", "0.12.6", "0.13.19", "0.14.22", "0.15.13", "1.0.0", "1.2.4", "1.4.1"}
}

// TestReleases compares the tables of docs/releases.md with the recorded cases.
func TestReleases(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "docs", "releases.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for name, rows := range map[string]string{"start": optionsTable(t, "start"), "install": optionsTable(t, "install"), "manifest": manifestTable(t)} {
		begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
		before, rest, found := strings.Cut(text, begin)
		old, after, closed := strings.Cut(rest, end)
		switch {
		case !found || !closed:
			t.Errorf("%s has no table %s", file, name)
		case *update:
			text = before + begin + rows + end + after
		case old != rows:
			t.Errorf("%s: the table %s is not what the cases say; go test ./internal -run TestReleases -update writes it", file, name)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// recordedCase reads what a release was recorded to do; ok is false where it has no such case.
func recordedCase(t *testing.T, release, name string, into any) (ok bool) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "conformance", "releases", release, name+".json"))
	if err != nil {
		return false
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
	return true
}

// optionsTable shows which forms of a command have an option in each release.
func optionsTable(t *testing.T, verb string) string {
	t.Helper()
	const oldForm, newForm, both = "A", "B", "A, B"
	cells := map[string]map[string]string{}
	for _, release := range releasesOf() {
		var seen []string
		for prefix, form := range map[string]string{"old-": oldForm, "": newForm} {
			var v struct {
				Expected struct{ Params []struct{ Opts []string } }
			}
			recordedCase(t, release, "cli/"+prefix+"options-"+verb, &v)
			for _, p := range v.Expected.Params {
				option := "`" + strings.Join(p.Opts, "`, `") + "`"
				if !strings.Contains(option, "--") {
					continue
				}
				if cells[option] == nil {
					cells[option] = map[string]string{}
				}
				if cells[option][release] = form; slices.Contains(seen, option) {
					cells[option][release] = both
				}
				seen = append(seen, option)
			}
		}
	}
	return releaseTable("Option", cells)
}

// manifestTable shows what the Deployments of the releases have.
func manifestTable(t *testing.T) string {
	t.Helper()
	cells := map[string]map[string]string{}
	set := func(row, release, value string) {
		if cells[row] == nil {
			cells[row] = map[string]string{}
		}
		cells[row][release] = value
	}
	for _, release := range releasesOf() {
		var v struct{ Expected struct{ YAML string } }
		name := "install/everything"
		if !recordedCase(t, release, name, &v) {
			t.Fatalf("%s has no case %s", release, name)
		}
		for line := range strings.Lines(v.Expected.YAML) {
			line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "- "))
			variable, isVariable := strings.CutPrefix(line, "name: ")
			switch {
			case isVariable && strings.ToUpper(variable) == variable, isVariable && strings.HasPrefix(variable, "PREFECT__"):
				set("`"+variable+"`", release, "yes")
			case strings.HasPrefix(line, "prefect agent "):
				command, _, _ := strings.Cut(line, " --")
				set("args: `"+command+"`", release, "yes")
			case strings.HasPrefix(line, "image: "):
				_, python, _ := strings.Cut(line, "-python")
				set("image: python", release, python)
			case line == "name: resource-manager":
				set("container resource-manager, if asked for", release, "yes")
			case strings.HasPrefix(line, "memory: "):
				set("limits of memory and cpu", release, "yes")
			case line == "events":
				set("right to events", release, "yes")
			case strings.HasPrefix(line, "apiVersion: rbac.authorization.k8s.io/"):
				set("apiVersion of the RoleBinding", release, line[strings.LastIndex(line, "/")+1:])
			}
		}
	}
	return releaseTable("Deployment", cells)
}

func releaseTable(first string, cells map[string]map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %s |\n|---%s|\n", first, strings.Join(releasesOf(), " | "), strings.Repeat("|---", len(releasesOf())))
	rows := make([]string, 0, len(cells))
	for row := range cells {
		rows = append(rows, row)
	}
	slices.Sort(rows)
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row)
		for _, release := range releasesOf() {
			fmt.Fprintf(&b, " %s |", cells[row][release])
		}
		b.WriteString("\n")
	}
	return b.String()
}
