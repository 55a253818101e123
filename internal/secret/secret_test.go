package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

const text = "hunter2-hunter2"

type outer struct {
	Public  secret.Value
	private secret.Value
	Deep    map[string][]secret.Value
}

func TestNothingPrintsTheText(t *testing.T) {
	t.Parallel()
	v := secret.New(text)
	o := outer{Public: v, private: v, Deep: map[string][]secret.Value{"k": {v}}}
	var outputs []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		outputs = append(outputs, fmt.Sprintf(verb, v), fmt.Sprintf(verb, o), fmt.Sprintf(verb, &o), fmt.Sprintf(verb, []any{o.private}))
	}
	encoded, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).InfoContext(t.Context(), "x", slog.Any("v", v), slog.Any("o", o))
	}
	outputs = append(outputs, string(encoded), log.String(), v.GoString(), v.String(), fmt.Sprint(fmt.Errorf("use %v", v)))
	for _, out := range outputs {
		// Hex forms of the text would be as bad as the text.
		if strings.Contains(out, "hunter2") || strings.Contains(strings.ToLower(out), "68756e746572") {
			t.Errorf("the text shows in %q", out)
		}
	}
	if got := fmt.Sprint(v, "|", secret.Value{}); !strings.HasPrefix(got, "[redacted]") || strings.HasSuffix(got, "]") {
		t.Errorf("got %q, want a placeholder only for the one that is set", got)
	}
}

func TestReveal(t *testing.T) {
	t.Parallel()
	if got, err := secret.New(text).Reveal(); got != text || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for name, v := range map[string]secret.Value{"zero": {}, "empty text": secret.New(""), "empty path": secret.File("")} {
		if got, err := v.Reveal(); got != "" || err != nil || v.IsSet() {
			t.Errorf("%s: got %q, %v, set %v", name, got, err, v.IsSet())
		}
	}
}

func TestFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	v := secret.File(path)
	if got, err := v.Reveal(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: got %q, %v, want an error that names it", got, err)
	}
	steps := []struct{ content, want string }{
		{"one\n", "one"},
		{"two\n", "two"}, // same length, perhaps the same time stamp
		{"", "two"},      // caught while it is rewritten
		{" \n\t", "two"}, // the same
		{"  three ", "three"},
	}
	for _, step := range steps {
		if err := os.WriteFile(path, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Reveal(); got != step.want || err != nil {
			t.Errorf("content %q: got %q, %v, want %q", step.content, got, err, step.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Reveal(); got != "three" || err != nil {
		t.Errorf("removed: got %q, %v, want the last text", got, err)
	}
}

func TestFileErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": " \n", "large": strings.Repeat("x", 64<<10+1)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := secret.File(path).Reveal(); got != "" || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %.20q, %v, want an error that names the file", name, got, err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "pipe"), dir, "/dev/zero"} {
		if _, err := secret.File(path).Reveal(); err == nil || !strings.Contains(err.Error(), path+" is a") {
			t.Errorf("%s: got %v, want what it is instead of a file", path, err)
		}
	}
	if secret.File(dir).Equal(secret.File(dir)) {
		t.Error("two credentials that cannot be read are equal")
	}
	if !secret.New("a").Equal(secret.New("a")) || secret.New("a").Equal(secret.New("b")) {
		t.Error("Equal does not compare the texts")
	}
}
