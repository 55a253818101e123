package jobspec_test

import (
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// What kubectl, helm and kustomize print may begin and end with empty documents.
func TestEmptyDocumentsCountForNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"---\na: 1\n---\n", "# x\n---\n# y\n---\na: 1\n", "---\n---\na: 1\n...\n---\n# z\n", "a: 1\n---\nnull\n"} {
		got, err := jobspec.ParseYAML([]byte(text))
		if tree, ok := got.(jobspec.Tree); err != nil || !ok || len(tree) != 1 {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	if got, err := jobspec.ParseYAML([]byte("---\n---\n")); got != nil || err != nil {
		t.Errorf("got %v, %v, want nothing", got, err)
	}
}

// What is no YAML says what is often the cause.
func TestNoYAMLHasAMend(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"spec:\n  a: 1\n\tb: 2\n":                               "with blanks, not with tabs",
		"spec:\n\ttemplate:\n":                                  "with blanks, not with tabs",
		"a:\n  b: 1\n{{- if .Values.x }}\n  c: 2\n{{- end }}\n": "helm template",
		"{% if x %}\na: 1\n{% endif %}\n":                       "helm template",
		"image: {{ .Values.image }}\n":                          "render it first",
		"a: [1\n":                                               "; correct it",
		"a: 1\n---\nb: 2\n":                                     "keep the one with the Job",
	} {
		if _, err := jobspec.ParseYAML([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
}

// Of a key that is there twice the last one counts, as in Python, and a warning says so.
func TestAKeyTwiceIsTold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"spec:\n  template: {spec: {containers: [{image: x}]}}\n  template: {}\n":                                                                      "spec.template (line 3, column 3 of ",
		"spec:\n  template:\n    spec:\n      containers:\n      - env: [{name: A, value: a}]\n        image: i\n        env: [{name: B, value: b}]\n": "spec.template.spec.containers[0].env (line 7, column 9 of ",
	} {
		_, told := must(t, yamlTemplate(t, text), agent())
		if joined := strings.Join(told, "\n"); strings.Count(joined, "is there twice") != 1 || !strings.Contains(joined, want) {
			t.Errorf("%q: got %q, want %q", text, told, want)
		}
	}
}
