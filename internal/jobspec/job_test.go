package jobspec_test

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

type row struct{ pattern, says string }

// refused lists the vectors whose Job the reference sends and we do not, because
// Kubernetes would refuse it or it could never run: pattern and what we say.
var refused = []row{
	{"job-0.11/resources-odd-values-passed-through", `resources.limits.memory "lots" is not a valid Quantity`},
	{"job-0.11/storage-docker-url-scheme", "storage.registry_url \"https://reg.io/a\" is a URL"},
	{"job-1.x/env-run-config-non-strings", "containers[flow].env[I].value is a number, not a string; put it in quotes"},
	{"job-1.x/template-path-agent-option", templateYes},
	{"job-1.x/template-path-agent-option-file-scheme", templateYes},
	{"job-1.x/template-path-file-scheme", templateYes},
	{"job-1.x/template-path-local-scheme", templateYes},
	{"job-1.x/template-path-plain", templateYes},
	{"job-1.x/template-path-relative", templateYes},
	{"job-1.x/template-path-run-beats-agent-option", templateYes},
	{"job-1.x/template-unicode-and-numbers", "spec.template.spec.activeDeadlineSeconds is a number, not a whole number in range"},
}

// Their templates have an unquoted yes as the value of a variable.
const templateYes = ") is a boolean, not a string; put it in quotes"

// mended lists the vectors that the reference refuses and we start.
var mended = []row{
	{"job-0.11/labels-*-crashes", "D-01, by the configuration"},
	{"job-0.11/storage-local-with-metadata-image", "D-34"},
	{"job-1.x/env-template-env-null", "D-44"},
	{"job-1.x/storage-unknown-type", "D-28"},
	{"job-1.x/template-containers-null", "D-44"},
	{"job-1.x/template-labels-null", "D-44"},
	{"job-1.x/template-metadata-null", "D-44"},
	{"job-1.x/template-no-pod-spec", "D-44"},
	{"job-1.x/template-only-kind", "D-44"},
}

// TestJobOfEveryVector asks that every Job of the reference is started by us too,
// and that both tables above say all there is to say.
func TestJobOfEveryVector(t *testing.T) {
	used := map[string]bool{}
	for _, folder := range []string{"job-0.11", "job-1.x"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "conformance", folder, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases: %v", err)
		}
		for _, file := range files {
			name := folder + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
			t.Run(name, func(t *testing.T) { startVector(t, file, name, used) })
		}
	}
	for _, row := range append(slices.Clone(refused), mended...) {
		if !used[row.pattern] {
			t.Errorf("row %q matches no case", row.pattern)
		}
	}
}

func startVector(t *testing.T, file, name string, used map[string]bool) {
	v := readVector(t, file)
	t.Chdir(v.Dir)
	run, settings := v.translate(t, v.Versions[len(v.Versions)-1], v.Expected)
	_, _, err := jobspec.Job(run, settings, attempt)
	referenceFails := v.Expected.failure() != nil || v.Expected.ConstructorError != nil
	text, refuses := lookUp(refused, name, used)
	_, mends := lookUp(mended, name, used)
	switch {
	case refuses && (err == nil || !strings.Contains(err.Error(), text)):
		t.Errorf("Job: error %v, want one with %q", err, text)
	case referenceFails && !mends && err == nil:
		t.Error("Job is built, but the reference fails and no row of mended says why")
	case err != nil && !refuses && (mends || !referenceFails):
		t.Errorf("Job: %v", err)
	}
}

func lookUp(table []row, name string, used map[string]bool) (string, bool) {
	for _, r := range table {
		if ok, _ := path.Match(r.pattern, name); ok {
			used[r.pattern] = true
			return r.says, true
		}
	}
	return "", false
}
