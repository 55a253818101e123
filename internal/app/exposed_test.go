package app_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/config"
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
