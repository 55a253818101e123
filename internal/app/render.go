package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/diff"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"github.com/prefect-kube/prefect-kube/internal/agent"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
	"github.com/prefect-kube/prefect-kube/internal/secret"
	"github.com/prefect-kube/prefect-kube/internal/template"
)

// maxFlowRunFile is the largest file that is read as a flow run, in bytes.
const maxFlowRunFile = 8 << 20

// hidden stands for the credential in what is printed.
const hidden = "(hidden)"

// Render writes the Job of a flow run to out, as start would create it. The flow
// run is named by its id, or by a file that holds it; for a file no connection is
// opened. With cfg.Server what the API server makes of the Job is compared, and
// the difference written to notes. A *config.Error means that source or
// configuration cannot be used.
func Render(ctx context.Context, cfg config.Render, source string, in io.Reader, out, notes io.Writer, log *slog.Logger) error {
	return render(ctx, cfg, source, in, out, notes, outside{}, log)
}

func render(ctx context.Context, cfg config.Render, source string, in io.Reader, out, notes io.Writer, o outside, log *slog.Logger) (err error) {
	o.secrets, log = concealed(cfg.Agent, log)
	defer func() { err = o.secrets.Error(err) }()
	for _, warning := range cfg.Warnings {
		log.WarnContext(ctx, "configuration", slog.String("reason", warning))
	}
	if err := Usable(ctx, cfg.Agent); err != nil {
		return err
	}
	run, tenant, err := findRun(ctx, cfg, source, in, o, log)
	if err != nil {
		return err
	}
	settings, err := jobSettings(cfg.Agent)
	if err != nil {
		return err
	}
	settings.TenantID = tenant
	if settings.Credential != "" {
		settings.Credential = hidden
	}
	tree, job, err := makeJob(ctx, cfg, run, settings, log)
	if err != nil {
		return detailed(err)
	}
	text, err := encodeJob(tree, cfg.Output, o.secrets)
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	if !cfg.Server {
		return nil
	}
	return compareWithServer(ctx, cfg, job, notes, o, log)
}

// detailed says what a flow's author is not told: the caller is the operator.
func detailed(err error) error {
	if hidden, ok := errors.AsType[*template.Error](err); ok && hidden.Detail() != "" {
		return fmt.Errorf("%w (%s)", err, hidden.Detail())
	}
	return err
}

// makeJob gives the Job as it is printed and as it is sent.
func makeJob(ctx context.Context, cfg config.Render, run prefect1.FlowRun, settings jobspec.Settings, log *slog.Logger) (any, *batchv1.Job, error) {
	scheduled := run.Standing().Scheduled
	if scheduled == 0 {
		scheduled = run.Version
	}
	attempt := flowrun.Attempt(scheduled)
	if cfg.Reference == "" {
		job, warnings, err := agent.BuildJob(run, settings, attempt, "")
		for _, w := range warnings {
			log.WarnContext(ctx, "job", slog.String("reason", w.String()))
		}
		return job, job, err
	}
	settings.Reference = jobspec.Reference(cfg.Reference)
	tree, err := jobspec.Build(agent.SpecRun(run), settings, flowrun.Identifier(run.ID, attempt))
	if err != nil || !cfg.Server {
		return tree, nil, err
	}
	job, err := jobspec.Decode(tree)
	return tree, job, err
}

// findRun reads the flow run, and the tenant that its Job is told.
func findRun(ctx context.Context, cfg config.Render, source string, in io.Reader, o outside, log *slog.Logger) (prefect1.FlowRun, string, error) {
	if id, err := uuid.Parse(source); err == nil {
		return fetchRun(ctx, cfg.Agent, flowrun.ID(id.String()), o, log)
	}
	text, err := readRunFile(source, in)
	if err != nil {
		return prefect1.FlowRun{}, "", err
	}
	run, err := parseRunFile(text)
	if err != nil {
		return run, "", &config.Error{Place: placeOf(source), Problem: err.Error(), Mend: "give a flow run as the API answers it"}
	}
	return run, cfg.TenantID, nil
}

func fetchRun(ctx context.Context, cfg config.Agent, id flowrun.ID, o outside, log *slog.Logger) (prefect1.FlowRun, string, error) {
	if err := cfg.CheckCredential(); err != nil {
		return prefect1.FlowRun{}, "", err
	}
	client, err := connectPrefect(cfg, o, log)
	if err != nil {
		return prefect1.FlowRun{}, "", err
	}
	if err := client.ConnectReader(ctx); err != nil {
		return prefect1.FlowRun{}, "", err
	}
	run, err := client.FlowRun(ctx, id)
	return run, client.TenantID(), errors.Join(err, run.Err)
}

// placeOf is how an error names the flow run of the command line. What looks like no
// file may be a credential in the wrong place.
func placeOf(name string) string {
	if strings.ContainsAny(name, "./") {
		return name
	}
	return "FLOW_RUN"
}

func readRunFile(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the caller names the file on purpose
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &config.Error{Place: placeOf(name), Problem: "is neither the id of a flow run nor a file", Mend: "give a UUID, a file with a flow run in JSON, or - for standard input"}
		}
		if err != nil {
			return nil, &config.Error{Place: name, Problem: err.Error()}
		}
		defer file.Close() //nolint:errcheck // read only
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFlowRunFile+1))
	switch {
	case err != nil:
		return nil, &config.Error{Place: name, Problem: err.Error()}
	case len(text) > maxFlowRunFile:
		return nil, &config.Error{Place: name, Problem: fmt.Sprintf("is larger than %d MiB", maxFlowRunFile>>20), Mend: "give one flow run as the API answers it"}
	}
	return text, nil
}

// parseRunFile accepts a flow run, or a recorded case that holds one: its input,
// or all of it. Of a case only the flow run counts; the agent is what flags and
// variables say. A flow run that says nothing of its state is Scheduled.
func parseRunFile(text []byte) (prefect1.FlowRun, error) {
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(text, &tree); err != nil {
		return prefect1.FlowRun{}, err
	}
	for _, key := range []string{"input", "flow_run"} {
		below, ok := tree[key]
		if !ok {
			continue
		}
		constructor := tree["run_config_constructor"]
		tree = nil
		if err := json.Unmarshal(below, &tree); err != nil {
			return prefect1.FlowRun{}, fmt.Errorf("%s: %w", key, err)
		}
		if tree == nil {
			return prefect1.FlowRun{}, fmt.Errorf("%s: no flow run in it", key)
		}
		if err := serializeRunConfig(tree, constructor); err != nil {
			return prefect1.FlowRun{}, err
		}
	}
	if tree == nil {
		return prefect1.FlowRun{}, errors.New("no flow run in it")
	}
	setDefault(tree, "version", `1`)
	setDefault(tree, "serialized_state", `{"type": "Scheduled"}`)
	whole, err := json.Marshal(tree)
	if err != nil {
		return prefect1.FlowRun{}, err
	}
	run := prefect1.ParseFlowRun(whole)
	if run.Err == nil && run.ID == "" {
		return run, errors.New("no id in it")
	}
	return run, run.Err
}

func setDefault(tree map[string]json.RawMessage, key, value string) {
	if raw := bytes.TrimSpace(tree[key]); len(raw) == 0 || string(raw) == "null" {
		tree[key] = json.RawMessage(value)
	}
}

// serializeRunConfig writes what recorded cases have as a call of Python, such as
// KubernetesRun(image="x"), in the form in which it travels.
func serializeRunConfig(run map[string]json.RawMessage, constructor json.RawMessage) error {
	var call *struct {
		Class  string         `json:"class"`
		Kwargs map[string]any `json:"kwargs"`
	}
	if len(constructor) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(constructor))
	decoder.UseNumber()
	if err := decoder.Decode(&call); err != nil || call == nil {
		return err
	}
	config := map[string]any{"type": call.Class}
	maps.Copy(config, call.Kwargs)
	for _, name := range []string{"cpu_limit", "cpu_request", "memory_limit", "memory_request"} {
		if number, ok := config[name].(json.Number); ok { // the constructor makes text of them
			config[name] = number.String()
		}
	}
	raw, err := json.Marshal(config)
	run["run_config"] = raw
	return err
}

// encodeJob writes a Job without the empty status that the Go type brings along, and
// without secrets.
func encodeJob(job any, output string, secrets *secret.Set) ([]byte, error) {
	tree, err := treeOf(job)
	if err != nil {
		return nil, err
	}
	tree, _ = veiled(tree, secrets).(map[string]any)
	text, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		return nil, err
	}
	if output == config.OutputJSON {
		return append(text, '\n'), nil
	}
	return yaml.JSONToYAML(text)
}

func treeOf(job any) (map[string]any, error) {
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	if _, typed := job.(*batchv1.Job); typed {
		delete(tree, "status")
	}
	return tree, nil
}

// veiled is a tree without the secrets that are known. What a flow brings along, such
// as the password of a database of its own, is part of the Job and stays.
func veiled(tree any, secrets *secret.Set) any {
	switch t := tree.(type) {
	case string:
		return secrets.Known(t)
	case []any:
		for i := range t {
			t[i] = veiled(t[i], secrets)
		}
	case map[string]any:
		for key := range t {
			t[key] = veiled(t[key], secrets)
		}
	}
	return tree
}

// maxNotes bounds what is shown of a difference, in bytes.
const maxNotes = 1 << 20

// compareWithServer shows what defaults and admission make of the Job.
func compareWithServer(ctx context.Context, cfg config.Render, job *batchv1.Job, notes io.Writer, o outside, log *slog.Logger) error {
	cluster, err := connectCluster(ctx, cfg.Agent, o, log)
	if err != nil {
		return err
	}
	stored, err := cluster.DryRun(ctx, job)
	if err != nil {
		return err
	}
	stored.ManagedFields, stored.UID, stored.Generation, stored.CreationTimestamp = nil, "", 0, job.CreationTimestamp
	sent, err := encodeJob(job, config.OutputYAML, o.secrets)
	if err != nil {
		return err
	}
	kept, err := encodeJob(stored, config.OutputYAML, o.secrets)
	if err != nil {
		return err
	}
	changes := o.secrets.Text(string(diff.Diff("sent", sent, "stored", kept)), maxNotes)
	_, err = io.WriteString(notes, cmp.Or(changes, "the API server changes nothing\n"))
	return err
}
