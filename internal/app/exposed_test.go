package app_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// Who may read the credential without being meant to is told at the start.
func TestAnExposedCredentialIsTold(t *testing.T) {
	t.Parallel()
	const jobs, wire, key, secret = "each Job holds the credential", "without TLS", "PREFECT__CLOUD__API_KEY=canary-55", "PREFECT_KUBE_CREDENTIAL_SECRET=creds/key"
	for name, c := range map[string]struct {
		api  string
		env  []string
		want []string
	}{
		"nothing to read":     {api: "http://prefect.example:4200"},
		"in Jobs":             {api: "https://prefect.example", env: []string{key}, want: []string{jobs}},
		"in a Secret":         {api: "https://prefect.example", env: []string{key, secret}},
		"on the wire":         {api: "http://prefect.example:4200", env: []string{key, secret}, want: []string{wire}},
		"on this machine":     {api: "http://localhost:4200", env: []string{key, secret}},
		"also on it":          {api: "http://127.8.8.8:4200", env: []string{key, secret}},
		"by another address":  {api: "http://[::ffff:127.0.0.1]:4200", env: []string{key, secret}},
		"named like it":       {api: "http://localhost.example:4200", env: []string{key, secret}, want: []string{wire}},
		"a user name as well": {api: "http://u:canary-55@prefect.example:4200", want: []string{wire}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, log, _ := startOn(t, config.Core1, badserver.Page(401), time.Second, append(c.env, "PREFECT__CLOUD__API="+c.api, "PREFECT__BACKEND=server")...)
				for _, text := range []string{jobs, wire} {
					want := strings.Contains(strings.Join(c.want, " "), text)
					if strings.Contains(log, text) != want || strings.Contains(log, "canary") {
						t.Errorf("got\n%s\nwant %q in it: %v", log, text, want)
					}
				}
			})
		})
	}
}

// A key on the command line is seen by everybody on the machine.
func TestAKeyOnTheCommandLineIsTold(t *testing.T) {
	t.Parallel()
	for place, want := range map[string]bool{"flag": true, "variable": false} {
		src := config.Sources{HomeDir: t.TempDir(), Flags: map[string][]string{"key": {"canary-55"}}}
		if place == "variable" {
			src = config.Sources{HomeDir: t.TempDir(), Env: []string{"PREFECT__CLOUD__API_KEY=canary-55"}}
		}
		cfg, err := config.ResolveAgent(config.Core1, src)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(app.Exposures(cfg), " "), "list the processes"); got != want {
			t.Errorf("by %s: told %v, want %v", place, got, want)
		}
	}
}

// The same for the credential of Kubernetes.
func TestAnExposedClusterIsTold(t *testing.T) {
	t.Parallel()
	token := rest.Config{Host: "https://c.example:6443", BearerToken: "canary-55"}
	with := func(change func(*rest.Config)) *rest.Config {
		c := rest.CopyConfig(&token)
		change(c)
		return c
	}
	for name, c := range map[string]struct {
		rest *rest.Config
		want string
	}{
		"all well":         {&token, ""},
		"unchecked":        {with(func(c *rest.Config) { c.Insecure = true }), "insecure-skip-tls-verify"},
		"no TLS":           {with(func(c *rest.Config) { c.Host = "http://c.example:8080" }), "without TLS"},
		"no scheme":        {with(func(c *rest.Config) { c.Host = "c.example:8080" }), "to c.example:8080 without TLS"},
		"a certificate":    {&rest.Config{Host: "https://c.example:6443", TLSClientConfig: rest.TLSClientConfig{Insecure: true, CertFile: "x"}}, "insecure-skip-tls-verify"},
		"a provider":       {&rest.Config{Host: "http://c.example:8080", AuthProvider: &api.AuthProviderConfig{}}, "without TLS"},
		"no TLS, here":     {with(func(c *rest.Config) { c.Host = "http://127.0.0.1:8080" }), ""},
		"no TLS, no token": {&rest.Config{Host: "http://c.example:8080"}, ""},
		"a plugin":         {&rest.Config{Host: "http://c.example:8080", ExecProvider: &api.ExecConfig{}}, "without TLS"},
	} {
		told := strings.Join(app.ClusterExposures(&kube.Config{REST: c.rest}), " ")
		if (told == "") != (c.want == "") || !strings.Contains(told, c.want) || strings.Contains(told, "canary") {
			t.Errorf("%s: told %q, want %q", name, told, c.want)
		}
	}
}
