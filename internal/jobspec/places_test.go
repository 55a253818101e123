package jobspec_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// crooked is a template with a mistake of each kind; the comments name lines.
const crooked = `apiVersion: batch/v1
kind: Job
base: &base {tolerationz: []}
spec:
  backofflimit: 1
  template:
    spec:
      <<: *base
      containers:
      - name: flow
        env:
        - name: PORT
          value: 8080
        - name: PREFECT__BACKEND
          value: 5
        command: [a, 1]
        resources: {limits: {cpu: lots, memory: 1Gi}}
      volumes:
      - name: v
        emptyDirr: {}
`

const quantities = "write it like 500m or 2 for CPU, 512Mi or 2Gi for memory"

func TestProblemsNameLineAndColumn(t *testing.T) {
	t.Parallel()
	want := []jobspec.Problem{
		{Path: "base", Line: 3, Column: 1, Unknown: true, Text: "is an unknown key", Mend: "no object of a Job has such a key; remove it"},
		{Path: "spec.backofflimit", Line: 5, Column: 3, Unknown: true, Text: "is an unknown key", Mend: "did you mean backoffLimit?"},
		{Path: "spec.template.spec.containers[flow].command[1]", Line: 16, Column: 22, Text: "is a number, not a string", Mend: "put it in quotes"},
		{Path: "spec.template.spec.containers[flow].env[LIST].value", Text: "is a list, not a string"},
		{Path: "spec.template.spec.containers[flow].env[PORT].value", Line: 13, Column: 18, Text: "is a number, not a string", Mend: "put it in quotes"},
		{Path: "spec.template.spec.containers[flow].resources.limits.cpu", Line: 17, Column: 35, Text: `"lots" is not a valid Quantity`, Mend: quantities},
		{Path: "spec.template.spec.containers[flow].resources.limits.memory", Text: `"much" is not a valid Quantity`, Mend: quantities},
		{Path: "spec.template.spec.tolerationz", Line: 3, Column: 14, Unknown: true, Text: "is an unknown key", Mend: "did you mean tolerations?"},
		{Path: "spec.template.spec.volumes[v].emptyDirr", Line: 20, Column: 9, Unknown: true, Text: "is an unknown key", Mend: "did you mean emptyDir?"},
	}
	quoted, err := json.Marshal(crooked)
	if err != nil {
		t.Fatal(err)
	}
	more := `{"type":"KubernetesRun","memory_limit":"much","env":{"LIST":[]},`
	ofAgent := agent()
	ofAgent.AgentTemplatePath = "s3://me:pw@b/t.yaml?sig=s3cret"
	ofAgent.Template = func(string) ([]byte, error) { return []byte(crooked), nil }
	for name, c := range map[string]struct {
		run      jobspec.FlowRun
		settings jobspec.Settings
		source   string
	}{
		"inline": {configRun(more + `"job_template":` + string(quoted) + `}`), agent(), "run_config.job_template"},
		"path":   {configRun(more + `"job_template_path":"https://h/t.yaml?sig=s3cret"}`), ofAgent, "https://h/t.yaml"},
		"agent":  {configRun(more + `"job_template":null}`), ofAgent, "s3://b/t.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := jobspec.Job(c.run, c.settings, attempt)
			found, ok := errors.AsType[*jobspec.DecodeError](err)
			if !ok {
				t.Fatalf("Job: %v, want a DecodeError", err)
			}
			expected := append([]jobspec.Problem{}, want...)
			for i := range expected {
				if expected[i].Line > 0 {
					expected[i].Source = c.source
				}
			}
			if diff := cmp.Diff(expected, found.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if text := err.Error(); !strings.HasPrefix(text, `job: base (line 3, column 1 of "`+c.source+`") is an unknown key`) || !strings.HasSuffix(text, "and 4 more") {
				t.Errorf("error %s", text)
			}
		})
	}
}

func TestTemplateErrorsNameLineAndColumn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"metadata:\n  labels: [a]":                                            "metadata.labels (line 2, column 11) is a list, not an object",
		"metadata:\n  name: 5":                                                "metadata.name (line 2, column 9) is a number, not a string",
		"spec: {template: {spec: [1]}}":                                       "spec.template.spec (line 1, column 25) is a list, not an object",
		"spec: {template: {spec: {containers: [1]}}}":                         "containers[0] (line 1, column 39) is a number, not an object",
		"spec: {template: {spec: {containers: 1}}}":                           "containers (line 1, column 38) is a number, not a list",
		"spec: {template: {spec: {containers: [{env: [{value: a}]}]}}}":       "env[0].name (line 1, column 46) is missing",
		"spec: {template: {spec: {containers: [{env: [{name: [a]}]}]}}}":      "env[0].name (line 1, column 53) is a list, not a string",
		"spec: {template: {spec: {containers: [{env: [a]}]}}}":                "env[0] (line 1, column 46) is a string, not an object",
		"spec: {template: {spec: {containers: [{resources: 1}]}}}":            "resources (line 1, column 51) is a number, not an object",
		"kind: CronJob\nspec: {template: {spec: {}}}":                         `kind (line 1, column 7 of "run_config.job_template") is not "Job"`,
		"a: &a {containers: [1]}\nspec: {template: {spec: {<<: *a}}}":         "containers[0] (line 1, column 21) is a number, not an object",
		"a: &a {containers: 1}\nspec: {template: {spec: {<<: [{x: 1}, *a]}}}": "containers (line 1, column 20) is a number, not a list",
		"- a":     "template is a list, not an object; write a Job",
		"a: b: c": "template is not valid YAML: yaml: mapping values are not allowed",
	} {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := jobspec.Job(templated(string(quoted)), agent(), attempt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

// TestAliases: what one anchor names is one object in Python, and what the
// reference writes into one of its places shows in the other. With us it does not.
func TestAliases(t *testing.T) {
	t.Parallel()
	run := configRun(`{"type":"KubernetesRun","memory_limit":"1Gi","job_template":"x: &r {}\nspec: {template: {spec: {containers: [{resources: {limits: *r, requests: *r}}]}}}"}`)
	tree, err := jobspec.Build(run, agent(), identifier)
	if err != nil {
		t.Fatal(err)
	}
	if got := dig(tree, container("resources", "requests", "memory")...); got != "1Gi" {
		t.Errorf("the reference's memory request is %v, want 1Gi by the alias", got)
	}
	job, _, err := jobspec.Job(run, agent(), attempt)
	if err != nil {
		t.Fatal(err)
	}
	if r := job.Spec.Template.Spec.Containers[0].Resources; !r.Requests.Memory().IsZero() || r.Limits.Memory().String() != "1Gi" {
		t.Errorf("resources %v, want the memory limit alone", r)
	}
}
