package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// managed runs a command line of the resource manager.
func managed(ctx context.Context, env []string, args ...string) (got config.ResourceManager, code int, text string) {
	var out bytes.Buffer
	c := commands{resourceManager: func(_ context.Context, cfg config.ResourceManager, _ *slog.Logger) error {
		got = cfg
		if cfg.Namespace == "fail" {
			return errors.New("x")
		}
		return nil
	}}
	code = run(ctx, append([]string{"prefect-kube", "resource-manager"}, args...), env, streams{out: &out, err: &out}, c)
	return got, code, out.String()
}

func TestResourceManagerExitCodes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{
		"":                         exitClean,
		"--help":                   exitClean,
		"--namespace fail":         exitFailure,
		"--no-such":                exitUsage,
		"extra":                    exitUsage,
		"--grace soon":             exitUsage,
		"--agent-config-id x":      exitUsage,
		"--api https://prefect.io": exitClean, // the backend is named below
	} {
		if _, got, text := managed(t.Context(), []string{"PREFECT__BACKEND=server"}, strings.Fields(line)...); got != want {
			t.Errorf("%q: got exit code %d, want %d: %s", line, got, want, text)
		}
	}
	if _, got, text := managed(t.Context(), nil); got != exitUsage || !strings.Contains(text, "--token") {
		t.Errorf("Cloud without a credential: got exit code %d: %s", got, text)
	}
}

func TestEveryFlagOfTheResourceManagerChangesSomething(t *testing.T) {
	t.Parallel()
	values := map[string]string{"api": "http://api:1", "grace": "7s", "log-level": "ERROR", "agent-address": "http://127.0.0.1:1"}
	plain, _, _ := managed(t.Context(), []string{"PREFECT__BACKEND=server"})
	for _, s := range config.ResourceManagerSettings() {
		for _, f := range s.Flags {
			args := []string{"--" + f.Name}
			if f.Means == "" {
				args = append(args, cmp.Or(values[f.Name], "sample"))
			}
			got, code, text := managed(t.Context(), []string{"PREFECT__BACKEND=server"}, args...)
			if code != exitClean || diff.Equal(plain, got) {
				t.Errorf("%q: exit code %d, and nothing changes: %s", args, code, text)
			}
		}
	}
}
