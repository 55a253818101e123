package jobspec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/template"
)

type vector struct {
	// Dir is where its files lie.
	Dir      string `json:"-"`
	Versions []string
	Input    struct {
		Agent                map[string]any
		Environment          texts
		Files                map[string]string
		HomeFiles            map[string]string `json:"home_files"`
		FlowRun              vectorRun         `json:"flow_run"`
		RunConfigConstructor *struct {
			Class  string
			Kwargs map[string]any
		} `json:"run_config_constructor"`
	}
	Expected    outcome
	Expected124 *outcome `json:"expected_1.2.4"`
	Deviates    []deviation
}

type deviation struct{ ID, Path string }

type vectorRun struct {
	ID        flowrun.ID
	Name      string
	RunConfig json.RawMessage `json:"run_config"`
	Flow      struct {
		ID          string
		Name        string
		CoreVersion any             `json:"core_version"`
		RunConfig   json.RawMessage `json:"run_config"`
		Environment json.RawMessage
		Storage     json.RawMessage
	}
}

type outcome struct {
	Agent            *effective
	Job              any
	RunConfig        json.RawMessage `json:"run_config"`
	ConstructorError *pythonError    `json:"constructor_error"`
	RunConfigError   *pythonError    `json:"run_config_error"`
	JobError         *pythonError    `json:"job_error"`
	DeployError      *pythonError    `json:"deploy_error"`
}

// effective are the settings of the reference. Python keeps whatever type a file, a
// variable or an argument gave them; with us they are texts and switches.
type effective struct {
	Labels             any
	EnvVars            [][2]any `json:"env_vars"`
	LogToCloud         any      `json:"log_to_cloud"`
	Namespace          any
	ServiceAccountName any `json:"service_account_name"`
	ImagePullSecrets   any `json:"image_pull_secrets"`
}

// odd are the settings whose type is not ours, and what of a Job shows them.
func (e effective) odd() (variables, fields []string) {
	if !isTexts(e.Labels) {
		variables = append(variables, "PREFECT__CLOUD__AGENT__LABELS")
	}
	if _, ok := e.LogToCloud.(bool); !ok {
		variables = append(variables, "PREFECT__CLOUD__SEND_FLOW_RUN_LOGS", "PREFECT__LOGGING__LOG_TO_CLOUD")
	}
	for _, pair := range e.EnvVars {
		if _, ok := pair[1].(string); !ok {
			variables = append(variables, fmt.Sprint(pair[0]))
		}
	}
	if _, ok := e.ServiceAccountName.(string); !ok && e.ServiceAccountName != nil {
		fields = append(fields, "serviceAccountName")
	}
	if !isTexts(e.ImagePullSecrets) {
		fields = append(fields, "imagePullSecrets")
	}
	return variables, fields
}

func isTexts(value any) bool {
	items, ok := value.([]any)
	return value == nil || ok && !slices.ContainsFunc(items, func(item any) bool { _, isText := item.(string); return !isText })
}

// textsOf makes a list of texts of a setting.
func textsOf(value any) []string {
	items, ok := value.([]any)
	if !ok && value != nil {
		items = []any{value}
	}
	var out []string
	for _, item := range items {
		out = append(out, asText(item))
	}
	return out
}

// texts are variables, whatever type they have in a case.
type texts map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (x *texts) UnmarshalJSON(raw []byte) error {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return err
	}
	*x = texts{}
	for name, value := range values {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		(*x)[name] = text
	}
	return nil
}

type pythonError struct{ Class, Message string }

func (o outcome) failure() *pythonError {
	for _, e := range []*pythonError{o.DeployError, o.JobError, o.RunConfigError} {
		if e != nil {
			return e
		}
	}
	return nil
}

func readVector(t *testing.T, file string) vector {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	raw = bytes.ReplaceAll(raw, []byte("{{DIR}}"), []byte(filepath.ToSlash(dir)))
	var v vector
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	for name, text := range v.Input.Files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v.Dir = dir
	for name, text := range v.Input.HomeFiles {
		file := filepath.Join(dir, "home", filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// translate takes the agent's effective settings from the vector where it has
// them: how they come about is the configuration's business.
func (v vector) translate(t *testing.T, version string, want outcome) (jobspec.FlowRun, jobspec.Settings) {
	t.Helper()
	in := v.Input.FlowRun
	run := jobspec.FlowRun{
		ID: in.ID, Name: in.Name, FlowID: in.Flow.ID, FlowName: in.Flow.Name,
		RunConfig: v.runConfig(), Environment: in.Flow.Environment, Storage: in.Flow.Storage,
	}
	if in.Flow.CoreVersion != nil {
		run.CoreVersion = fmt.Sprint(in.Flow.CoreVersion)
	}
	if want.RunConfig != nil {
		run.RunConfig = want.RunConfig
	} else if c := v.Input.RunConfigConstructor; c != nil {
		raw, err := json.Marshal(withType(c.Class, c.Kwargs))
		if err != nil {
			t.Fatal(err)
		}
		run.RunConfig = raw
	}
	return run, v.settings(version, want)
}

func withType(class string, kwargs map[string]any) map[string]any {
	out := map[string]any{"type": class}
	maps.Copy(out, kwargs)
	return out
}

func (v vector) settings(version string, want outcome) jobspec.Settings {
	env := v.Input.Environment
	s := jobspec.Settings{
		Backend:           v.backend(),
		NamespaceVariable: lookup(env, "NAMESPACE", "default"),
		FlowLogLevel:      lookup(env, "PREFECT__LOGGING__LEVEL", "INFO"),
		TenantID:          env["PREFECT__CLOUD__TENANT_ID"],
		JobMemRequest:     env["JOB_MEM_REQUEST"],
		JobMemLimit:       env["JOB_MEM_LIMIT"],
		JobCPURequest:     env["JOB_CPU_REQUEST"],
		JobCPULimit:       env["JOB_CPU_LIMIT"],
		Template:          template.New(template.Options{}).Text,
	}
	s.API = v.api(s.Backend)
	key := env["PREFECT__CLOUD__API_KEY"]
	if v.configured() {
		s.API, key, s.TenantID = expectedValue(want.Job, "PREFECT__CLOUD__API"), expectedValue(want.Job, "PREFECT__CLOUD__API_KEY"), expectedValue(want.Job, "PREFECT__CLOUD__TENANT_ID")
	}
	s.AgentTemplatePath, _ = v.Input.Agent["job_template_path"].(string)
	if a := want.Agent; a != nil {
		s.Labels, s.SendLogs, s.ImagePullSecrets = textsOf(a.Labels), truth(a.LogToCloud), textsOf(a.ImagePullSecrets)
		if a.ServiceAccountName != nil {
			s.ServiceAccountName = new(asText(a.ServiceAccountName))
		}
		for _, pair := range a.EnvVars {
			s.EnvVars = append(s.EnvVars, jobspec.EnvVar{Name: fmt.Sprint(pair[0]), Value: asText(pair[1])})
		}
		if a.Namespace != nil {
			s.Namespace = asText(a.Namespace)
		}
	}
	s.Credential = key
	if before(version, "0.15.0") || before(version, "1.0.0") && key == "" {
		s.Credential = env["PREFECT__CLOUD__AGENT__AUTH_TOKEN"]
	}
	if version != version141 || v.byEnvironment() { // Auto must find this one by itself.
		s.Reference = jobspec.Reference(version)
	}
	if v.byEnvironment() {
		v.fromVariables(version, &s)
	}
	return s
}

// byEnvironment is whether the flow of the case has an environment and no run config.
func (v vector) byEnvironment() bool {
	null := func(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
	return null(v.runConfig()) && !null(v.Input.FlowRun.Flow.Environment)
}

// runConfig is that of the run, or of its flow, as 0.13 has it.
func (v vector) runConfig() json.RawMessage {
	if raw := v.Input.FlowRun.RunConfig; len(raw) > 0 {
		return raw
	}
	return v.Input.FlowRun.Flow.RunConfig
}

// fromVariables are the settings that flows with an environment took from variables
// of the agent, up to 0.13 instead of from the agent itself.
func (v vector) fromVariables(version string, s *jobspec.Settings) {
	env := v.Input.Environment
	s.ImagePullPolicy = env["IMAGE_PULL_POLICY"]
	if !before(version, "0.13.0") {
		s.EnvironmentTemplatePath = env["YAML_TEMPLATE"]
	}
	if !before(version, "0.14.0") {
		return
	}
	s.ImagePullSecrets = []string{env["IMAGE_PULL_SECRETS"]}
	if names := env["IMAGE_PULL_SECRETS"]; !before(version, "0.13.0") {
		s.ImagePullSecrets = nil
		if names != "" {
			s.ImagePullSecrets = strings.Split(names, ",")
		}
	}
	if name := env["SERVICE_ACCOUNT_NAME"]; name != "" {
		s.ServiceAccountName = &name
	}
}

// before compares releases.
func before(version, other string) bool {
	number := func(text string) (n [3]int) {
		_, _ = fmt.Sscanf(text, "%d.%d.%d", &n[0], &n[1], &n[2])
		return n
	}
	a, b := number(version), number(other)
	return slices.Compare(a[:], b[:]) < 0
}

// configured reports whether API, key or tenant come from files, from other
// keys or from Prefect: then Build gets what the reference had found there.
func (v vector) configured() bool {
	for key := range v.Input.Environment {
		if strings.HasPrefix(key, "PREFECT__SERVER__") {
			return true
		}
	}
	return len(v.Input.HomeFiles) > 0 || v.Input.Environment["PREFECT__CLOUD__API_KEY"] != "" && v.Input.Environment["PREFECT__CLOUD__TENANT_ID"] == ""
}

func expectedValue(job any, name string) string {
	list, _ := dig(job, "spec", "template", "spec", "containers", 0, "env").([]any)
	for _, item := range list {
		if dig(item, "name") == name {
			return fmt.Sprint(dig(item, "value"))
		}
	}
	return ""
}

// dig follows keys and indexes into a tree; nil where there is nothing.
func dig(value any, steps ...any) any {
	for _, step := range steps {
		switch s := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[s]
		case int:
			list, _ := value.([]any)
			if s >= len(list) {
				return nil
			}
			value = list[s]
		}
	}
	return value
}

func (v vector) backend() string { return lookup(v.Input.Environment, "PREFECT__BACKEND", "cloud") }

func (v vector) api(backend string) string {
	fallback := "https://api.prefect.io"
	if backend == "server" {
		fallback = "http://localhost:4200"
	}
	return lookup(v.Input.Environment, "PREFECT__CLOUD__API", fallback)
}

func lookup(env texts, key, fallback string) string {
	if value, ok := env[key]; ok {
		return value
	}
	return fallback
}

// truth is Python's bool of a setting.
func truth(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		return v != "0"
	case []any:
		return len(v) > 0
	}
	return value != nil
}

// asText is what a value of the configuration is with us, which keeps texts.
func asText(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// resolve takes the settings from the configuration, where the reference has none.
func (v vector) resolve(t *testing.T, version string) (jobspec.FlowRun, jobspec.Settings, error) {
	t.Helper()
	core := config.Core1
	if version == version011 {
		core = config.Core0
	}
	src := config.Sources{HomeDir: filepath.Join(v.Dir, "home")}
	for name, value := range v.Input.Environment {
		src.Env = append(src.Env, name+"="+value)
	}
	run, settings := v.translate(t, version, outcome{})
	cfg, err := config.ResolveAgent(core, src)
	if err == nil {
		settings.Labels, settings.TenantID = cfg.Labels, cfg.TenantID
		if settings.Credential, err = cfg.Credential.Reveal(); err == nil {
			err = cfg.CheckCredential()
		}
	}
	return run, settings, err
}

// excused are the JSON pointers into the Job at which we may differ: the paths of
// configDefects, and variables whose values were no texts in the configuration.
func (v vector) excused(want outcome) [][]string {
	var out [][]string
	for _, d := range v.Deviates {
		if slices.Contains(configDefects, d.ID) {
			out = append(out, strings.Split(strings.TrimPrefix(d.Path, "/job/"), "/"))
		}
	}
	var odd, fields []string
	if want.Agent != nil {
		odd, fields = want.Agent.odd()
	}
	for _, field := range fields {
		out = append(out, []string{"spec", "template", "spec", field})
	}
	list, _ := dig(want.Job, "spec", "template", "spec", "containers", 0, "env").([]any)
	for i, item := range list {
		_, isText := dig(item, "value").(string)
		if name, _ := dig(item, "name").(string); slices.Contains(odd, name) || !isText && dig(item, "value") != nil {
			out = append(out, []string{"spec", "template", "spec", "containers", "0", "env", strconv.Itoa(i), "value"})
		}
	}
	return out
}

// compare is the corpus' rule: JSON, env by name except where names repeat. We
// keep the order too, except in 1.2.4, whose vectors have that of 1.4.1.
func (v vector) compare(t *testing.T, version string, got jobspec.Tree, want any, excused [][]string) string {
	t.Helper()
	got, want = sameNumbers(viaJSON(t, got)).(jobspec.Tree), sameNumbers(viaJSON(t, want))
	for _, path := range excused {
		drop(got, path)
		drop(want, path)
	}
	if version == version124 {
		got, want = byName(got).(jobspec.Tree), byName(want)
	}
	if reflect.DeepEqual(want, any(got)) {
		return "" // cmp takes long for deep trees.
	}
	return cmp.Diff(want, any(got))
}

// sameNumbers writes numbers in one way: 1e-07 is 1e-7, and 2.0 is 2.
func sameNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			v[key] = sameNumbers(item)
		}
	case []any:
		for i, item := range v {
			v[i] = sameNumbers(item)
		}
	case json.Number:
		if n, ok := new(big.Rat).SetString(v.String()); ok {
			return n.RatString()
		}
	}
	return value
}

func viaJSON(t *testing.T, value any) any {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var out any
	if err := decoder.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// drop empties the value at a JSON pointer on both sides alike.
func drop(value any, steps []string) {
	for i, step := range steps {
		last := i == len(steps)-1
		switch v := value.(type) {
		case map[string]any:
			if last {
				delete(v, step)
			}
			value = v[step]
		case []any:
			var index int
			if _, err := fmt.Sscan(step, &index); err != nil || index >= len(v) {
				return
			}
			if last {
				v[index] = nil
			}
			value = v[index]
		}
	}
}

// byName turns every env list into a map from name to its entries in order.
func byName(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			if list, ok := item.([]any); ok && key == "env" {
				v[key] = envMap(list)
				continue
			}
			v[key] = byName(item)
		}
	case []any:
		for i, item := range v {
			v[i] = byName(item)
		}
	}
	return value
}

func envMap(list []any) map[string]any {
	out := map[string]any{}
	for _, item := range list {
		name := "?"
		if entry, ok := item.(map[string]any); ok {
			name = fmt.Sprint(entry["name"])
		}
		entries, _ := out[name].([]any)
		out[name] = append(entries, item)
	}
	return out
}
