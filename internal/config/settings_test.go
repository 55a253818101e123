package config_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// Every variable that the table promises must change what the command gets.
func TestEveryVariableChangesSomething(t *testing.T) {
	t.Parallel()
	samples := map[config.Kind]string{config.Text: "http://sample:1", config.Secret: "sample", config.Integer: "7", config.Duration: "77s", config.List: "sample", config.Pairs: `{"SAMPLE": "1"}`, config.Quantity: "7Gi"}
	texts := map[string]string{
		"PREFECT__BACKEND": "cloud", "PREFECT__CLOUD__AGENT__LEVEL": "ERROR", "PREFECT__SERVER__HOST": "http://sample", "PREFECT__SERVER__PORT": "1",
		"PREFECT_KUBE_CREDENTIAL_SECRET": "agent/credential", "PREFECT_KUBE_API_SECRET": "agent/api", "IMAGE_PULL_POLICY": "never",
	}
	// These do nothing by themselves: the address of another backend, and where auth.toml lies.
	silent := map[string]bool{"PREFECT__CLOUD__ENDPOINT": true, "PREFECT__HOME_DIR": true, "PREFECT__CLOUD__AUTH_TOKEN": true, "PREFECT__CLOUD__AUTH_TOKEN_FILE": true}
	for _, core := range []string{config.Core0, config.Core1} {
		resolve := func(env ...string) config.Agent {
			a, err := config.ResolveAgent(core, config.Sources{Env: append([]string{"PREFECT__BACKEND=server"}, env...)})
			if err != nil {
				t.Fatalf("%v: %v", env, err)
			}
			return a
		}
		if core == config.Core0 { // a server gets no key of another form
			silent["PREFECT__CLOUD__API_KEY"], silent["PREFECT__CLOUD__API_KEY_FILE"] = true, true
		} else {
			delete(silent, "PREFECT__CLOUD__API_KEY")
			delete(silent, "PREFECT__CLOUD__API_KEY_FILE")
		}
		plain := resolve()
		for name, s := range variablesOf(config.AgentSettings(core)) {
			value := samples[s.Kind]
			if s.Kind == config.Bool {
				value = map[string]string{"true": "false", "false": "true"}[s.Default]
			}
			if text, ok := texts[name]; ok {
				value = text
			}
			if got := resolve(name + "=" + value); cmp.Equal(plain, got) != silent[name] {
				t.Errorf("%s: %s=%s: changed %v", core, name, value, silent[name])
			}
		}
	}
}

func variablesOf(settings []config.Setting) map[string]config.Setting {
	found := map[string]config.Setting{}
	for _, s := range settings {
		for _, name := range append([]string{s.Variable(), s.FileVariable()}, s.Env...) {
			if name != "" {
				found[name] = s
			}
		}
	}
	return found
}

func TestTableIsSound(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string][]config.Setting{"0": config.AgentSettings(config.Core0), "1": config.AgentSettings(config.Core1), "dev": config.DevSettings()} {
		seen := map[string]bool{}
		for _, s := range settings {
			if s.Kind == "" || !strings.HasSuffix(s.Help, ".") {
				t.Errorf("%s: row %+v is not complete", name, s)
			}
			ways := namesOf(s)
			if len(ways) == 0 {
				t.Errorf("%s: nobody can set row %+v", name, s)
			}
			for _, way := range ways {
				if seen[way] {
					t.Errorf("%s: %s is there twice", name, way)
				}
				seen[way] = true
			}
		}
	}
}

// namesOf lists the variables and flags of a setting.
func namesOf(s config.Setting) []string {
	names := slices.Collect(maps.Keys(variablesOf([]config.Setting{s})))
	for _, f := range s.Flags {
		names = append(names, "--"+f.Name)
		if f.Short != "" {
			names = append(names, "-"+f.Short)
		}
	}
	return names
}
