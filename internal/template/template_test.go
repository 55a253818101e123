package template_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/template"
)

func TestRead(t *testing.T) {
	t.Parallel()
	file, large := filepath.Join(t.TempDir(), "job.yaml"), filepath.Join(t.TempDir(), "large.yaml")
	for name, text := range map[string]string{file: "kind: Job", large: strings.Repeat("x", 1<<20+1)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ path, want, err string }{
		{file, "kind: Job", ""},
		{"file://" + file, "kind: Job", ""},
		{"local://" + file, "kind: Job", ""},
		{"agent://" + file, "kind: Job", ""},
		{large, "", "larger than 1 MiB"},
		{file + ".no", "", "no such file"},
		{"s3://bucket/job.yaml", "", "cannot be read yet"},
		{"ftp://host/job.yaml", "", "unknown scheme ftp://"},
	} {
		got, err := template.Read(tt.path)
		named := err == nil || strings.Contains(err.Error(), tt.err) && strings.Contains(err.Error(), tt.path)
		if string(got) != tt.want || (err == nil) != (tt.err == "") || !named {
			t.Errorf("%s: got %.20q, %v; want %q, an error with %q", tt.path, got, err, tt.want, tt.err)
		}
	}
}
