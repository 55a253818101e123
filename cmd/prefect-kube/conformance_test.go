package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// vector is one recorded call of the reference's command line.
type vector struct {
	Input struct {
		Command     []string
		Environment map[string]string
		HomeFiles   map[string]string `json:"home_files"`
	}
	Expected struct {
		Arguments map[string]any
		Config    map[string]any
		ExitCode  int `json:"exit_code"`
		Params    []param
	}
	Deviates []struct{ ID string }
}

type param struct {
	Kind     string
	Name     string
	Opts     []string
	Flag     bool `json:"is_flag"`
	Multiple bool
}

// later lists the cases whose function comes in a later step. Every row must
// match a case.
func later() []struct{ pattern, reason string } {
	return []struct{ pattern, reason string }{
		{"*/options-install.json", "the install command"},
		{"*/install-*.json", "the install command"},
		{"*/real-*.json", "needs the whole agent"},
	}
}

// TestConformanceCLI compares arguments and exit codes with the reference.
// CONFORMANCE_DIR names another root of the corpus, as an absolute path.
func TestConformanceCLI(t *testing.T) {
	t.Parallel()
	root := os.Getenv("CONFORMANCE_DIR")
	if root == "" {
		root = filepath.Join("..", "..", "conformance")
	}
	root = filepath.Join(root, "cli")
	files, err := filepath.Glob(filepath.Join(root, "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases below %s: %v", root, err)
	}
	matched := map[string]int{}
	for _, file := range files {
		name, _ := filepath.Rel(root, file)
		pattern, reason := postponed(name)
		matched[pattern]++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if pattern != "" {
				t.Skipf("later: %s: %s", name, reason)
			}
			conform(t, file)
		})
	}
	t.Logf("%d cases compared, %d later", matched[""], len(files)-matched[""])
	if os.Getenv("CONFORMANCE_DIR") != "" {
		return // another part of the corpus need not have every group
	}
	for _, row := range later() {
		if matched[row.pattern] == 0 {
			t.Errorf("row %q matches no case", row.pattern)
		}
	}
}

func postponed(name string) (pattern, reason string) {
	for _, row := range later() {
		if ok, _ := filepath.Match(row.pattern, filepath.ToSlash(name)); ok {
			return row.pattern, row.reason
		}
	}
	return "", ""
}

func conform(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	core := filepath.Base(filepath.Dir(file))
	if v.Expected.Params != nil {
		compareOptions(t, core, v.Expected.Params)
		return
	}
	home := t.TempDir()
	for name, content := range v.Input.HomeFiles {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	compareCall(t, core, home, v)
}

// compareCall runs one command line with a recorder in the place of the agent.
// The reference's defects are compared by TestImprovements instead.
func compareCall(t *testing.T, core, home string, v vector) {
	t.Helper()
	var got *config.Agent
	var output bytes.Buffer
	record := commands{start: func(_ context.Context, cfg config.Agent, _ *slog.Logger) error {
		got = &cfg
		return nil
	}}
	env := []string{"HOME=" + home}
	for name, value := range v.Input.Environment {
		env = append(env, name+"="+value)
	}
	// The recorder of the reference stands before the check of the credential.
	if _, start := v.Expected.Config["backend"]; start && v.Input.Environment["PREFECT__BACKEND"] == config.Cloud {
		env = append(env, "PREFECT__CLOUD__AGENT__AUTH_TOKEN=x", "PREFECT__CLOUD__API_KEY=x")
		v.Expected.Config["cloud.agent.auth_token"], v.Expected.Config["cloud.api_key"] = "x", "x"
	}
	code := run(t.Context(), append([]string{"prefect"}, v.Input.Command...), env, streams{out: &output, err: &output}, record)
	if len(v.Deviates) > 0 {
		t.Skipf("improved upon on purpose: %v", v.Deviates)
	}
	if code != v.Expected.ExitCode {
		t.Errorf("got exit code %d, want %d: %s", code, v.Expected.ExitCode, output.String())
	}
	if (got != nil) != (v.Expected.Arguments != nil) {
		t.Fatalf("started %v, want %v", got != nil, v.Expected.Arguments != nil)
	}
	if got != nil {
		want := effectiveArguments(t, core, v)
		if diff := cmp.Diff(want, arguments(t, core, *got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// effectiveArguments merges what the reference hands to its agent with the
// configuration that the agent falls back to: "argument or configuration".
func effectiveArguments(t *testing.T, core string, v vector) map[string]string {
	t.Helper()
	args, conf := v.Expected.Arguments, v.Expected.Config
	or := func(arg, key string) any {
		if a := args[arg]; a != nil && a != "" && fmt.Sprint(a) != "[]" && fmt.Sprint(a) != "map[]" {
			return a
		}
		return conf[key]
	}
	namespace := or("namespace", "")
	if namespace == nil {
		namespace = v.Input.Environment["NAMESPACE"]
	}
	if namespace == "" {
		namespace = "default"
	}
	want := map[string]string{
		"name": fmt.Sprint(or("name", "cloud.agent.name")), "labels": list(or("labels", "cloud.agent.labels")), "env": pairs(or("env_vars", "cloud.agent.env_vars")),
		"max_polls": strings.Replace(fmt.Sprint(args["max_polls"]), "<nil>", "-1", 1), "address": fmt.Sprint(or("agent_address", "cloud.agent.agent_address")),
		"namespace": fmt.Sprint(namespace), "backend": fmt.Sprint(conf["backend"]), "api": fmt.Sprint(conf["cloud.api"]), "level": fmt.Sprint(conf["cloud.agent.level"]),
	}
	if core == config.Core0 {
		want["credential"] = fmt.Sprint(conf["cloud.agent.auth_token"])
		return want
	}
	want["credential"], want["tenant"] = fmt.Sprint(conf["cloud.api_key"]), fmt.Sprint(conf["cloud.tenant_id"])
	want["send_logs"] = fmt.Sprint(conf["cloud.send_flow_run_logs"])
	if off, ok := args["no_cloud_logs"].(bool); ok {
		want["send_logs"] = strconv.FormatBool(!off)
	}
	want["delete"], want["secrets"] = fmt.Sprint(args["delete_finished_jobs"]), list(args["image_pull_secrets"])
	for key, arg := range map[string]string{"template": "job_template_path", "account": "service_account_name", "config_id": "agent_config_id"} {
		want[key] = strings.TrimSuffix(fmt.Sprint(args[arg]), "<nil>")
	}
	return want
}

func arguments(t *testing.T, core string, a config.Agent) map[string]string {
	t.Helper()
	credential, err := a.Credential.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{}
	for _, p := range a.EnvVars {
		vars[p.Name] = p.Value
	}
	got := map[string]string{
		"name": a.Name, "labels": fmt.Sprintf("%q", append([]string{}, a.Labels...)), "env": pairs(vars), "max_polls": strconv.Itoa(a.MaxPolls), "address": a.AgentAddress,
		"namespace": a.Namespace, "backend": a.Backend, "api": a.API, "level": a.LogLevel, "credential": credential,
	}
	if core == config.Core0 {
		return got
	}
	got["tenant"], got["send_logs"], got["delete"] = a.TenantID, strconv.FormatBool(a.SendLogs), strconv.FormatBool(a.DeleteFinishedJobs)
	got["secrets"] = fmt.Sprintf("%q", append([]string{}, a.ImagePullSecrets...))
	got["template"], got["account"], got["config_id"] = a.JobTemplate, a.ServiceAccountName, a.AgentConfigID
	return got
}

// list shows a recorded list; 0.11.0 has the empty one as the text "[]".
func list(v any) string {
	items := []string{}
	if recorded, ok := v.([]any); ok {
		for _, item := range recorded {
			items = append(items, fmt.Sprint(item))
		}
	}
	return fmt.Sprintf("%q", items)
}

func pairs(v any) string {
	table, _ := v.(map[string]any)
	return fmt.Sprintf("%q", table) // in the order of names
}

// compareOptions checks that every option of the reference is there with all
// its names, as a switch or with a value, once or repeated.
func compareOptions(t *testing.T, core string, params []param) {
	t.Helper()
	cmd := startCommand(t, core)
	settings := map[string]config.Flag{}
	for _, s := range config.AgentSettings(core) {
		for _, f := range s.Flags {
			settings[f.Name] = f
		}
	}
	if core == config.Core0 {
		for _, f := range foreignFlags() {
			f.Repeated = f.Name == "import-path" || f.Name == "volume" // all are dropped, so none is kept
			settings[f.Name] = f
		}
	}
	for _, p := range params {
		if p.Kind != "option" {
			continue
		}
		long := strings.TrimPrefix(p.Opts[slices.IndexFunc(p.Opts, func(o string) bool { return strings.HasPrefix(o, "--") })], "--")
		flag := cmd.Flags().Lookup(long)
		if flag == nil {
			t.Errorf("no option --%s", long)
			continue
		}
		opts := []string{"--" + flag.Name}
		if flag.Shorthand != "" {
			opts = append(opts, "-"+flag.Shorthand)
		}
		got := param{Kind: p.Kind, Name: p.Name, Opts: opts, Flag: flag.NoOptDefVal != "", Multiple: settings[long].Repeated}
		if diff := cmp.Diff(p, got); diff != "" {
			t.Errorf("--%s: (-want +got)\n%s", long, diff)
		}
	}
}

func startCommand(t *testing.T, core string) *cobra.Command {
	t.Helper()
	path := map[string][]string{config.Core0: {"agent", "start"}, config.Core1: {"agent", "kubernetes", "start"}}[core]
	cmd, _, err := (&cli{}).root("prefect").Find(path)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestImprovements asserts what we do where the corpus shows a defect.
func TestImprovements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		defect string
		args   string
		code   int
		env    []config.Pair
	}{
		{"D-02", "agent start kubernetes -e A=b=c", 0, []config.Pair{{Name: "A", Value: "b=c"}}},
		{"D-02", "agent start kubernetes -e A", exitUsage, nil},
		{"D-02", "agent kubernetes start -e A", exitUsage, nil},
		{"D-08", "agent start kubernetes extra", exitUsage, nil},
		{"D-08", "agent start Kubernetes", exitUsage, nil},
		{"D-08", "agent start docker", exitUsage, nil},
		{"D-08", "agent start kubernetes --no-such-option", exitUsage, nil},
		{"D-08", "agent start kubernetes --no-such-option 1", exitUsage, nil},
		{"D-08", "agent start kubernetes --no-such-option=1", exitUsage, nil},
		{"D-08", "agent start kubernetes -x", exitUsage, nil},
	} {
		var got config.Agent
		var output bytes.Buffer
		record := commands{start: func(_ context.Context, cfg config.Agent, _ *slog.Logger) error { got = cfg; return nil }}
		code := run(t.Context(), strings.Fields("prefect "+c.args), []string{"PREFECT__BACKEND=server"}, streams{out: &output, err: &output}, record)
		if code != c.code || !cmp.Equal(c.env, got.EnvVars) {
			t.Errorf("%s: %s: got exit code %d, variables %v, want %d, %v", c.defect, c.args, code, got.EnvVars, c.code, c.env)
		}
		if c.code != 0 && !strings.HasPrefix(output.String(), "Error: ") {
			t.Errorf("%s: %s: got no message: %q", c.defect, c.args, output.String())
		}
	}
}
