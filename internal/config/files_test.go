package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// A file of settings that is a pipe keeps no command waiting, whichever it is.
func TestPipesAreNoFilesOfSettings(t *testing.T) {
	t.Parallel()
	for path, core := range map[string]string{
		".prefect/config.toml": config.Core1, ".prefect/auth.toml": config.Core1, ".prefect/client/https-api.prefect.io-graphql/settings.toml": config.Core0,
	} {
		dir := t.TempDir()
		pipe := filepath.Join(dir, filepath.FromSlash(path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(pipe), 0o700), syscall.Mkfifo(pipe, 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err := config.ResolveAgent(core, config.Sources{HomeDir: dir, Env: []string{"PREFECT__BACKEND=cloud", "PREFECT__CLOUD__GRAPHQL=https://api.prefect.io/graphql"}})
		if err == nil || !strings.Contains(err.Error(), pipe+": is a pipe") {
			t.Errorf("%s: got %v, want that it is a pipe", path, err)
		}
	}
}

// Editors of Windows write a mark before the first line, and two characters behind each.
func TestFilesOfWindows(t *testing.T) {
	t.Parallel()
	text := "\ufeffbackend = \"server\"\r\n[cloud.agent.env_vars]\r\nB = \"1\"\r\nA = \"2\"\r\n"
	got, err := config.ResolveAgent(config.Core1, config.Sources{HomeDir: home(t, map[string]string{".prefect/config.toml": text})})
	if err != nil || got.Backend != config.Server || len(got.EnvVars) != 2 || got.EnvVars[0].Name != "B" {
		t.Errorf("got %q, %q, %v", got.Backend, got.EnvVars, err)
	}
}
