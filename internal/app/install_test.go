package app_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/manifests"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// install runs the command and returns what it writes where.
func install(t *testing.T, cfg config.Install) (out, log string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err = app.Install(t.Context(), cfg, &stdout, slog.New(slog.NewTextHandler(&stderr, nil)))
	return stdout.String(), stderr.String(), err
}

func TestInstallHints(t *testing.T) {
	t.Parallel()
	cloud := config.Install{CoreVersion: config.Core1, Backend: config.Cloud, Endpoint: "https://api.prefect.io", RBAC: true, Version: "1.2.3"}
	out, log, err := install(t, cloud)
	if err != nil || !strings.HasPrefix(out, "---\n") || !strings.Contains(out, "name: prefect-agent\n") {
		t.Errorf("got %v and\n%s", err, out)
	}
	if want := "kubectl create secret generic prefect-agent --namespace default --from-literal=credential="; !strings.Contains(log, want) {
		t.Errorf("got log %q, want %q", log, want)
	}

	for _, want := range []string{"flows run with the service account default now, which has no rights", "--service-account-name", "--keep account,rules"} {
		if !strings.Contains(log, want) {
			t.Errorf("got log %q, want %q", log, want)
		}
	}

	cloud.Credential, cloud.CredentialSecret, cloud.Keep = secret.New("hunter2"), "mine/token", []string{"account", "rules"}
	out, log, err = install(t, cloud)
	if err != nil || log != "" || strings.Count(out, "hunter2") != 1 || !strings.Contains(out, "stringData:\n  token: hunter2\n") || !strings.Contains(out, "value: mine/token\n") {
		t.Errorf("got %v, log %q and\n%s", err, log, out)
	}

	local := config.Install{CoreVersion: config.Core0, Backend: config.Server, Endpoint: "http://localhost:4200", CPURequest: "1", CPULimit: "500m", MemRequest: "1Gi", MemLimit: "1024Mi"}
	out, log, err = install(t, local)
	if err != nil || strings.Contains(out, "secretKeyRef") {
		t.Errorf("got %v and\n%s", err, out)
	}
	if strings.Contains(log, "mem-request") {
		t.Errorf("got log %q for equal amounts", log)
	}
	for _, want := range []string{"--api", "--rbac", "--cpu-request 1 is more than --cpu-limit 500m"} {
		if !strings.Contains(log, want) {
			t.Errorf("got log %q, want %q", log, want)
		}
	}

	local.Reference, local.Warnings = "1.4.1", []string{"odd"}
	out, log, err = install(t, local)
	if err != nil || !strings.Contains(out, "prefecthq/prefect:1.4.1-python3.7") || !strings.Contains(out, "https://api.prefect.io") || strings.Count(log, "WARN") != 1 {
		t.Errorf("got %v, log %q and\n%s", err, log, out)
	}
}

// An address with a password is in a Secret, and so is one with a token: agent and Jobs refer to it.
func TestInstallHidesTheAddress(t *testing.T) {
	t.Parallel()
	for core, flags := range map[string]map[string][]string{
		config.Core1: {"api": {"https://u:hunter2@apollo"}, "token": {"T"}},
		config.Core0: {"api": {"https://apollo?apikey=hunter2"}, "resource-manager": {"true"}},
	} {
		cfg, err := config.ResolveInstall(core, config.Sources{Env: []string{"PREFECT__BACKEND=server"}, Flags: flags})
		if err != nil {
			t.Fatal(err)
		}
		out, log, err := install(t, cfg)
		if err != nil || strings.Count(out, "hunter2") != 1 || strings.Contains(log, "hunter2") || !strings.Contains(out, "stringData:\n  address: "+flags["api"][0]+"\n") {
			t.Errorf("%s: got %v, log %q and\n%s", core, err, log, out)
		}
		if !strings.Contains(out, "key: address\n") || !strings.Contains(out, "value: prefect-agent-api/address\n") || strings.Contains(out, "PREFECT__CLOUD__API_KEY") {
			t.Errorf("%s: nothing refers to the Secret:\n%s", core, out)
		}
	}
}

func TestInstallNamesFlags(t *testing.T) {
	t.Parallel()
	out, _, err := install(t, config.Install{CoreVersion: config.Core1, Backend: config.Server, Endpoint: "http://a:1", MemLimit: "1Gb", Namespace: "A", Keep: []string{"no"}})
	if err == nil || out != "" {
		t.Fatalf("got %v and %q", err, out)
	}
	lines := strings.Split(err.Error(), "\n")
	for i, flag := range []string{"--namespace: ", "--mem-limit: ", "--keep: "} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], flag) {
			t.Errorf("line %d of %q does not begin with %s", i, err, flag)
		}
	}
}

// TestInstallKeepsInJobs: the agent is told what it keeps in Jobs, and reads the same.
func TestInstallKeepsInJobs(t *testing.T) {
	t.Parallel()
	cfg := config.Install{CoreVersion: config.Core1, Backend: config.Server, Endpoint: "http://a:1", RBAC: true, Keep: append(jobspec.KeepNames(), "limits")}
	out, _, err := install(t, cfg)
	value := strings.Join(jobspec.KeepNames(), ",")
	if err != nil || !strings.Contains(out, "- name: PREFECT_KUBE_KEEP\n") || !strings.Contains(out, "value: "+value+"\n") || !strings.Contains(out, "cpu: 100m\n") {
		t.Errorf("got %v and\n%s", err, out)
	}
	agent := resolve(t, config.Core1, nil, "PREFECT_KUBE_KEEP="+value)
	if _, err := app.JobSettings(agent); err != nil || !slices.Equal(agent.Keep, jobspec.KeepNames()) {
		t.Errorf("the agent keeps %q, %v", agent.Keep, err)
	}
	for _, name := range manifests.KeepNames() {
		if slices.Contains(jobspec.KeepNames(), name) {
			t.Errorf("%q means two things", name)
		}
	}
	for name, want := range map[string]string{"storrage": "did you mean storage?", "limit": "did you mean limits?", "name": "cannot be kept", "what is there": "use storage, "} {
		cfg.Keep = []string{name}
		if out, _, err := install(t, cfg); err == nil || out != "" || !strings.HasPrefix(err.Error(), "--keep: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", name, err, want)
		}
	}
}

// TestInstallRefusesATenant that the agent would refuse at its start.
func TestInstallRefusesATenant(t *testing.T) {
	t.Parallel()
	cfg := config.Install{CoreVersion: config.Core1, Backend: config.Server, Endpoint: "http://a:1", TenantID: "x"}
	if out, _, err := install(t, cfg); err == nil || out != "" || !strings.HasPrefix(err.Error(), "--tenant-id: is not the id") {
		t.Errorf("got %v and %q", err, out)
	}
	cfg.Reference = "1.4.1"
	if out, _, err := install(t, cfg); err != nil || !strings.Contains(out, "value: x\n") {
		t.Errorf("the reference: got %v and %q", err, out)
	}
}

// TestJobsReferToTheSecret: an agent that is told where its credential lies keeps it out of its Jobs (D-36), in both
// generations of them.
func TestJobsReferToTheSecret(t *testing.T) {
	t.Parallel()
	for core, variable := range map[string]string{config.Core0: "PREFECT__CLOUD__AGENT__AUTH_TOKEN", config.Core1: "PREFECT__CLOUD__API_KEY"} {
		cfg, err := config.ResolveAgent(core, config.Sources{Env: []string{variable + "=hunter2", "PREFECT_KUBE_CREDENTIAL_SECRET=prefect-agent/credential"}})
		if err != nil {
			t.Fatal(err)
		}
		settings, err := app.JobSettings(cfg)
		if err != nil {
			t.Fatal(err)
		}
		run := jobspec.FlowRun{ID: "b7d3f0e4-0000-4000-8000-000000000001", Storage: []byte(`{"type": "Docker", "registry_url": "r", "image_name": "i", "image_tag": "t", "prefect_version": "0.11.0"}`)}
		if core == config.Core0 {
			run.Environment = []byte(`{"type": "LocalEnvironment"}`)
		} else {
			run.RunConfig = []byte(`{"type": "UniversalRun"}`)
		}
		job, _, err := jobspec.Job(run, settings, "v1")
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), `"secretKeyRef":{"name":"prefect-agent","key":"credential"}`) {
			t.Errorf("%s: the Job is %s", core, text)
		}
	}
}

// TestGracePeriod: an agent that drains is not killed.
func TestGracePeriod(t *testing.T) {
	t.Parallel()
	if got := app.Drain.Seconds(); got+15 > manifests.GracePeriod {
		t.Errorf("a drain takes up to %vs, the Pod is killed after %ds", got, manifests.GracePeriod)
	}
}
