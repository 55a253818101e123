package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

func TestResolveResourceManager(t *testing.T) {
	t.Parallel()
	type want struct {
		core, backend, api, credential, namespace string
		unusable                                  bool
	}
	for name, tt := range map[string]struct {
		env  []string
		want want
	}{
		"the container of 0.11.0, server": {
			[]string{"PREFECT__CLOUD__AGENT__AUTH_TOKEN=", "PREFECT__CLOUD__API=http://apollo:4200", "PREFECT__CLOUD__AGENT__RESOURCE_MANAGER__LOOP_INTERVAL=60", "NAMESPACE=flows"},
			want{config.Core0, config.Server, "http://apollo:4200", "", "flows", false},
		},
		"the container of 0.11.0, cloud": {
			[]string{"PREFECT__CLOUD__AGENT__AUTH_TOKEN=TKN", "PREFECT__CLOUD__API=https://api.prefect.io", "NAMESPACE="},
			want{config.Core0, config.Cloud, "https://api.prefect.io", "TKN", "default", false},
		},
		"cloud without a token":          {nil, want{config.Core0, config.Cloud, "https://api.prefect.io", "", "default", true}},
		"cloud with the other token":     {[]string{"PREFECT__CLOUD__AUTH_TOKEN=T"}, want{config.Core0, config.Cloud, "https://api.prefect.io", "T", "default", false}},
		"cloud behind a proxy":           {[]string{"PREFECT__BACKEND=cloud", "PREFECT__CLOUD__API=http://gateway.example"}, want{config.Core0, config.Cloud, "http://gateway.example", "", "default", true}},
		"an address that looks like it":  {[]string{"PREFECT__CLOUD__API=http://notprefect.io"}, want{config.Core0, config.Server, "http://notprefect.io", "", "default", false}},
		"an API key, and one as a token": {[]string{"PREFECT__CLOUD__API_KEY=K", "PREFECT__CLOUD__AGENT__AUTH_TOKEN=T"}, want{config.Core1, config.Cloud, "https://api.prefect.io", "K", "default", false}},
		"server":                         {[]string{"PREFECT__BACKEND=server"}, want{config.Core0, config.Server, "http://localhost:4200", "", "default", false}},
	} {
		m, err := config.ResolveResourceManager(config.Sources{Env: tt.env})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		credential, err := m.Credential.Reveal()
		if err != nil {
			t.Fatal(err)
		}
		got := want{m.CoreVersion, m.Backend, m.API, credential, m.Namespace, m.CheckCredential() != nil}
		if got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
		if len(m.Warnings) != 0 {
			t.Errorf("%s: got warnings %q", name, m.Warnings)
		}
	}
}

func TestResourceManagerSettings(t *testing.T) {
	t.Parallel()
	m, err := config.ResolveResourceManager(config.Sources{
		Env: []string{
			"PREFECT__CLOUD__AGENT__RESOURCE_MANAGER__LOOP_INTERVAL=soon", "PREFECT__CLOUD__AGENT__AGENT_ADDRESS=http://:8080", "DELETE_FINISHED_JOBS=false",
			"PREFECT__CLOUD__SEND_FLOW_RUN_LOGS=false", "PREFECT__CLOUD__AGENT__LEVEL=debug", "PREFECT__CLOUD__TENANT_ID=t", "KUBECONFIG=/k",
		},
		Flags: map[string][]string{"api": {"http://api"}, "grace": {"30s"}, "namespace": {"flows"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "LOOP_INTERVAL has no effect") {
		t.Errorf("got warnings %q, want one about the interval", m.Warnings)
	}
	m.Warnings = nil
	want := config.ResourceManager{
		CoreVersion: config.Core0, Backend: config.Server, API: "http://api", Namespace: "flows", Grace: 30 * time.Second,
		RequestTimeout: 15 * time.Second, TenantID: "t", Kubeconfig: "/k",
	}
	want.LogLevel = "DEBUG"
	m.Credential = want.Credential
	if diff := cmp.Diff(want, m, cmp.Comparer(func(a, b config.Common) bool { return a.LogLevel == b.LogLevel })); diff != "" {
		t.Errorf("resource manager (-want +got):\n%s", diff)
	}
}

func TestResourceManagerRefuses(t *testing.T) {
	t.Parallel()
	for variable, place := range map[string]string{
		"PREFECT__BACKEND=x": "PREFECT__BACKEND", "PREFECT__CLOUD__AGENT__LEVEL=x": "cloud.agent.level", "PREFECT_KUBE_GRACE=-1s": "grace",
		"PREFECT__CLOUD__API=x": "api", "PREFECT_KUBE_GRACES=1s": "PREFECT_KUBE_GRACES",
	} {
		if _, err := config.ResolveResourceManager(config.Sources{Env: []string{variable}}); err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("%s: got %v, want an error that names %s", variable, err, place)
		}
	}
}

func TestResourceManagerWantsOneCredential(t *testing.T) {
	t.Parallel()
	_, err := config.ResolveResourceManager(config.Sources{Flags: map[string][]string{"key": {"hunter2"}, "token": {"hunter2"}}})
	if err == nil || !strings.HasPrefix(err.Error(), "--key, --token: ") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want an error that names both", err)
	}
	for _, s := range config.ResourceManagerSettings() {
		if strings.Contains(s.Help, "the default is what") {
			t.Errorf("%v promises a stored key, and nothing reads it", s.Flags)
		}
	}
}

func TestResourceManagerTableIsSound(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range config.ResourceManagerSettings() {
		for _, way := range namesOf(s) {
			if seen[way] {
				t.Errorf("%s is there twice", way)
			}
			seen[way] = true
		}
	}
	for _, way := range []string{"--token", "--key", "--api", "--namespace", "--grace", "--kubeconfig", "--log-level", "--agent-address", "NAMESPACE", "PREFECT__CLOUD__AGENT__RESOURCE_MANAGER__LOOP_INTERVAL"} {
		if !seen[way] {
			t.Errorf("%s is not there", way)
		}
	}
	if slices.Contains(namesOf(config.ResourceManagerSettings()[0]), "--agent-config-id") || seen["--agent-config-id"] || seen["--name"] {
		t.Error("an agent's identity is taken")
	}
}
