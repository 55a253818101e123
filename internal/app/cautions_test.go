package app_test

import (
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// What will surprise in Jobs is said before the first one.
func TestCautions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env, flags []string
		want       []string // beginnings of parts, one for each caution
	}{
		"nothing":         {[]string{"PREFECT__CLOUD__API=http://apollo:4200"}, nil, nil},
		"the default":     {[]string{"PREFECT__BACKEND=server"}, nil, []string{"this machine alone (http://localhost:4200)"}},
		"127.1.2.3":       {[]string{"PREFECT__CLOUD__API=http://127.1.2.3:4200"}, nil, []string{"this machine alone (http://127.1.2.3:4200)"}},
		"IPv6":            {[]string{"PREFECT__CLOUD__API=http://[::1]:4200/graphql"}, nil, []string{"this machine alone"}},
		"nowhere":         {[]string{"PREFECT__CLOUD__API=http://0.0.0.0:4200"}, nil, []string{"this machine alone"}},
		"a name of it":    {[]string{"PREFECT__CLOUD__API=http://API.localhost:4200"}, nil, []string{"this machine alone"}},
		"a password":      {[]string{"PREFECT__CLOUD__API=http://u:hunter2@apollo"}, nil, []string{"--api-secret NAME/KEY"}},
		"from a Secret":   {[]string{"PREFECT__CLOUD__API=http://u:hunter2@localhost", "PREFECT_KUBE_API_SECRET=s/k"}, nil, nil},
		"variables":       {[]string{"PREFECT__CLOUD__API=http://apollo"}, []string{"PREFECT__CLOUD__API=hunter2", "PREFECT__CONTEXT__FLOW_ID=x", "PREFECT__LOGGING__LEVEL=DEBUG", "MY=x"}, []string{"PREFECT__CLOUD__API has no effect", "PREFECT__CONTEXT__FLOW_ID has no effect"}},
		"labels and logs": {[]string{"PREFECT__CLOUD__API=http://apollo"}, []string{"PREFECT__CLOUD__AGENT__LABELS=['a']", "PREFECT__LOGGING__LOG_TO_CLOUD=false"}, []string{"use --label", "use --no-cloud-logs"}},
	} {
		cfg, err := config.ResolveAgent(config.Core1, config.Sources{Env: c.env, Flags: map[string][]string{"env": c.flags}})
		if err != nil {
			t.Fatal(err)
		}
		got := app.Cautions(cfg)
		if len(got) != len(c.want) || strings.Contains(strings.Join(got, ""), "hunter2") {
			t.Errorf("%s: got %q, want %d", name, got, len(c.want))
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: got %q, want %q in it", name, got[i], want)
			}
		}
	}
}
