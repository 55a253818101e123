package jobspec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

func stored(storage string) jobspec.FlowRun {
	run := environmentRun()
	run.Storage = json.RawMessage(storage)
	return run
}

func TestErrorsNameThePlace(t *testing.T) {
	t.Parallel()
	bad := func(text string) jobspec.FlowRun { return configRun(`{"type":"KubernetesRun",` + text + `}`) }
	for name, c := range map[string]struct {
		run  jobspec.FlowRun
		want error
		text string
	}{
		"no JSON":            {configRun(`{"type":`), &jobspec.FieldError{}, "run_config is not valid JSON"},
		"too deep":           {bad(`"job_template":` + strings.Repeat("[", 100)), &jobspec.FieldError{}, "run_config is nested more than 64 deep"},
		"too long":           {bad(`"x":"` + strings.Repeat("a", 1<<20) + `"`), &jobspec.FieldError{}, "at most 1048576 are read"},
		"env list":           {bad(`"env":["A"]`), &jobspec.FieldError{}, "run_config.env is not an object"},
		"null in list":       {bad(`"image_pull_secrets":["a",null]`), &jobspec.FieldError{}, "run_config.image_pull_secrets[1] may not be null"},
		"foreign run config": {configRun(`{"type":"ECSRun"}`), &jobspec.UnsupportedRunConfigError{}, "`ECSRun`, only `KubernetesRun` is supported; give the flow"},
		"storage":            {stored(localStorage), &jobspec.UnsupportedStorageError{}, `is "Local", not Docker, and its environment names no image; register`},
		"storage is a list":  {stored(`[]`), &jobspec.FieldError{}, "storage \"[]\" is not an object"},
		"image name":         {stored(`{"type":"Docker","image_name":"","image_tag":"t"}`), &jobspec.FieldError{}, "storage.image_name is empty"},
		"template list":      {templated(`[1]`), &jobspec.TemplateError{}, `job template "run_config.job_template": template is a list, not an object; write a Job`},
		"template labels":    {templated(`{"metadata":{"labels":["a"]}}`), &jobspec.TemplateError{}, "metadata.labels is a list, not an object"},
		"template name":      {templated(`{"metadata":{"name":5}}`), &jobspec.TemplateError{}, "metadata.name is a number, not a string"},
		"bad name":           {templated(`{"metadata":{"name":"My_Job"}}`), &jobspec.FieldError{}, `metadata.name "My_Job-`},
		"template YAML":      {templated(`"a: [b"`), &jobspec.TemplateError{}, "is not valid YAML: yaml: line 1"},
		"container":          {podTemplate(`{"containers":["flow"]}`), &jobspec.TemplateError{}, "spec.template.spec.containers[0] is a string, not an object"},
		"variable":           {podTemplate(`{"containers":[{"env":[{"name":"A"},{"value":"x"}]}]}`), &jobspec.TemplateError{}, "containers[0].env[1].name is missing; give the variable a name"},
		"resources":          {bad(`"cpu_limit":"1","job_template":{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":"all"}}]}}}}`), &jobspec.TemplateError{}, "containers[0].resources.limits is a string, not an object"},
		"path":               {bad(`"job_template_path":"https://me:pw@host/t.yaml?sig=s3cret"`), &jobspec.TemplateError{}, `job template "https://host/t.yaml": no template paths can be read here`},
		"id":                 {func() jobspec.FlowRun { r := configRun(""); r.ID = "a b"; return r }(), &jobspec.FieldError{}, `flow_run.id "a b" cannot be a label value`},
		"no id":              {jobspec.FlowRun{Name: "fox"}, &jobspec.FieldError{}, `flow_run.id is empty; check the API's answer for flow run "fox"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := jobspec.Job(c.run, agent(), attempt)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("Job: %v, want an error with %q", err, c.text)
			}
			if got := reflect.TypeOf(err); got != reflect.TypeOf(c.want) {
				t.Errorf("the error is a %v, want %T", got, c.want)
			}
		})
	}
}

func TestJobName(t *testing.T) {
	t.Parallel()
	id := flowrun.Identifier(environmentRun().ID, attempt)
	long := strings.Repeat("a", 70)
	withAgent := agent()
	withAgent.AgentTemplate = jobspec.Tree{"metadata": jobspec.Tree{"name": "agents"}, "spec": jobspec.Tree{"template": jobspec.Tree{"spec": jobspec.Tree{}}}}
	for name, c := range map[string]struct {
		run      jobspec.FlowRun
		settings jobspec.Settings
		want     string
	}{
		"environment":    {environmentRun(), agent(), "prefect-job-" + id},
		"null":           {configRun(""), agent(), "prefect-job-" + id},
		"run config":     {templated(`{"metadata":{"name":"etl"}}`), agent(), "etl-" + id},
		"cut":            {templated(`{"metadata":{"name":"` + long + `"}}`), agent(), long[:46] + "-" + id},
		"empty":          {templated(`{"metadata":{"name":""}}`), agent(), "prefect-job-" + id},
		"agent template": {configRun(""), withAgent, "prefect-job-" + id},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job, _, err := jobspec.Job(c.run, c.settings, attempt)
			if err != nil || job.Name != c.want {
				t.Errorf("Job is named %q, %v; want %q", job.GetName(), err, c.want)
			}
			promised, _, err := jobspec.JobAs(c.run, c.settings, attempt, "promised-"+id)
			if err != nil || promised.Name != "promised-"+id {
				t.Errorf("JobAs is named %q, %v; want promised-%s", promised.GetName(), err, id)
			}
		})
	}
}

func TestEnvironmentImage(t *testing.T) {
	t.Parallel()
	other := `{"type":"LocalEnvironment","metadata":{"image":"team/meta:1"}}`
	for name, c := range map[string]struct{ environment, storage, version, fallback, want string }{
		"docker":             {localEnvironment, dockerStorage, "", "", "reg.io/team/etl:v1"},
		"docker and 0.11":    {other, dockerStorage, "0.11.4", "", "reg.io/team/etl:v1"},
		"docker and 0.12":    {other, dockerStorage, "0.12.0", "", "team/meta:1"},
		"metadata":           {other, localStorage, "", "x:1", "team/meta:1"},
		"agent":              {localEnvironment, localStorage, "", "x:1", "x:1"},
		"unknown storage":    {localEnvironment, `{"type":"GitHub"}`, "", "x:1", "x:1"},
		"null metadata":      {`{"type":"LocalEnvironment","metadata":null}`, localStorage, "0.12.0", "x:1", "x:1"},
		"null image of 0.12": {`{"metadata":{"image":null}}`, dockerStorage, "0.12.0", "", "reg.io/team/etl:v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run, s := environmentRun(), agent()
			run.Environment, run.Storage, run.CoreVersion = json.RawMessage(c.environment), json.RawMessage(c.storage), c.version
			s.DefaultJobImage = c.fallback
			job, _, err := jobspec.Job(run, s, attempt)
			if err != nil {
				t.Fatal(err)
			}
			if got := job.Spec.Template.Spec.Containers[0].Image; got != c.want {
				t.Errorf("image %s, want %s", got, c.want)
			}
		})
	}
}

// TestParseYAML compares with what PyYAML 6.0.3's safe_load gave.
func TestParseYAML(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"":              nil,
		"~":             nil,
		"{}":            jobspec.Tree{},
		"[]":            []any{},
		"a: yes":        jobspec.Tree{"a": true},
		"a: Off":        jobspec.Tree{"a": false},
		"a: y":          jobspec.Tree{"a": "y"},
		"a: 'yes'":      jobspec.Tree{"a": "yes"},
		"a: 1e3":        jobspec.Tree{"a": "1e3"},
		"a: 1.5e+3":     jobspec.Tree{"a": 1500.0},
		"a: 010":        jobspec.Tree{"a": int64(8)},
		"a: 0o10":       jobspec.Tree{"a": "0o10"},
		"a: 1_000":      jobspec.Tree{"a": int64(1000)},
		"a: 2020-01-01": jobspec.Tree{"a": "2020-01-01"},
		"1: x":          jobspec.Tree{"1": "x"},
		"{yes: a, ~: b, 1.0: c, 1.0e+20: d, 0x10: e, =: f}": jobspec.Tree{"true": "a", "null": "b", "1.0": "c", "1e+20": "d", "16": "e", "=": "f"},
		"a: 22:22":              jobspec.Tree{"a": int64(1342)},
		"a: -1:2:3.5":           jobspec.Tree{"a": -3723.5},
		"a: 80:80":              jobspec.Tree{"a": "80:80"},
		"a: -0b101":             jobspec.Tree{"a": int64(-5)},
		"a: 0xFFFFFFFFFFFFFFFF": jobspec.Tree{"a": json.Number("18446744073709551615")},
		"a: -.5":                jobspec.Tree{"a": "-.5"},
		"a: 1_0.5_":             jobspec.Tree{"a": 10.5},
		"a: [yEs, NULL, nULL]":  jobspec.Tree{"a": []any{"yEs", nil, "nULL"}},
		"a: 1\na: 2":            jobspec.Tree{"a": int64(2)},
		"a: !!str 5":            jobspec.Tree{"a": "5"},
		"a: !!int '5'":          jobspec.Tree{"a": int64(5)},
		"a: !!float 5":          jobspec.Tree{"a": 5.0},
		"a: !!bool 'yes'":       jobspec.Tree{"a": true},
		"a: !!null x":           jobspec.Tree{"a": nil},
		"%YAML 1.2\n---\na: 1":  jobspec.Tree{"a": int64(1)},
		"a: {x: 1, y: 1}\n":     jobspec.Tree{"a": jobspec.Tree{"x": int64(1), "y": int64(1)}},
		"a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {y: 3, <<: [*a, *b]}": jobspec.Tree{
			"a": jobspec.Tree{"x": int64(1), "y": int64(1)}, "b": jobspec.Tree{"x": int64(2), "z": int64(2)},
			"c": jobspec.Tree{"x": int64(1), "y": int64(3), "z": int64(2)},
		},
		`{"a": "\/\ud83d\ude00"}`: jobspec.Tree{"a": "/😀"},
		"a: &b {c: d}\ne: *b":     jobspec.Tree{"a": jobspec.Tree{"c": "d"}, "e": jobspec.Tree{"c": "d"}},
		"a: &b {c: d}\n<<: *b":    jobspec.Tree{"a": jobspec.Tree{"c": "d"}, "c": "d"},
		"a: 123456789012345678901234": jobspec.Tree{
			"a": json.Number("123456789012345678901234"),
		},
	} {
		got, err := jobspec.ParseYAML([]byte(text))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("ParseYAML(%q): %v (-want +got):\n%s", text, err, diff)
		}
	}
	bomb := "a: &a [" + strings.Repeat("x,", 2000) + "]\nb: [" + strings.Repeat("*a,", 200) + "]"
	for text, want := range map[string]string{
		bomb: "template (line 1, column 3802) has more than 100000 values",
		"[" + strings.Repeat("x,", 120_000) + "]":         "has more than 100000 values",
		strings.Repeat("[", 99) + strings.Repeat("]", 99): "is nested more than 64 deep",
		strings.Repeat("[", 20_000):                       "is not valid YAML",
		strings.Repeat(" ", 1<<21):                        "at most 262144 are read",
		"a: .inf":                                         "a (line 1, column 4) is not a finite number",
		"a:\n\t- b":                                       "is not valid YAML: yaml: line 2",
		"a: &a [*a]":                                      "template (line 1, column 4) is nested more than 64 deep",
		"a: 1\n--- b":                                     "template (line 2, column 1) has more than one document",
		"a:\n  - !mine x":                                 "a[0] (line 2, column 5) has the tag !mine, which has no meaning here",
		"a: !mine {}":                                     "a (line 1, column 4) has the tag !mine",
		"? [x]\n: y":                                      "template (line 1, column 3) has a key that is no plain value",
		"a: {<<: 5}":                                      "a (line 1, column 9) is merged with <<, but is no mapping",
		"a: !!int x":                                      "a (line 1, column 4) is no whole number",
		"a: !!bool 1":                                     "a (line 1, column 4) is no boolean, as its tag says",
		"a: " + strings.Repeat("9", 5000):                 "a (line 1, column 4) has more than 4300 digits",
		"a: =":                                            "a (line 1, column 4) is =, which has no value",
	} {
		value, err := jobspec.ParseYAML([]byte(text))
		if _, ok := errors.AsType[*jobspec.FieldError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseYAML(%.20q): %T, %v; want an error with %q", text, value, err, want)
		}
	}
}

func TestDockerImage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ registry, name, tag, want string }{
		{`"reg.io/team"`, "img", "v1", "reg.io/team/img:v1"},
		{`"reg.io/"`, "i", "t", "reg.io/i:t"},
		{`null`, "i", "t", "i:t"},
		{`""`, "i", "t", "i:t"},
		{`"r/"`, "a/b", "1", "r/a/b:1"},
		{`"r"`, "/abs", "1", "/abs:1"},
		{`"//r//."`, "a/../b", "1", "//r/a/../b:1"},
		{`"///r"`, "a", "1", "/r/a:1"},
		{`""`, "", "", ".:"},
	} {
		run := stored(fmt.Sprintf(`{"type":"Docker","registry_url":%s,"image_name":%q,"image_tag":%q}`, c.registry, c.name, c.tag))
		tree, err := jobspec.Build(run, agent(), identifier)
		if got := dig(tree, container("image")...); err != nil || got != c.want {
			t.Errorf("%s, %s, %s: image %v, %v; want %s", c.registry, c.name, c.tag, got, err, c.want)
		}
	}
}

func TestBuildChoosesTheReference(t *testing.T) {
	t.Parallel()
	both, neither := environmentRun(), environmentRun()
	both.RunConfig, neither.Environment = json.RawMessage(`{"type":"UniversalRun"}`), nil
	for name, c := range map[string]struct {
		run  jobspec.FlowRun
		want any
	}{
		"environment only":                {environmentRun(), []any{"prefect execute cloud-flow"}},
		"run config beside environment":   {both, []any{"prefect", "execute", "cloud-flow"}},
		"neither run config nor anything": {neither, []any{"prefect", "execute", "cloud-flow"}},
	} {
		tree, err := jobspec.Build(c.run, agent(), identifier)
		if diff := cmp.Diff(c.want, dig(tree, container("args")...)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestTenantNeedsCredential(t *testing.T) {
	t.Parallel()
	s := agent()
	s.TenantID = "99999999-9999-4999-8999-999999999999"
	for credential, want := range map[string]string{"": "", "KEY": s.TenantID} {
		s.Credential = credential
		tree, err := jobspec.Build(configRun(""), s, identifier)
		if diff := cmp.Diff(any(variable("PREFECT__CLOUD__TENANT_ID", want)), value(tree, "PREFECT__CLOUD__TENANT_ID")); err != nil || diff != "" {
			t.Errorf("credential %q: %v (-want +got):\n%s", credential, err, diff)
		}
	}
}

func TestRunConfigEnvKeepsOrderAndTypes(t *testing.T) {
	t.Parallel()
	run := configRun(`{"type":"KubernetesRun","env":{"Z":"\"[[[{{{` + strings.Repeat("[", 99) + `","A":1,"M":1.5,"Z":"last"}}`)
	tree, err := jobspec.Build(run, agent(), identifier)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := dig(tree, container("env")...).([]any)
	want := []any{variable("Z", "last"), jobspec.Tree{"name": "A", "value": int64(1)}, jobspec.Tree{"name": "M", "value": 1.5}}
	if diff := cmp.Diff(want, list[1:4]); diff != "" {
		t.Errorf("env (-want +got):\n%s", diff)
	}
}

// TestRunCommand lists versions by what packaging 21 says of them and 0.13.0.
func TestRunCommand(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"": "cloud-flow", "0.12.99": "cloud-flow", "0.13": "flow-run", "0.13.0.0": "flow-run", "0": "cloud-flow", "1!0.1": "flow-run", "0!0.1": "cloud-flow",
		"0.13.0a1": "cloud-flow", "0.13.0.dev5": "cloud-flow", "0.13.0.post1": "flow-run", "0.13.0.post1.dev2": "flow-run", "0.13.0rc1.post1": "cloud-flow",
		"v0.14.0": "flow-run", "0.13.0+4.gabc": "flow-run", "0.13.0-1": "flow-run", "99999999999999999999.1": "flow-run",
		"0.13.0.": "invalid", "1.4.1+": "invalid", "main": "invalid",
	} {
		run := configRun("")
		run.CoreVersion = version
		tree, err := jobspec.Build(run, agent(), identifier)
		if got := dig(tree, container("args", 2)...); want == "invalid" && err == nil || want != "invalid" && got != want {
			t.Errorf("core version %q: %v, %v; want %s", version, got, err, want)
		}
	}
}

func TestLabelsAsPython(t *testing.T) {
	t.Parallel()
	s := agent()
	s.Labels = []string{"a", "it's", `both'"`, "tab\t\r\n", "bell\a", "\u00ad", "\u200b", "\U000e0001", "日本"}
	tree, err := jobspec.Build(configRun(""), s, identifier)
	want := variable("PREFECT__CLOUD__AGENT__LABELS", `['a', "it's", 'both\'"', 'tab\t\r\n', 'bell\x07', '\xad', '\u200b', '\U000e0001', '日本']`)
	if diff := cmp.Diff(any(want), value(tree, want["name"].(string))); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestAgentsValuesFillNullsOfATemplate(t *testing.T) {
	t.Parallel()
	s := agent()
	s.ImagePullSecrets, s.ServiceAccountName = []string{"regcred"}, new("runner")
	job, _, err := jobspec.Job(podTemplate(`{"imagePullSecrets":null,"serviceAccountName":null,"restartPolicy":null}`), s, attempt)
	if err != nil {
		t.Fatal(err)
	}
	pod := job.Spec.Template.Spec
	if len(pod.ImagePullSecrets) != 1 || pod.ServiceAccountName != "runner" || pod.RestartPolicy != "Never" {
		t.Errorf("pull secrets %v, service account %q, restart policy %q; want regcred, runner, Never", pod.ImagePullSecrets, pod.ServiceAccountName, pod.RestartPolicy)
	}
}

// TestEmptyLocalTemplate: a local path is read when the run config is loaded, so
// an empty file counts as no template at all; elsewhere it is an error.
func TestEmptyLocalTemplate(t *testing.T) {
	t.Parallel()
	s := agent()
	s.Template = func(string) ([]byte, error) { return nil, nil }
	for path, works := range map[string]bool{"t.yaml": true, "file:///t.yaml": true, "local:///t.yaml": true, "agent:///t.yaml": false, "s3://b/k": false} {
		_, err := jobspec.Build(configRun(`{"type":"KubernetesRun","job_template_path":"`+path+`"}`), s, identifier)
		if (err == nil) != works {
			t.Errorf("%s: %v, want success %v", path, err, works)
		}
	}
}
