package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// What was read and where the credential stands is known, for each way to give one.
func TestOriginOfDoctor(t *testing.T) {
	t.Parallel()
	const login = ".prefect/client/https-api.prefect.io-graphql-alpha/settings.toml"
	cloud := "PREFECT__BACKEND=cloud"
	for name, c := range map[string]struct {
		files      map[string]string
		env        []string
		flags      map[string][]string
		core       string
		credential string // HOME stands for the home directory
	}{
		"nothing":           {core: config.Core1},
		"a flag":            {flags: map[string][]string{"key": {"x"}}, core: config.Core1, credential: "--key"},
		"a variable":        {env: []string{"PREFECT__CLOUD__API_KEY=x"}, core: config.Core1, credential: "PREFECT__CLOUD__API_KEY"},
		"a file of its own": {env: []string{"PREFECT__CLOUD__API_KEY_FILE=/k"}, core: config.Core1, credential: "PREFECT__CLOUD__API_KEY_FILE"},
		"config.toml":       {files: map[string]string{".prefect/config.toml": "[cloud]\napi_key = \"x\""}, core: config.Core1, credential: "HOME/.prefect/config.toml: cloud.api_key"},
		"auth.toml":         {files: map[string]string{".prefect/auth.toml": "[localhost-4200]\napi_key = \"x\""}, core: config.Core1, credential: "HOME/.prefect/auth.toml"},
		"a token":           {flags: map[string][]string{"token": {"x"}}, core: config.Core0, credential: "--token"},
		"the other token":   {flags: map[string][]string{"verbose": {"true"}}, env: []string{cloud, "PREFECT__CLOUD__AUTH_TOKEN=x"}, core: config.Core0, credential: "PREFECT__CLOUD__AUTH_TOKEN"},
		"a login of 0.11":   {files: map[string]string{login: `api_token = "x"`}, env: []string{cloud}, core: config.Core0, credential: "HOME/" + login},
	} {
		dir := home(t, c.files)
		got, err := config.ResolveDoctor(config.Sources{HomeDir: dir, Env: append([]string{"PREFECT__BACKEND=server"}, c.env...), Flags: c.flags})
		want := config.Origin{Credential: strings.ReplaceAll(c.credential, "HOME", dir)}
		if name == "config.toml" {
			want.Files = []string{filepath.Join(dir, ".prefect", "config.toml")}
		}
		if diff := cmp.Diff(want, got.Origin); err != nil || diff != "" || got.CoreVersion != c.core || got.Output != config.OutputText {
			t.Errorf("%s: %v, %s, %s (-want +got)\n%s", name, err, got.CoreVersion, got.Output, diff)
		}
	}
}
