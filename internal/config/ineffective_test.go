package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// theirKeys are the keys of Prefect's own config.toml that have to do with agents
// and servers, by the forms of the command whose release has them.
func theirKeys() map[string]string {
	return map[string]string{
		"backend": "", "home_dir": "", "server.host": "", "server.port": "", "server.endpoint": "", "server.ui.endpoint": "",
		"server.graphql.port": "", "server.hasura.port": "", "server.database.port": "",
		"cloud.endpoint": "", "cloud.api": "", "cloud.graphql": "", "cloud.use_local_secrets": "", "cloud.heartbeat_interval": "",
		"cloud.heartbeat_mode": config.Core1, "cloud.check_cancellation_interval": config.Core1, "cloud.diagnostics": "",
		"cloud.request_timeout": config.Core1, "cloud.logging_heartbeat": "", "cloud.queue_interval": "", "cloud.send_flow_run_logs": config.Core1,
		"cloud.api_key": config.Core1, "cloud.tenant_id": config.Core1, "cloud.auth_token": "",
		"cloud.agent.name": "", "cloud.agent.labels": "", "cloud.agent.level": "", "cloud.agent.auth_token": "", "cloud.agent.agent_address": "",
		"cloud.agent.env_vars": "", "cloud.agent.kubernetes_keep_alive": config.Core1, "cloud.agent.resource_manager.loop_interval": "",
		"cloud.rate_limiting.backoff_s": config.Core1, "cloud.rate_limiting.backoff_multiplier": config.Core1,
		"cloud.rate_limiting.backoff_exponent": config.Core1, "cloud.rate_limiting.max_retries": config.Core1,
		"logging.level": "", "logging.format": "", "logging.datefmt": "", "logging.log_to_cloud": config.Core0, "flows.defaults.storage.default_class": "",
	}
}

// Every key works or is in the table of those without effect, and never both.
func TestEveryKeyOfTheirsIsKnown(t *testing.T) {
	t.Parallel()
	for _, core := range []string{config.Core0, config.Core1} {
		works, vain := map[string]bool{}, map[string]bool{}
		for _, s := range config.AgentSettings(core) {
			works[s.Key] = true
		}
		for _, k := range config.IneffectiveKeys(core) {
			vain[k.Key] = true
			if _, theirs := theirKeys()[k.Key]; !theirs || k.Reason == "" {
				t.Errorf("%s: row %+v is not of theirs, or has no reason", core, k)
			}
		}
		for key, of := range theirKeys() {
			if (of == "" || of == core) && works[key] == vain[key] {
				t.Errorf("%s: %s works %v, is without effect %v", core, key, works[key], vain[key])
			}
		}
	}
}

func TestKeysWithoutEffectAreSaid(t *testing.T) {
	t.Parallel()
	for _, core := range []string{config.Core0, config.Core1} {
		for _, k := range config.IneffectiveKeys(core) {
			variable := "PREFECT__" + strings.ToUpper(strings.ReplaceAll(k.Key, ".", "__"))
			for value, want := range map[string][]string{
				"777": {variable + " has no effect: " + k.Reason}, "": nil, k.Default: nil,
			} {
				got, err := config.ResolveAgent(core, config.Sources{Env: []string{"PREFECT__BACKEND=server", variable + "=" + value}})
				if err != nil || !cmp.Equal(want, got.Warnings) {
					t.Errorf("%s=%s: got %q, %v, want %q", variable, value, got.Warnings, err, want)
				}
			}
		}
	}
	dir := home(t, map[string]string{".prefect/config.toml": "[cloud]\ndiagnostics = true\nheartbeat_interval = 30\n[cloud.rate_limiting]\nmax_retries = 7\n"})
	got, err := config.ResolveAgent(config.Core1, config.Sources{Env: []string{"PREFECT__CLOUD__AGENT__AUTH_TOKEN=K", "PREFECT__CLOUD__API_KEY=K"}, HomeDir: dir})
	if err != nil || len(got.Warnings) != 2 || !strings.Contains(got.Warnings[0], "config.toml: cloud.diagnostics has no effect") || !strings.Contains(got.Warnings[1], "cloud.rate_limiting.max_retries") {
		t.Errorf("got %q, %v, want one for each of the two keys that are set to something else", got.Warnings, err)
	}
}

// What "prefect auth login" of 0.x stored is the last resort for 0.11.0 on Cloud.
func TestStoredLogin(t *testing.T) {
	t.Parallel()
	const path = ".prefect/client/https-api.prefect.io-graphql-alpha/settings.toml"
	login := map[string]string{path: "api_token = \"STORED\"\nactive_tenant_id = \"T\"\n"}
	other := map[string]string{".prefect/client/http-x-1-graphql/settings.toml": "api_token = \"OTHER\"\n"}
	has := func(a *config.Agent, text string) { a.Credential = secret.New(text) }
	checkAgents(t, map[string]agentCase{
		"none of their own": {core: config.Core0, files: map[string]string{path: "api_token = \"STORED\"\n"}, want: func(a *config.Agent) { has(a, "STORED") }},
		"given otherwise":   {core: config.Core0, files: login, env: []string{"PREFECT__CLOUD__AUTH_TOKEN=T"}, want: func(a *config.Agent) { has(a, "T") }},
		"of another server": {core: config.Core0, files: other, want: func(*config.Agent) {}},
		"by its address": {core: config.Core0, files: other, env: []string{"PREFECT__CLOUD__API=http://x:1/", "PREFECT__CLOUD__GRAPHQL=http://x:1/graphql"}, want: func(a *config.Agent) {
			a.API, a.GraphQL = "http://x:1/", "http://x:1/graphql"
			has(a, "OTHER")
		}},
		"not for a server": {core: config.Core0, files: login, env: []string{"PREFECT__BACKEND=server", "PREFECT__CLOUD__API=https://api.prefect.io"}, want: func(a *config.Agent) { a.Backend = "server" }},
		"not by 1.4.1":     {core: config.Core1, files: login, want: func(*config.Agent) {}},
	})
	got, err := config.ResolveAgent(config.Core0, config.Sources{HomeDir: home(t, login)})
	if err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "active_tenant_id has no effect") {
		t.Errorf("got %q, %v, want a word about the tenant", got.Warnings, err)
	}
	for _, text := range []string{"api_token = [\"hunter2\"]", "hunter2", "active_tenant_id = {a = 1}"} {
		_, err := config.ResolveAgent(config.Core0, config.Sources{HomeDir: home(t, map[string]string{path: text})})
		if err == nil || !strings.Contains(err.Error(), "settings.toml") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want an error that names the file", text, err)
		}
	}
}

func TestOurOwnSettings(t *testing.T) {
	t.Parallel()
	keep := func(names ...string) func(*config.Agent) { return func(a *config.Agent) { a.Keep = names } }
	bundle := func(path, place string) func(*config.Agent) {
		return func(a *config.Agent) { a.CABundle = config.File{Path: path, Place: place} }
	}
	kube := map[string]string{".prefect/config.toml": "[kube]\nkeep = ['storage', 'cpu-limit']\n"}
	checkAgents(t, map[string]agentCase{
		"keep, flags":    {files: kube, flags: map[string][]string{"keep": {"a, b,a", "c"}}, want: keep("a", "b", "c")},
		"keep, variable": {files: kube, env: []string{"PREFECT_KUBE_KEEP=a,b"}, want: keep("a", "b")},
		"keep, file":     {files: kube, want: keep("storage", "cpu-limit")},
		"all of them": {
			files: map[string]string{".prefect/config.toml": "[kube]\ndefault_job_image = 'i'\nmax_poll_interval = 2.5\nexclusive_labels = true\ngrace = '3m'\ncredential_secret = 's/k'\nkubeconfig = '/k'\nkeep = 'a'\n"},
			want: func(a *config.Agent) {
				a.DefaultJobImage, a.MaxPollInterval, a.ExclusiveLabels, a.Grace = "i", 2500*1e6, true, 180*1e9
				a.CredentialSecret, a.Kubeconfig, a.Keep = "s/k", "/k", []string{"a"}
			},
		},
		"kubeconfig": {env: []string{"PREFECT_KUBE_KUBECONFIG=", "KUBECONFIG=/a:/b"}, want: func(a *config.Agent) { a.Kubeconfig = "/a:/b" }},
		"requests":   {env: []string{"SSL_CERT_FILE=/s", "CURL_CA_BUNDLE=/c", "REQUESTS_CA_BUNDLE=/r"}, want: bundle("/r", "REQUESTS_CA_BUNDLE")},
		"curl":       {env: []string{"SSL_CERT_FILE=/s", "CURL_CA_BUNDLE=/c", "REQUESTS_CA_BUNDLE="}, want: bundle("/c", "CURL_CA_BUNDLE")},
		"openssl":    {env: []string{"SSL_CERT_FILE=/s"}, want: bundle("/s", "SSL_CERT_FILE")},
	})
}

func TestCredentialFileMustBeReadable(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for core, variable := range map[string]string{config.Core0: "PREFECT__CLOUD__AGENT__AUTH_TOKEN_FILE", config.Core1: "PREFECT__CLOUD__API_KEY_FILE"} {
		for _, path := range []string{missing, empty} {
			for _, backend := range []string{config.Cloud, config.Server} {
				a, err := config.ResolveAgent(core, config.Sources{Env: []string{"PREFECT__BACKEND=" + backend, variable + "=" + path}})
				if err != nil {
					t.Fatal(err)
				}
				if err := a.CheckCredential(); err == nil || !strings.HasPrefix(err.Error(), variable+": ") || !strings.Contains(err.Error(), path) {
					t.Errorf("got %v, want an error that names %s and %s", err, variable, path)
				}
			}
		}
	}
}
