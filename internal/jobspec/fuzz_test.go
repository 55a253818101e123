package jobspec_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// eachVector calls add with every flow run of the corpus.
func eachVector(f *testing.F, add func(v vectorRun)) {
	files, err := filepath.Glob(filepath.Join("..", "..", "conformance", "job-*", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(raw, &v); err != nil {
			f.Fatal(err)
		}
		add(v.Input.FlowRun)
	}
}

const maxErrorBytes = 4096

// checkJob asks for a Job that is safe to create, or a short error of ours.
func checkJob(t *testing.T, run jobspec.FlowRun) {
	t.Helper()
	s := agent()
	s.DefaultJobImage = "prefecthq/prefect:latest"
	s.Template = func(path string) ([]byte, error) { return []byte(path), nil }
	if _, err := jobspec.Build(run, s, identifier); err != nil {
		checkError(t, err)
	}
	job, _, err := jobspec.Job(run, s, attempt)
	if err != nil {
		checkError(t, err)
	}
	if job == nil {
		return
	}
	id := flowrun.Identifier(run.ID, attempt)
	if !strings.HasSuffix(job.Name, "-"+id) || job.Namespace != s.Namespace {
		t.Errorf("Job %s/%s, want one in %s that ends in %s", job.Namespace, job.Name, s.Namespace, id)
	}
	for _, labels := range []map[string]string{job.Labels, job.Spec.Template.Labels} {
		if labels[flowrun.LabelFlowRunID] != string(run.ID) || labels[flowrun.LabelManagedBy] != flowrun.ManagedBy {
			t.Errorf("labels %v do not name flow run %s", labels, run.ID)
		}
	}
	if job.Spec.BackoffLimit == nil || len(job.Spec.Template.Spec.Containers) == 0 {
		t.Errorf("Job without backoffLimit or containers: %+v", job.Spec)
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	if len(err.Error()) > maxErrorBytes {
		t.Errorf("error of %d bytes: %.200s", len(err.Error()), err)
	}
	if field, ok := errors.AsType[*jobspec.FieldError](err); ok && field.Field != "" {
		return
	}
	for _, known := range []func(error) bool{is[*jobspec.TemplateError], is[*jobspec.DecodeError], is[*jobspec.FaultsError], is[*jobspec.UnsupportedRunConfigError], is[*jobspec.UnsupportedStorageError]} {
		if known(err) {
			return
		}
	}
	t.Errorf("error %T names no place: %v", err, err)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func FuzzRunConfig(f *testing.F) {
	eachVector(f, func(v vectorRun) { f.Add([]byte(v.RunConfig)) })
	for _, seed := range []string{
		`{"type":"KubernetesRun","env":{"A":1,"A":2},"job_template":"spec: &a {x: *a}"}`,
		`{"type":"KubernetesRun","cpu_limit":"1E-99999999","memory_request":"1e3","image_pull_secrets":["",null],"job_template_path":"file:/x"}`,
		`{"type":"DockerRun","ports":[1,"2",true],"host_config":{"a":1}}`, `{"type":"VertexRun","worker_pool_specs":[{},null],"scheduling":1}`,
		`{"type":"ECSRun","cpu":"1","labels":["a"]}`, `{"type":["UniversalRun"]}`, `{"type":"UniversalRun","env":[["A",1]]}`,
		`{"type":"KubernetesRun","job_template":{"spec":{"template":{"spec":{"containers":[{"env":"","resources":{"limits":null}}],"volumes":[{"x":1e400}]}}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		run := configRun("")
		run.RunConfig = raw
		checkJob(t, run)
	})
}

func FuzzEnvironment(f *testing.F) {
	eachVector(f, func(v vectorRun) { f.Add([]byte(v.Flow.Environment), "0.12.0") })
	f.Add([]byte(`{"metadata":{"image":"x:1"}}`), "0.12.0+7")
	f.Fuzz(func(t *testing.T, raw []byte, version string) {
		run := environmentRun()
		run.Environment, run.CoreVersion = raw, version
		checkJob(t, run)
	})
}

func FuzzStorage(f *testing.F) {
	eachVector(f, func(v vectorRun) { f.Add([]byte(v.Flow.Storage)) })
	for kind, keys := range storages {
		f.Add([]byte(`{"type":"` + kind + `",` + keys + `,"flows":{"a":null},"secrets":["s"],"stored_as_script":"yes"}`))
	}
	f.Add([]byte(`{"type":"Docker","registry_url":"//r/.","image_name":"/i","image_tag":"","prefect_version":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkJob(t, stored(string(raw)))
		run := configRun("")
		run.Storage = raw
		checkJob(t, run)
	})
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"", "~", "spec: {template: {spec: {containers: [{name: flow, env: [{name: A, value: yes}]}]}}}",
		"metadata: {name: etl, labels: {a: b}, annotations: ~}\nspec: {template: {spec: {imagePullSecrets: [{name: ''}]}}}",
		"a: &a [*a]", "a: &a {b: c}\n<<: *a", "? [x]\n: y", "!!binary x", "--- a\n--- b", "0x1_F: .nan",
		"spec: {template: {metadata: {labels: []}, spec: {securityContext: 1, containers: [{resources: {limits: {cpu: 1}}}]}}}",
	} {
		f.Add(seed)
	}
	for _, text := range hostile() {
		f.Add(text[:min(len(text), 512)])
	}
	f.Add(crooked)
	eachVector(f, func(v vectorRun) {
		var config struct {
			Template json.RawMessage `json:"job_template"`
		}
		if json.Unmarshal(v.RunConfig, &config) == nil {
			f.Add(string(config.Template))
		}
	})
	f.Fuzz(func(t *testing.T, text string) {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		checkJob(t, templated(string(quoted)))
	})
}

func FuzzFlowRun(f *testing.F) {
	eachVector(f, func(v vectorRun) {
		f.Add(string(v.ID), v.Name, v.Flow.ID, v.Flow.Name, "1.4.1", []byte(v.RunConfig), []byte(v.Flow.Environment), []byte(v.Flow.Storage))
	})
	f.Fuzz(func(t *testing.T, id, name, flowID, flowName, version string, runConfig, environment, storage []byte) {
		checkJob(t, jobspec.FlowRun{
			ID: flowrun.ID(id), Name: name, FlowID: flowID, FlowName: flowName, CoreVersion: version,
			RunConfig: runConfig, Environment: environment, Storage: storage,
		})
	})
}
