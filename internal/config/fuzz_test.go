package config_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// oneLineEach checks that every error is a configuration error on one line.
func oneLineEach(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			oneLineEach(t, e)
		}
		return
	}
	if _, ok := errors.AsType[*config.Error](err); !ok {
		t.Errorf("got %T %v, want a configuration error", err, err)
	}
	if strings.ContainsFunc(err.Error(), unicode.IsControl) {
		t.Errorf("got %q, want one line", err)
	}
}

func FuzzVariables(f *testing.F) {
	for _, seed := range [][2]string{
		{"PREFECT__CLOUD__API", "${${backend}.endpoint}"},
		{"PREFECT__CLOUD__AGENT__NAME", "~/$X${X}"},
		{"PREFECT__A__B", "$A"},
		{"PREFECT_KUBE_GRACE", "1h"},
		{"PREFECT__CLOUD__AGENT__ENV_VARS__a__B", "\xff"},
		{"PREFECT__CLOUD", "x"},
		{"PREFECT__KUBE__GRACE__X", ""},
		{"PREFECT_KUBE_\n", "x"},
		{"PREFECT__SERVER__PORT", "${server.port}${server.port}"},
		{"NAMESPACE", "a\nb"},
		{"PREFECT__BACKEND", "\x1b[31m"},
		{"PREFECT__\x00", "x"},
		{"PREFECT__CLOUD__REQUEST_TIMEOUT", "NaN"},
		{"PREFECT__USER_CONFIG_PATH", "/dev/zero"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		for _, core := range []string{config.Core0, config.Core1} {
			got, err := config.ResolveAgent(core, config.Sources{Env: []string{"PREFECT__BACKEND=server", name + "=" + value}, HomeDir: "/nonexistent"})
			oneLineEach(t, err)
			if err == nil && (got.Name == "" || got.Namespace == "" || got.API == "" || got.RequestTimeout <= 0) {
				t.Errorf("got %+v without an error", got)
			}
		}
	})
}

func FuzzLabels(f *testing.F) {
	for _, seed := range []string{"", "[]", "['a', 'b']", `["a","b"]`, "dev", "a,b", "('a',)", `["\u00e9\ud83d\ude00"]`, "['a", "[[", `"`, `"\`, `["\ud83d"]`, "[1,]", "[,]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\x00") {
			return // no variable can hold it
		}
		got, err := config.ResolveAgent(config.Core1, config.Sources{Env: []string{"PREFECT__CLOUD__AGENT__LABELS=" + text}})
		oneLineEach(t, err)
		var want []string
		if !plainJSON(text) || json.Unmarshal([]byte(text), &want) != nil || text == "null" {
			return
		}
		if diff := cmp.Diff(append([]string{}, want...), append([]string{}, got.Labels...)); err != nil || diff != "" {
			t.Errorf("%q is a JSON list: %v (-want +got)\n%s", text, err, diff)
		}
	})
}

// plainJSON leaves out what JSON and Python read differently: encoding/json
// replaces what is not UTF-8 and reads a null as an empty text.
func plainJSON(text string) bool {
	return utf8.ValidString(text) && !strings.Contains(text, `\u`) && !strings.Contains(text, "null") && !strings.ContainsRune(text, utf8.RuneError)
}

func FuzzEnvVars(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"A": "1"}`, `{'A': 'x', "B": True,}`, `{"A": {"B": 1}}`, `{"A"`, `{"A":"1","A":"2"}`, `{"A": null}`, "[]", `{1: 2}`, `{"": "x"}`, `{"A": "\x41\101"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := config.ResolveAgent(config.Core0, config.Sources{Env: []string{"PREFECT__CLOUD__AGENT__ENV_VARS=" + text}})
		oneLineEach(t, err)
		have := map[string]string{}
		for _, p := range got.EnvVars {
			if _, again := have[p.Name]; again || p.Name == "" {
				t.Errorf("%q: name %q is empty or there twice", text, p.Name)
			}
			have[p.Name] = p.Value
		}
		want := map[string]string{}
		if !plainJSON(text) || json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		if _, empty := want[""]; empty {
			return
		}
		if diff := cmp.Diff(want, have); err != nil || diff != "" {
			t.Errorf("%q is a JSON object: %v (-want +got)\n%s", text, err, diff)
		}
	})
}

func FuzzTOML(f *testing.F) {
	for _, seed := range []string{
		"", "backend = \"server\"\n", "[cloud.agent]\nlabels = ['a']\nname = 1979-05-27\n", "[cloud.agent.env_vars]\nA = 1\nB = 2.5\nC = 07:32:00\n", "[kube]\ngrace = \"1m\"\n", "kube = 1", "cloud = [1]",
		"a.b.c.d = 1", "[[kube]]", "\"cloud.api\" = 1\n[cloud]\napi = \"http://x\"", "[cloud]\napi = nan", "[cloud.agent]\nlabels = [[1], {a = 1}]", "\"\\u0000\" = {NAMESPACE = \"x\"}",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "config.toml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		src := config.Sources{Env: []string{"PREFECT__USER_CONFIG_PATH=" + path}, HomeDir: "/nonexistent"}
		got, err := config.ResolveAgent(config.Core0, src)
		oneLineEach(t, err)
		again, err2 := config.ResolveAgent(config.Core0, src)
		if diff := cmp.Diff(got, again); diff != "" || (err == nil) != (err2 == nil) {
			t.Errorf("the same file gives another result: %v, %v\n%s", err, err2, diff)
		}
		if got.Namespace != "" && got.Namespace != "default" {
			t.Errorf("a file set the namespace to %q", got.Namespace)
		}
	})
}

// FuzzStoredLogin reads what the Python client stored: auth.toml and settings.toml.
func FuzzStoredLogin(f *testing.F) {
	for _, seed := range []string{
		"", "api_token = \"T\"\nactive_tenant_id = \"U\"\n", "[\"api.prefect.io\"]\napi_key = \"K\"\ntenant_id = \"T\"\n", "api_token = 1", "api_token = []", "[api_token]", "[[\"api.prefect.io\"]]", "\"api.prefect.io\" = 1", "x", "api_token = \"\\u0000\"",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	login := filepath.Join(dir, ".prefect", "client", "https-api.prefect.io-graphql-alpha")
	if err := os.MkdirAll(login, 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, path := range []string{filepath.Join(dir, ".prefect", "auth.toml"), filepath.Join(login, "settings.toml")} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, core := range []string{config.Core0, config.Core1} {
			got, err := config.ResolveAgent(core, config.Sources{HomeDir: dir})
			oneLineEach(t, err)
			if err == nil && got.API != "https://api.prefect.io" {
				t.Errorf("a stored login set the address to %q", got.API)
			}
		}
	})
}
