package config_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

func compareInstall(t *testing.T, want, got config.Install) {
	t.Helper()
	reveal := cmp.Transformer("reveal", func(v secret.Value) string {
		text, err := v.Reveal()
		if err != nil {
			return err.Error()
		}
		return text
	})
	if diff := cmp.Diff(want, got, reveal, cmpopts.IgnoreFields(config.Install{}, "Common.Warnings")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestInstallDefaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env               []string
		backend, endpoint string
	}{
		{nil, "cloud", "https://api.prefect.io"},
		{[]string{"PREFECT__BACKEND=server"}, "server", "http://localhost:4200"}, // D-09
		{[]string{"PREFECT__BACKEND=server", "PREFECT__SERVER__ENDPOINT=http://apollo:1"}, "server", "http://apollo:1"},
		{[]string{"PREFECT__BACKEND=server", "PREFECT__SERVER__HOST=http://apollo"}, "server", "http://apollo:4200"},
		// What is meant for this machine does not go into the cluster.
		{
			[]string{
				"NAMESPACE=env", "PREFECT__CLOUD__API=http://here:1", "PREFECT__CLOUD__AGENT__LABELS=['cfg']", "PREFECT__CLOUD__API_KEY=K",
				"PREFECT__CLOUD__AGENT__AUTH_TOKEN=T", "JOB_MEM_LIMIT=1Gi", "IMAGE_PULL_SECRETS=s", "PREFECT__CLOUD__AGENT__ENV_VARS={\"A\": \"1\"}",
			}, "cloud", "https://api.prefect.io",
		},
	} {
		for _, core := range []string{config.Core0, config.Core1} {
			got, err := config.ResolveInstall(core, config.Sources{Env: c.env})
			if err != nil {
				t.Fatal(err)
			}
			want := config.Install{CoreVersion: core, Backend: c.backend, Endpoint: c.endpoint}
			want.LogLevel = "INFO"
			compareInstall(t, want, got)
		}
	}
}

func TestInstallFlags(t *testing.T) {
	t.Parallel()
	flags := map[string][]string{
		"api": {"http://x:1"}, "namespace": {"flows"}, "image-pull-secrets": {"regcred"}, "rbac": {"true"}, "latest": {"true"},
		"mem-request": {"1"}, "mem-limit": {"2"}, "cpu-request": {"3"}, "cpu-limit": {"4"}, "label": {"b", "a,c", "b"}, "env": {"Z=1=2", "A=", "Z=3"},
		"backend": {"server"}, "image-pull-policy": {"Never"}, "service-account-name": {"sa"}, "agent-config-id": {"AC"},
		"image": {"x/y:1"}, "credential-secret": {"s/k"}, "keep": {"limits, rules,", "storage,limits"},
	}
	want := config.Install{
		Backend: "server", API: "http://x:1", Endpoint: "http://x:1", Namespace: "flows", ImagePullSecrets: "regcred", RBAC: true, Latest: true,
		MemRequest: "1", MemLimit: "2", CPURequest: "3", CPULimit: "4", EnvVars: []config.Pair{{Name: "Z", Value: "3"}, {Name: "A"}},
		ImagePullPolicy: "Never", ServiceAccountName: "sa", AgentConfigID: "AC",
		Image: "x/y:1", CredentialSecret: "s/k", Keep: []string{"limits", "rules", "storage"},
	}
	want.LogLevel = "INFO"
	with := func(more map[string][]string) config.Sources {
		maps.Copy(more, flags)
		return config.Sources{Env: []string{"PREFECT__BACKEND=cloud"}, Flags: more}
	}

	old := want
	old.CoreVersion, old.Credential, old.ResourceManager, old.Labels = config.Core0, secret.New("T"), true, []string{"b", "a,c", "b"}
	got, err := config.ResolveInstall(config.Core0, with(map[string][]string{"token": {"T"}, "resource-manager": {"true"}}))
	if err != nil {
		t.Fatal(err)
	}
	compareInstall(t, old, got)

	want.CoreVersion, want.Credential, want.TenantID, want.Labels = config.Core1, secret.New("K"), "ten", []string{"a,c", "b"}
	if got, err = config.ResolveInstall(config.Core1, with(map[string][]string{"key": {"K"}, "tenant-id": {"ten"}})); err != nil {
		t.Fatal(err)
	}
	compareInstall(t, want, got)
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	for flag, value := range map[string]string{"env": "hunter2", "backend": "bogus", "api": "localhost", "reference": "0.12.0", "credential-secret": "only", "rbac": "maybe"} {
		_, err := config.ResolveInstall(config.Core1, config.Sources{Flags: map[string][]string{flag: {value}}})
		if err == nil || !strings.HasPrefix(err.Error(), "--"+flag) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("--%s %s: got %v", flag, value, err)
		}
	}
	if got, err := config.ResolveInstall(config.Core1, config.Sources{Flags: map[string][]string{"reference": {"1.2.4"}}}); err != nil || got.Reference != "1.2.4" {
		t.Errorf("got %q, %v", got.Reference, err)
	}
	if _, err := config.ResolveInstall(config.Core1, config.Sources{Flags: map[string][]string{"reference": {"1.2.4"}, "keep": {"no"}}}); err == nil || !strings.HasPrefix(err.Error(), "--keep: --reference ") {
		t.Errorf("--keep beside --reference: got %v", err)
	}
	for _, text := range []string{"/", "a/", "/b", "a/b/c", "A/b", "a b/c", "-a/b"} {
		if _, _, ok := config.SplitSecret(text); ok {
			t.Errorf("%q passes for NAME/KEY", text)
		}
	}
}

func TestInstallTableIsSound(t *testing.T) {
	t.Parallel()
	for _, core := range []string{config.Core0, config.Core1} {
		seen := map[string]bool{}
		for _, s := range config.InstallSettings(core) {
			if s.Kind == "" || !strings.HasSuffix(s.Help, ".") {
				t.Errorf("%s: row %+v is not complete", core, s)
			}
			for _, way := range namesOf(s) {
				if seen[way] {
					t.Errorf("%s: %s is there twice", core, way)
				}
				seen[way] = true
			}
		}
	}
}

// Names of variables that only a recent cluster takes are warned of, where they stand.
func TestRecentNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  config.Sources
		want string
	}{
		"blank":   {config.Sources{Flags: map[string][]string{"env": {"A B=hunter2", "A=1"}}}, `--env: Kubernetes before 1.32 refuses every Job with a variable "A B"; `},
		"digit":   {config.Sources{Env: []string{`PREFECT__CLOUD__AGENT__ENV_VARS={"1A": "hunter2"}`}}, `PREFECT__CLOUD__AGENT__ENV_VARS: Kubernetes before 1.32`},
		"..":      {config.Sources{Flags: map[string][]string{"env": {"..A=1"}}}, `a variable "..A"; `},
		".":       {config.Sources{Flags: map[string][]string{"env": {".=1"}}}, `a variable "."; `},
		"file":    {config.Sources{HomeDir: home(t, map[string]string{".prefect/config.toml": "cloud.agent.env_vars = {\"A B\" = 1}", ".prefect/backend.toml": "cloud.agent.env_vars = {C = 1}"})}, `config.toml: cloud.agent.env_vars.A B: Kubernetes before 1.32`},
		"usual":   {config.Sources{Flags: map[string][]string{"env": {"a.B-c_1=x", ".a=x", ".a..=x"}}}, ""},
		"no name": {config.Sources{Flags: map[string][]string{"env": {"ü=x"}}}, ""}, // an error elsewhere
	} {
		agent, err := config.ResolveAgent(config.Core1, c.src)
		install, errInstall := config.ResolveInstall(config.Core1, c.src)
		if err := errors.Join(err, errInstall); err != nil {
			t.Fatal(err)
		}
		given := map[string][]string{"start": agent.Warnings, "install": install.Warnings}
		if c.src.Flags == nil {
			delete(given, "install") // only flags count for it
		}
		for command, warnings := range given {
			got := strings.Join(warnings, "\n")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") {
				t.Errorf("%s, %s: got %q, want %q in it", name, command, got, c.want)
			}
		}
	}
}
