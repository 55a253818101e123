package manifests_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/manifests"
)

// counts are what docs/conformance.md shows of a folder.
type counts struct{ cases, equal, different, failed int }

func (c counts) row(folder string) string {
	return fmt.Sprintf("| %s | %d | %d | %d | 0 | %d |", folder, c.cases, c.equal, c.different, c.failed)
}

// TestConformanceInstall compares Reference with every recorded manifest, as
// documents and through our YAML. CONFORMANCE_DIR names another root of the corpus.
func TestConformanceInstall(t *testing.T) {
	all := folders(t, root())
	for _, folder := range slices.Sorted(maps.Keys(all)) {
		conformFolder(t, folder, all[folder])
	}
}

// conformFolder runs the cases of one folder and compares what it counted with the documentation.
func conformFolder(t *testing.T, folder, version string) {
	t.Helper()
	var n counts
	all := vectorsOf(t, filepath.Join(root(), folder))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(folder+"/"+name, func(t *testing.T) {
			n.cases++
			different := conform(t, version, all[name])
			switch {
			case t.Failed():
				n.failed++
			case different:
				n.different++
			default:
				n.equal++
			}
		})
	}
	row := n.row(folder)
	t.Log(row)
	if os.Getenv("CONFORMANCE_DIR") == "" {
		checkRow(t, row)
	}
}

// checkRow wants the counts in the documentation.
func checkRow(t *testing.T, row string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance.md"))
	if err != nil || !strings.Contains(string(text), row+"\n") {
		t.Errorf("docs/conformance.md has no line %q (%v)", row, err)
	}
}

// conform reports whether the only difference is that what is no text with the
// reference is one with us (D-06).
func conform(t *testing.T, version string, v vector) (different bool) {
	o, converted, err := v.options(version)
	if v.Expected.Error != nil {
		if err == nil || !strings.Contains(v.Expected.Error.Message, err.Error()) {
			t.Errorf("got %v, want an error like %s", err, v.Expected.Error.Message)
		}
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	trees, err := manifests.Reference(o)
	if err != nil {
		t.Fatal(err)
	}
	got := printed(t, trees)
	want := any(v.Expected.Documents)
	if converted && cmp.Diff(want, any(got)) != "" {
		different = true
		want, got = asText(want), asText(got).([]any)
	}
	if diff := cmp.Diff(want, any(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	reprint(t, v)
	return different
}

// printed is what a reader makes of the YAML of documents.
func printed(t *testing.T, trees []manifests.Tree) []any {
	t.Helper()
	text, err := manifests.YAML(trees)
	if err != nil {
		t.Fatal(err)
	}
	got, err := documents(string(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return got
}

// reprint writes the recorded documents with our YAML: a reader gets the same again.
func reprint(t *testing.T, v vector) {
	t.Helper()
	var trees []manifests.Tree
	for _, document := range v.Expected.Documents {
		trees = append(trees, document.(manifests.Tree))
	}
	if diff := cmp.Diff(v.Expected.Documents, printed(t, trees)); diff != "" {
		t.Errorf("the recorded documents, written by us (-want +got)\n%s", diff)
	}
}
