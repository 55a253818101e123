package internal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The table in docs/promises.md names a test for each promise; every one of them
// must exist.
func TestPromises(t *testing.T) {
	t.Parallel()
	for _, row := range tableOf(t, "promises", 2) {
		checkTests(t, row[0], row[1])
	}
}

// The table in docs/defects.md names for every known defect of the reference what
// we do about it, and the tests that show it.
func TestDefects(t *testing.T) {
	t.Parallel()
	missing := map[string]bool{}
	for i := 1; i <= 72; i++ {
		if i < 65 || i > 69 { // those are of clients and servers, not of the agent
			missing[fmt.Sprintf("D-%02d", i)] = true
		}
	}
	for _, row := range tableOf(t, "defects", 4) {
		if !missing[row[0]] {
			t.Errorf("%s is unknown, or there twice", row[0])
		}
		delete(missing, row[0])
		checkTests(t, row[0], row[3])
	}
	for id := range missing {
		t.Errorf("%s is missing", id)
	}
}

// The table in docs/findings.md names for every kind of foreign input that did harm
// what happens now, and the tests that show it.
func TestFindings(t *testing.T) {
	t.Parallel()
	missing := map[string]bool{}
	for kind, count := range map[string]int{"F": 19, "H": 7, "M": 9, "L": 11} {
		for i := 1; i <= count; i++ {
			missing[fmt.Sprintf("%s%d", kind, i)] = true
		}
	}
	for _, row := range tableOf(t, "findings", 4) {
		if !missing[row[0]] {
			t.Errorf("%s is unknown, or there twice", row[0])
		}
		delete(missing, row[0])
		checkTests(t, row[0], row[3])
	}
}

// tableOf returns the rows between the comments of a page's name in docs, without
// the two of its head.
func tableOf(t *testing.T, page string, columns int) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", page+".md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- "+page+" -->\n")
	table, _, found := strings.Cut(rest, "<!-- /"+page+" -->")
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if !found || len(lines) < 2 {
		t.Fatalf("no table between the comments of docs/%s.md", page)
	}
	var rows [][]string
	for _, line := range lines[2:] {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != columns {
			t.Errorf("%q has %d columns, want %d", line, len(cells), columns)
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// checkTests reads "folder: Test, Test; folder: Test".
func checkTests(t *testing.T, about, places string) {
	t.Helper()
	for place := range strings.SplitSeq(places, ";") {
		folder, names, ok := strings.Cut(strings.TrimSpace(place), ": ")
		if !ok {
			t.Errorf("%s: %q names no package and test", about, place)
		}
		for name := range strings.SplitSeq(names, ", ") {
			if !defined(t, folder, name) {
				t.Errorf("%s has no test %s, named for: %s", folder, name, about)
			}
		}
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
