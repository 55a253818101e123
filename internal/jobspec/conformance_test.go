package jobspec_test

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

const (
	identifier = "4f0c1a9e"
	version011 = "0.11.0"
	version124 = "1.2.4"
	version141 = "1.4.1"
)

// later lists what Build cannot be asked about. Patterns are those of path.Match
// over folder/name; a row that matches no case fails the test.
var later = []struct{ pattern, reason string }{
	{"job-0.11/labels-*-crashes", "configuration: the constructor crashes (D-01)"},
	{"job-0.11/env-config-toml-keeps-case", "configuration: numbers and booleans in TOML stay text with us (D-06)"},
	{"job-1.x/cloud-tenant-not-a-uuid", "configuration: the tenant id is checked there"},
}

// configDefects are defects of the reference's configuration. Their paths are
// left out of the comparison, because Settings hold only what is right.
var configDefects = []string{"D-04", "D-05", "D-06", "D-07"}

type counts struct{ cases, equal, later, failed atomic.Int64 }

func TestConformanceJob(t *testing.T) {
	root := os.Getenv("CONFORMANCE_DIR")
	if root == "" {
		root = filepath.Join("..", "..", "conformance")
	}
	used := make([]atomic.Bool, len(later))
	for _, folder := range []string{"job-0.11", "job-1.x"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases in %s: %v", filepath.Join(root, folder), err)
		}
		var n counts
		for _, file := range files {
			name := folder + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
			t.Run(name, func(t *testing.T) { conform(t, file, name, &n, used) })
		}
		t.Logf("%s: %d cases, %d equal, %d later, %d failed", folder, n.cases.Load(), n.equal.Load(), n.later.Load(), n.failed.Load())
	}
	if os.Getenv("CONFORMANCE_DIR") != "" {
		return // Another corpus need not hold every row.
	}
	for i, row := range later {
		if !used[i].Load() {
			t.Errorf("row %q of later matches no case", row.pattern)
		}
	}
}

func conform(t *testing.T, file, name string, n *counts, used []atomic.Bool) {
	n.cases.Add(1)
	for i, row := range later {
		if ok, _ := path.Match(row.pattern, name); ok {
			used[i].Store(true)
			n.later.Add(1)
			return
		}
	}
	defer func() {
		if t.Failed() {
			n.failed.Add(1)
		} else {
			n.equal.Add(1)
		}
	}()
	v := readVector(t, file)
	for _, version := range v.Versions {
		want := v.Expected
		if version == version124 && v.Expected124 != nil {
			want = *v.Expected124
		}
		run, settings := v.translate(t, version, want)
		got, err := jobspec.Build(run, settings, identifier)
		if failure := want.failure(); failure != nil {
			checkFailure(t, version, got, err, failure)
			continue
		}
		if err != nil {
			t.Errorf("%s: Build: %v", version, err)
			continue
		}
		if diff := v.compare(t, version, got, want.Job); diff != "" {
			t.Errorf("%s: Build (-want +got):\n%s", version, diff)
		}
	}
}

// checkFailure asks for an error that names what Python's names: the words in
// quotes of the message.
func checkFailure(t *testing.T, version string, got jobspec.Tree, err error, want *pythonError) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: Build gave a Job %v, want an error like %s", version, got, want.Message)
		return
	}
	for _, fact := range facts(want) {
		if !strings.Contains(err.Error(), fact) {
			t.Errorf("%s: error %q does not name %q of %q", version, err, fact, want.Message)
		}
	}
}

// facts are the offending fields and values in a Python message.
func facts(e *pythonError) []string {
	if slices.Contains([]string{"AttributeError", "TypeError"}, e.Class) && !strings.Contains(e.Message, "`") {
		return nil // The text is about Python's own objects.
	}
	var out []string
	for _, quote := range []string{"'", "`"} {
		for i, part := range strings.Split(strings.NewReplacer("\"'", "'", "'\"", "'").Replace(e.Message), quote) {
			if i%2 == 1 && part != "_schema" && !strings.HasSuffix(part, ".") && !strings.HasPrefix(part, "Unsupported value") && !strings.HasPrefix(part, "Invalid data") {
				out = append(out, part)
			}
		}
	}
	if _, value, found := strings.Cut(e.Message, "Unsupported value: "); found {
		out = append(out, strings.Trim(value, "'[]}"))
	}
	return out
}
