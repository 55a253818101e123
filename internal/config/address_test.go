package config_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

func revealAll(t *testing.T, values []secret.Value) []string {
	t.Helper()
	var texts []string
	for _, v := range values {
		text, err := v.Reveal()
		if err != nil {
			t.Fatal(err)
		}
		if text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// What an address holds besides the place is no part of it any more: it is a secret.
func TestAddressesHoldNoSecret(t *testing.T) {
	t.Parallel()
	basic := base64.StdEncoding.EncodeToString([]byte("us er:p%w"))
	for name, c := range map[string]struct {
		env        []string
		api, user  string
		secrets    []string
		warning    string
		credential bool
	}{
		"name and password": {[]string{"PREFECT__CLOUD__API=http://us%20er:p%25w@host:4200/x"}, "http://host:4200/x", "us er:p%w", []string{"us er", "p%w", "us%20er", "p%25w", basic}, "", false},
		"token as a name":   {[]string{"PREFECT__CLOUD__API=http://TOKEN@host:4200"}, "http://host:4200", "TOKEN:", []string{"TOKEN"}, "", false},
		"name beside a key": {[]string{"PREFECT__CLOUD__API=http://name@host", "PREFECT__CLOUD__API_KEY=K"}, "http://host", "", []string{"name", "K"}, "has no effect", true},
		"beats the key":     {[]string{"PREFECT__CLOUD__API=http://u:PW@host", "PREFECT__CLOUD__API_KEY=K"}, "http://host", "u:PW", []string{"u", "PW", "K"}, "in the place of the credential", true},
		"token in a query":  {[]string{"PREFECT__CLOUD__API=http://host?apikey=TO%2BKEN&x=YY"}, "http://host?apikey=TO%2BKEN&x=YY", "", []string{"TO%2BKEN", "TO+KEN", "YY"}, "", false},
		"of a file":         {[]string{"PREFECT__SERVER__HOST=http://u:PW@host"}, "http://host:4200", "u:PW", []string{"u", "PW"}, "", false},
		"a proxy":           {[]string{"https_proxy=u:PW@proxy:3128", "HTTP_PROXY=http://proxy"}, "http://localhost:4200", "", []string{"u", "PW", base64.StdEncoding.EncodeToString([]byte("u:PW"))}, "", false},
		"a proxy for all":   {[]string{"ALL_PROXY=socks5://proxy:1080"}, "http://localhost:4200", "", nil, "", false},
		"nothing":           {nil, "http://localhost:4200", "", nil, "", false},
	} {
		a, err := config.ResolveAgent(config.Core1, config.Sources{Env: append(c.env, "PREFECT__BACKEND=server")})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		user, err := a.BasicUser.Reveal()
		if a.API != c.api || user != c.user || err != nil {
			t.Errorf("%s: got %q with %q, %v, want %q with %q", name, a.API, user, err, c.api, c.user)
		}
		got := revealAll(t, a.Secrets())
		for _, text := range c.secrets {
			if !slices.Contains(got, text) {
				t.Errorf("%s: %q is no secret, only %q", name, text, got)
			}
		}
		if warnings := strings.Join(a.Warnings, "\n"); !strings.Contains(warnings, c.warning) || (c.warning == "") != (warnings == "") || strings.Contains(warnings, "PW") {
			t.Errorf("%s: got warnings %q, want %q in it", name, warnings, c.warning)
		}
		if shown := fmt.Sprintf("%+v", a); strings.Contains(shown, "PW") {
			t.Errorf("%s: shown in %s", name, shown)
		}
	}
}

// Each command takes its addresses apart.
func TestAddressesOfEachCommand(t *testing.T) {
	t.Parallel()
	graphQL, err := config.ResolveAgent(config.Core0, config.Sources{Env: []string{"PREFECT__BACKEND=server", "PREFECT__CLOUD__GRAPHQL=http://u:PW@host/graphql", "PREFECT__CLOUD__API=http://v:QW@host"}})
	if user, errUser := graphQL.BasicUser.Reveal(); err != nil || errUser != nil || graphQL.GraphQL != "http://host/graphql" || graphQL.API != "http://host" || user != "u:PW" {
		t.Errorf("cloud.graphql: got %+v with %q, %v", graphQL, user, err)
	}
	i, err := config.ResolveInstall(config.Core1, config.Sources{Flags: map[string][]string{"api": {"https://u:PW@x"}}})
	if err != nil || i.API != "https://x" || i.Endpoint != "https://x" || !slices.Contains(revealAll(t, i.Secrets()), "https://u:PW@x") {
		t.Errorf("install: got %+v, %v", i, err)
	}
	m, err := config.ResolveResourceManager(config.Sources{Env: []string{"PREFECT__CLOUD__API=http://u:PW@host:4200"}})
	if err != nil || m.API != "http://host:4200" || !slices.Contains(revealAll(t, m.Secrets()), "PW") || !m.BasicUser.IsSet() {
		t.Errorf("resource manager: got %+v, %v", m, err)
	}
}

// A proxy that nobody can read is no reason to send the credential without it.
func TestProxiesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"http://u:hunter2%zz@host", "host:1:2", "http://host:1:2", "http://", "ftp://host", "http://u:hunter2@host:99999", "http://host:0", "u:hunter2@:3128", "http://ho st", "://hunter2", "::1:3128"} {
		for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
			src := config.Sources{Env: []string{"PREFECT__BACKEND=server", name + "=" + text}}
			_, errAgent := config.ResolveAgent(config.Core0, src)
			_, errManager := config.ResolveResourceManager(src)
			for _, err := range []error{errAgent, errManager} {
				if err == nil || !strings.HasPrefix(err.Error(), name+": is not the address of a proxy; write ") || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s=%s: got %v", name, text, err)
				}
			}
		}
	}
	for _, text := range []string{"", "proxy", "proxy:3128", "http://proxy:3128/", "https://proxy", "socks5h://proxy:1080", "http://[::1]:3128", "u:p%40@proxy:1"} {
		if _, err := config.ResolveAgent(config.Core1, config.Sources{Env: []string{"PREFECT__BACKEND=server", "HTTPS_PROXY=" + text}}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
