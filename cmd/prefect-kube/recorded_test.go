package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// missing is what Python passes over in "argument or configuration".
func missing(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case bool:
		return !v
	case float64:
		return v == 0
	default:
		return false
	}
}

// written is a recorded value as text.
func written(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// list is a recorded list as text. 0.11.0 has one in a text, with a Python list in it.
func list(value any) string {
	items := []string{}
	if text, ok := value.(string); ok {
		var parsed []any
		if json.Unmarshal([]byte(strings.ReplaceAll(text, "'", `"`)), &parsed) != nil {
			return text
		}
		value = parsed
	}
	recorded, _ := value.([]any)
	for _, item := range recorded {
		items = append(items, written(item))
	}
	return fmt.Sprintf("%q", items)
}

func pairs(value any) string {
	table, _ := value.(map[string]any)
	text := map[string]string{}
	for name, v := range table {
		text[name] = written(v)
	}
	return fmt.Sprintf("%q", text) // in the order of names
}

// level is a level in the one spelling that we have for it.
func level(value any) string {
	name := strings.ToUpper(written(value))
	if same, ok := map[string]string{"WARN": "WARNING", "10": "DEBUG", "20": "INFO", "30": "WARNING", "40": "ERROR", "50": "CRITICAL", "FATAL": "CRITICAL", "NOTSET": "DEBUG"}[name]; ok {
		return same
	}
	return name
}

// recordedStart merges what the reference hands to its agent with the configuration
// and the variables that the agent falls back to.
func recordedStart(v vector) facts {
	args, conf, env := v.Expected.Arguments, v.Expected.Config, v.Input.Environment
	or := func(arg, key string) any {
		if !missing(args[arg]) {
			return args[arg]
		}
		return conf[key]
	}
	text := func(arg, variable string) string {
		if !missing(args[arg]) {
			return written(args[arg])
		}
		return env[variable]
	}
	want := facts{
		"name": written(or("name", "cloud.agent.name")), "labels": list(or("labels", "cloud.agent.labels")), "env": pairs(or("env_vars", "cloud.agent.env_vars")),
		"max_polls": "-1", "address": written(or("agent_address", "cloud.agent.agent_address")), "namespace": text("namespace", "NAMESPACE"),
		"backend": written(conf["backend"]), "api": written(conf["cloud.api"]), "level": level(conf["cloud.agent.level"]),
	}
	if args["max_polls"] != nil {
		want["max_polls"] = written(args["max_polls"])
	}
	if want["namespace"] == "" {
		want["namespace"] = "default"
	}
	if v.core == config.Core0 {
		want["credential"] = written(conf["cloud.agent.auth_token"])
		return want
	}
	want["credential"], want["tenant"] = written(conf["cloud.api_key"]), written(conf["cloud.tenant_id"])
	if want["credential"] == "" && len(v.Versions) > 0 && strings.HasPrefix(v.Versions[0], "0.") {
		want["credential"] = written(conf["cloud.agent.auth_token"])
	}
	want["send_logs"] = strconv.FormatBool(!missing(conf["cloud.send_flow_run_logs"]))
	if off, ok := args["no_cloud_logs"].(bool); ok {
		want["send_logs"] = strconv.FormatBool(!off)
	}
	deletion, given := env["DELETE_FINISHED_JOBS"]
	disabled := args["delete_finished_jobs"] == false // 0.13 has no such argument, and deletes
	want["delete"] = strconv.FormatBool(!disabled && (!given || deletion == "True"))
	want["secrets"] = list(args["image_pull_secrets"])
	if names := env["IMAGE_PULL_SECRETS"]; missing(args["image_pull_secrets"]) && names != "" {
		var split []any
		for name := range strings.SplitSeq(names, ",") {
			split = append(split, strings.TrimSpace(name))
		}
		want["secrets"] = list(split)
	}
	want["account"], want["template"], want["config_id"] = text("service_account_name", "SERVICE_ACCOUNT_NAME"), written(args["job_template_path"]), written(args["agent_config_id"])
	return want
}

func startFacts(t *testing.T, a config.Agent) facts {
	t.Helper()
	got := facts{
		"name": a.Name, "labels": quoted(a.Labels), "env": pairsOf(a.EnvVars), "max_polls": strconv.Itoa(a.MaxPolls), "address": a.AgentAddress,
		"namespace": a.Namespace, "backend": a.Backend, "api": a.API, "level": a.LogLevel, "credential": revealed(t, a.Credential.Reveal),
	}
	if a.CoreVersion == config.Core0 {
		return got
	}
	got["tenant"], got["send_logs"], got["delete"] = a.TenantID, strconv.FormatBool(a.SendLogs), strconv.FormatBool(a.DeleteFinishedJobs)
	got["secrets"], got["template"], got["account"], got["config_id"] = quoted(a.ImagePullSecrets), a.JobTemplate, a.ServiceAccountName, a.AgentConfigID
	return got
}

func quoted(items []string) string { return fmt.Sprintf("%q", append([]string{}, items...)) }

func pairsOf(variables []config.Pair) string {
	table := map[string]any{}
	for _, p := range variables {
		table[p.Name] = p.Value
	}
	return pairs(table)
}

func revealed(t *testing.T, reveal func() (string, error)) string {
	t.Helper()
	text, err := reveal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// recordedInstall is what the reference hands to its generator.
func recordedInstall(v vector) facts {
	want := facts{"resource_manager_enabled": "false"} // only 0.11 to 0.13 have it
	for name, value := range v.Expected.Arguments {
		switch name {
		case "labels":
			want[factOf(name)] = list(value)
		case "env_vars":
			want[factOf(name)] = pairs(value)
		case "token", "key": // 0.15 has both
			want["credential"] += written(value)
		case "backend":
			if value == nil {
				value = v.Input.Environment["PREFECT__BACKEND"]
			}
			want[name] = written(value)
		default:
			want[factOf(name)] = written(value)
		}
	}
	return want
}

func recordInstall(t *testing.T, got *facts) func(context.Context, config.Install, io.Writer, *slog.Logger) error {
	t.Helper()
	return func(_ context.Context, i config.Install, _ io.Writer, _ *slog.Logger) error {
		*got = facts{
			"credential": revealed(t, i.Credential.Reveal), "api": i.API, "namespace": i.Namespace, "secrets": i.ImagePullSecrets,
			"rbac": strconv.FormatBool(i.RBAC), "latest": strconv.FormatBool(i.Latest), "backend": i.Backend,
			"mem_request": i.MemRequest, "mem_limit": i.MemLimit, "cpu_request": i.CPURequest, "cpu_limit": i.CPULimit,
			"labels": quoted(i.Labels), "env": pairsOf(i.EnvVars), "resource_manager_enabled": strconv.FormatBool(i.ResourceManager),
		}
		if i.CoreVersion == config.Core0 {
			return nil
		}
		(*got)["tenant"], (*got)["config_id"], (*got)["image_pull_policy"], (*got)["account"] = i.TenantID, i.AgentConfigID, i.ImagePullPolicy, i.ServiceAccountName
		return nil
	}
}

// waited is the exit code of an agent that did not leave by itself.
const waited = "0 after a stop"

// startForReal starts the agent itself, in a cluster that knows namespaces and
// refuses all else. If it waits for the API it is stopped.
func startForReal(t *testing.T, v vector, env []string) facts {
	t.Helper()
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, found := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/")
		if !found || strings.Contains(name, "/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q, "uid": "00000000-0000-4000-8000-000000000001"}}`, name)
	}))
	t.Cleanup(cluster.Close)
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u}]\ncurrent-context: c\n", cluster.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	output := &needle{text: `"msg":"request repeated"`, found: cancel}
	if own, given := v.Input.Environment["KUBECONFIG"]; given {
		kubeconfig = own // the case is about it
	}
	code := run(ctx, append([]string{"prefect"}, v.Input.Command...), append(env, "KUBECONFIG="+kubeconfig), streams{out: io.Discard, err: output}, commands{start: app.StartAgent})
	output.lock.Lock()
	defer output.lock.Unlock()
	if found := strings.Count(output.all.String(), `"msg":"cluster found","reason":"kubeconfig `+kubeconfig+` (context \"c\")"`); found != 1 && code != exitUsage {
		t.Errorf("the log names the cluster %d times:\n%s", found, output.all.String())
	}
	if ctx.Err() == nil {
		return facts{"exit": strconv.Itoa(code)}
	}
	if code != exitClean || !output.seen {
		t.Errorf("exit code %d after a stop:\n%s", code, output.all.String())
	}
	return facts{"exit": waited}
}

// needle calls back once its text was written.
type needle struct {
	text  string
	found func()

	lock sync.Mutex
	all  strings.Builder
	seen bool
}

func (n *needle) Write(p []byte) (int, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	n.all.Write(p)
	if !n.seen && strings.Contains(n.all.String(), n.text) {
		n.seen = true
		n.found()
	}
	return len(p), nil
}

// param is an option of the reference.
type param struct {
	Kind     string
	Name     string
	Opts     []string
	Flag     bool `json:"is_flag"`
	Multiple bool
}

// compareOptions checks that every option of the reference is there with all
// its names, as a switch or with a value, once or repeated.
func compareOptions(t *testing.T, v vector) []difference {
	t.Helper()
	cmd, settings := commandOf(t, v)
	want, got := facts{}, facts{}
	for _, p := range v.Expected.Params {
		if p.Kind != "option" || slices.Contains(p.Opts, "--help") {
			continue
		}
		i := slices.IndexFunc(p.Opts, func(o string) bool { return strings.HasPrefix(o, "--") })
		if i < 0 {
			t.Errorf("option %q has no long name", p.Opts)
			continue
		}
		long := strings.TrimPrefix(p.Opts[i], "--")
		want["--"+long] = fmt.Sprintf("%q %v %v", p.Opts, p.Flag, p.Multiple)
		flag := cmd.Flags().Lookup(long)
		if flag == nil {
			continue
		}
		opts := []string{"--" + flag.Name}
		if flag.Shorthand != "" {
			opts = append(opts, "-"+flag.Shorthand)
		}
		repeated := settings[long].Repeated
		if value, ok := flag.Value.(*flagValues); ok && value.foreign {
			repeated = p.Multiple // all are dropped
		}
		got["--"+long] = fmt.Sprintf("%q %v %v", opts, flag.NoOptDefVal != "", repeated)
	}
	return differences(want, got)
}

// commandOf is the command whose options a case lists, by what they are: only
// install prints RBAC.
func commandOf(t *testing.T, v vector) (*cobra.Command, map[string]config.Flag) {
	t.Helper()
	name, settings := "start", config.AgentSettings(v.core)
	if slices.ContainsFunc(v.Expected.Params, func(p param) bool { return p.Name == "rbac" }) {
		name, settings = "install", config.InstallSettings(v.core)
	}
	path := map[string][]string{config.Core0: {"agent", name}, config.Core1: {"agent", "kubernetes", name}}[v.core]
	cmd, _, err := (&cli{}).root("prefect").Find(path)
	if err != nil || cmd.Name() != name {
		t.Fatalf("no command %v: %v", path, err)
	}
	flags := map[string]config.Flag{}
	for _, s := range settings {
		for _, f := range s.Flags {
			flags[f.Name] = f
		}
	}
	return cmd, flags
}
