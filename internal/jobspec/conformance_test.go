package jobspec_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

const (
	identifier = "4f0c1a9e"
	version011 = "0.11.0"
	version124 = "1.2.4"
	version141 = "1.4.1"
)

// notApplicable lists what no Job is made of. Patterns are those of path.Match
// over folder/name; a row that matches no case fails the test.
var notApplicable = []row{}

// configDefects are defects of the reference's configuration, whose paths are
// left out where Settings hold what is right instead.
var configDefects = []string{"D-04", "D-05", "D-06", "D-07"}

type counts struct{ cases, equal, named, notApplicable, failed int }

func (n counts) row(folder string) string {
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d |", folder, n.cases, n.equal, n.named, n.notApplicable, n.failed)
}

func TestConformanceJob(t *testing.T) {
	root, other := os.LookupEnv("CONFORMANCE_DIR")
	if !other {
		root = filepath.Join("..", "..", "conformance")
	}
	used := map[string]bool{}
	for _, folder := range folders(t, root, other) {
		row := conformFolder(t, root, folder, used)
		t.Log(row)
		if !other {
			checkRow(t, row)
		}
	}
	rows := slices.Clone(notApplicable)
	for _, difference := range releaseDifferences() {
		rows = append(rows, row{pattern: difference.reason})
	}
	for _, row := range rows {
		if !other && !used[row.pattern] {
			t.Errorf("row %q matches no case", row.pattern)
		}
	}
}

// conformFolder runs the cases of a folder and gives the row that counts them.
func conformFolder(t *testing.T, root, folder string, used map[string]bool) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", filepath.Join(root, folder), err)
	}
	var n counts
	for _, file := range files {
		n.cases++
		name := folder + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
		if _, found := lookUp(notApplicable, name, used); found {
			n.notApplicable++
			continue
		}
		named := false
		if !t.Run(name, func(t *testing.T) { named = conform(t, file, used) }) {
			n.failed++
		} else if named {
			n.named++
		}
	}
	n.equal = n.cases - n.named - n.notApplicable - n.failed
	return n.row(folder)
}

// folders are those of Jobs. Another root may have some of them only.
func folders(t *testing.T, root string, other bool) []string {
	t.Helper()
	found := []string{"job-0.11", "job-1.x"}
	releases, err := filepath.Glob(filepath.Join(root, "releases", "*", "job"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range releases {
		found = append(found, "releases/"+filepath.Base(filepath.Dir(folder))+"/job")
	}
	if other {
		found = slices.DeleteFunc(found, func(folder string) bool {
			_, err := os.Stat(filepath.Join(root, folder))
			return err != nil
		})
	}
	return found
}

func checkRow(t *testing.T, row string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance.md"))
	if err != nil || !strings.Contains("\n"+string(page), "\n"+row+"\n") {
		t.Errorf("docs/conformance.md (%v) has no line %s", err, row)
	}
}

// conform reports whether the case differs in what its deviations name, or in what
// its release does.
func conform(t *testing.T, file string, used map[string]bool) (named bool) {
	v := readVector(t, file)
	t.Chdir(v.Dir)
	for _, version := range v.Versions {
		want := v.Expected
		if version == version124 && v.Expected124 != nil {
			want = *v.Expected124
		}
		if want.ConstructorError != nil {
			named = v.conformStart(t, version, want.ConstructorError) || named
			continue
		}
		named = v.conformJob(t, version, want, used) || named
	}
	return named
}

// conformJob judges the Job of one release.
func (v vector) conformJob(t *testing.T, version string, want outcome, used map[string]bool) (named bool) {
	t.Helper()
	run, settings := v.translate(t, version, want)
	got, err := jobspec.Build(run, settings, identifier)
	paths := onPurposeIn(t, v, version, want, used)
	failure := want.failure()
	switch {
	case failure != nil:
		checkFailure(t, version, got, err, failure)
		return false
	case err != nil:
		t.Errorf("%s: Build: %v", version, err)
		return false
	}
	diff := v.compare(t, version, got, want.Job, nil)
	if diff == "" {
		return false
	}
	if diff = v.compare(t, version, got, want.Job, append(v.excused(want), paths...)); diff != "" {
		t.Errorf("%s: Build (-want +got):\n%s", version, diff)
	}
	return true
}

// conformStart judges an agent of the reference that does not start: so must
// ours, unless that is a defect, and then a Job must be built.
func (v vector) conformStart(t *testing.T, version string, want *pythonError) (named bool) {
	t.Helper()
	run, settings, err := v.resolve(t, version)
	if err == nil {
		_, err = jobspec.Build(run, settings, identifier)
	}
	named = slices.ContainsFunc(v.Deviates, func(d deviation) bool { return d.Path == "/constructor_error" })
	if named && err != nil {
		t.Errorf("%s: %v, want a Job", version, err)
	}
	if !named && err == nil && want.aboutTypes() {
		return true // with us settings are texts, so there is nothing to stumble over
	}
	if !named {
		checkFailure(t, version, nil, err, want)
	}
	return named
}

// aboutTypes reports whether Python stumbled over the type of a setting, or over an
// argument that its release does not have (D-05, D-06).
func (e *pythonError) aboutTypes() bool {
	return slices.Contains([]string{"TypeError", "AttributeError", "SyntaxError"}, e.Class) || e.Class == "ValueError" && strings.Contains(e.Message, "malformed node or string")
}

// checkFailure asks for an error that names what Python's names: the words in
// quotes of the message.
func checkFailure(t *testing.T, version string, got jobspec.Tree, err error, want *pythonError) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: Build gave a Job %v, want an error like %s", version, got, want.Message)
		return
	}
	text := strings.ToLower(err.Error())
	for _, fact := range facts(want) {
		if !strings.Contains(text, strings.ToLower(fact)) {
			t.Errorf("%s: error %q does not name %q of %q", version, err, fact, want.Message)
		}
	}
}

// pythons are what Python says about its own objects.
var pythons = regexp.MustCompile(`<[^>]*>|\b(?:None|defaultdict|__init__|BoxList|Box|GraphQLResult|split)\b|Invalid value: .*|'value':`)

// facts are the offending fields and values in a Python message.
func facts(e *pythonError) []string {
	if (strings.HasSuffix(e.Class, "AttributeError") || strings.HasSuffix(e.Class, "TypeError")) && !strings.Contains(e.Message, "`") {
		return nil // The text is about Python's own objects.
	}
	if slices.Contains([]string{"ReaderError", "ScannerError", "ParserError", "ComposerError", "ConstructorError"}, e.Class) {
		return nil // The text is about YAML, and every parser has its own.
	}
	var out []string
	for _, quote := range []string{"'", "`"} {
		message := pythons.ReplaceAllString(strings.NewReplacer("\"'", "'", "'\"", "'").Replace(e.Message), "")
		for i, part := range strings.Split(message, quote) {
			if i%2 == 1 && part != "0" && !strings.HasPrefix(part, "}") && part != "_schema" && !strings.HasSuffix(part, ".") && !strings.HasPrefix(part, "Unsupported value") && !strings.HasPrefix(part, "Invalid data") {
				out = append(out, part)
			}
		}
	}
	if _, value, found := strings.Cut(e.Message, "Unsupported value: "); found {
		out = append(out, strings.Trim(value, "'[]}"))
	}
	return out
}
