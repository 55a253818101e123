package jobspec_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// TestAJobFollowsTheFlowsRelease looks at both sides of each release that changed a
// default of the Job. The recorded cases have the rest.
func TestAJobFollowsTheFlowsRelease(t *testing.T) {
	t.Parallel()
	label := func(name string) []any { return []any{"metadata", "labels", name} }
	own := func(version string) jobspec.FlowRun {
		run := configRun("")
		run.CoreVersion = version
		return run
	}
	defaulted := agent()
	defaulted.Defaulted.FlowLogLevel = true
	for _, c := range []struct {
		run  jobspec.FlowRun
		at   []any
		env  string
		want any
	}{
		{since(""), container("imagePullPolicy"), "", "Always"},
		{since("0.11.5"), container("imagePullPolicy"), "", "Always"},
		{since("0.12.0rc1"), container("imagePullPolicy"), "", "Always"},
		{since("0.12.0"), container("imagePullPolicy"), "", "IfNotPresent"},
		{since("0.15.13"), container("imagePullPolicy"), "", "IfNotPresent"},
		{since("0.11.2"), label("flow_run_id"), "", string(environmentRun().ID)},
		{since("0.11.3"), label("flow_run_id"), "", nil},
		{since("0.13.1"), label("identifier"), "", "3djft4jz44tkljvo"},
		{since("0.13.2"), label("identifier"), "", nil},
		{since("0.12.6"), container("args"), "", []any{"prefect execute cloud-flow"}},
		{since("0.13.0"), container("args"), "", []any{flowRunCommand}},
		{since("0.13.2"), nil, "PREFECT__LOGGING__LEVEL", "DEBUG"},
		{since("0.13.3"), nil, "PREFECT__LOGGING__LEVEL", "INFO"},
		{since("0.14.19"), nil, "PREFECT__CLOUD__SEND_FLOW_RUN_LOGS", nil},
		{since("0.14.20"), nil, "PREFECT__CLOUD__SEND_FLOW_RUN_LOGS", "true"},
		{since("0.14.20"), nil, "PREFECT__LOGGING__LOG_TO_CLOUD", "true"},
		{since("1.0.0"), container("command"), "", nil},
		{own("0.13.10"), container("imagePullPolicy"), "", "IfNotPresent"},
		{own("0.13.11"), container("imagePullPolicy"), "", nil},
		{own("0.13.19"), container("image"), "", "prefecthq/prefect:all_extras-0.13.19"},
		{own("0.13.19"), container("args"), "", []any{flowRunCommand}},
		{own("0.14.0"), container("image"), "", "prefecthq/prefect:0.14.0"},
		{own("0.14.0"), container("args"), "", []any{"prefect", "execute", "flow-run"}},
		{own("0.12.6"), container("image"), "", "prefecthq/prefect:0.12.6"},
		{own("2.0.0"), container("image"), "", "prefecthq/prefect:2.0.0"},
	} {
		job, _ := must(t, c.run, defaulted)
		tree := viaJSON(t, job).(jobspec.Tree)
		got := dig(tree, c.at...)
		if c.env != "" {
			got = dig(value(tree, c.env), "value")
		}
		if !equalJSON(t, got, c.want) {
			t.Errorf("%s: %v%s is %v, want %v", c.run.CoreVersion, c.at, c.env, got, c.want)
		}
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// jobSpec is what job_spec.yaml of 0.15.13 looks like with a person's additions.
const jobSpec = `apiVersion: batch/v1
kind: Job
metadata: {name: prefect-job, labels: {app: prefect-job-UUID, team: data}}
spec:
  backoffLimit: 2
  template:
    metadata: {labels: {app: prefect-job-UUID, identifier: UUID}, annotations: {note: mine}}
    spec:
      tolerations: [{key: dedicated, operator: Exists}]
      containers:
      - name: flow
        image: prefecthq/prefect:latest
        imagePullPolicy: IfNotPresent
        command: ["/bin/sh", "-c"]
        args: ["prefect execute flow-run"]
        env: [{name: PREFECT__CLOUD__API, value: x}, {name: MINE, value: "1"}, {name: PREFECT__LOGGING__LEVEL, value: ERROR}]
        volumeMounts: [{name: ""}, {name: data, mountPath: /data}]
        resources: {limits: {cpu: "100m"}}
      restartPolicy: Never
      imagePullSecrets: [{name: ""}, {name: mine}]
      volumes: [{name: ""}, {name: data, emptyDir: {}}]
`

// TestYAMLTemplate: all of it is in the Job of a flow with an environment, the
// agent's variables count more, and flows with a run config do not get it.
func TestYAMLTemplate(t *testing.T) {
	t.Parallel()
	s := agent()
	s.EnvironmentTemplatePath, s.Defaulted.FlowLogLevel = "/etc/job_spec.yaml", true
	s.Template = func(string) ([]byte, error) { return []byte(jobSpec), nil }
	for _, version := range []string{"", "0.12.6", "0.13.4", "0.15.13"} {
		job, told := must(t, since(version), s)
		checkTold(t, told)
		spec := job.Spec.Template.Spec
		flow := spec.Containers[0]
		level := flow.Env[slices.IndexFunc(flow.Env, func(v corev1.EnvVar) bool { return v.Name == "PREFECT__LOGGING__LEVEL" })]
		switch {
		case len(spec.Tolerations) != 1, *job.Spec.BackoffLimit != 2, job.Labels["team"] != "data", job.Spec.Template.Annotations["note"] != "mine":
			t.Errorf("%s: what the template has is not in the Job: %v", version, job)
		case job.Labels["app"] != job.Name, flow.Image != "reg.io/team/etl:v1", flow.Resources.Limits.Cpu().String() != "100m", level.Value != "ERROR":
			t.Errorf("%s: label %s, image %s, cpu %s, level %s", version, job.Labels["app"], flow.Image, flow.Resources.Limits.Cpu(), level.Value)
		case len(spec.Volumes) != 1, len(flow.VolumeMounts) != 1, len(spec.ImagePullSecrets) != 1:
			t.Errorf("%s: volumes %v, mounts %v, pull secrets %v: want what has a name", version, spec.Volumes, flow.VolumeMounts, spec.ImagePullSecrets)
		case len(flow.Args) != 1, !slices.ContainsFunc(flow.Env, func(v corev1.EnvVar) bool { return v.Name == "MINE" }):
			t.Errorf("%s: args %q, variables %v", version, flow.Args, flow.Env)
		}
	}
	s.ImagePullPolicy, s.ImagePullSecrets, s.JobMemLimit, s.FlowLogLevel, s.Defaulted.FlowLogLevel = "Never", []string{"a", "b"}, "1Gi", "DEBUG", false
	job, _ := must(t, since("0.14.22"), s)
	flow := job.Spec.Template.Spec.Containers[0]
	if secrets := job.Spec.Template.Spec.ImagePullSecrets; len(secrets) != 3 || secrets[0].Name != "a" || secrets[2].Name != "mine" || flow.ImagePullPolicy != "Never" || flow.Resources.Limits.Memory().String() != "1Gi" {
		t.Errorf("pull secrets %v, policy %s, limits %v: want the agent's, and the template's others", secrets, flow.ImagePullPolicy, flow.Resources.Limits)
	}
	if job, _ = must(t, configRun(""), s); len(job.Spec.Template.Spec.Tolerations) > 0 {
		t.Error("a flow with a run config has it too")
	}
}

func TestYAMLTemplateErrors(t *testing.T) {
	t.Parallel()
	s := agent()
	s.EnvironmentTemplatePath = filepath.Join(t.TempDir(), "job_spec.yaml")
	s.Template = os.ReadFile
	for text, want := range map[string]string{
		"":                        "no such file",
		"- a":                     "template is a list, not an object",
		"spec: {parallelism: 3}":  "one flow run is one Pod",
		"kind: Pod\nspec: {}":     `kind (line 1, column 7`,
		"spec: {containers: [1]}": "move it to spec.template.spec.containers",
	} {
		if text != "" {
			if err := os.WriteFile(s.EnvironmentTemplatePath, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.RemoveAll(s.EnvironmentTemplatePath); err != nil {
			t.Fatal(err)
		}
		if _, _, err := jobspec.Job(environmentRun(), s, attempt); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "job_spec.yaml") {
			t.Errorf("%q: %v, want an error with %q and the path", text, err, want)
		}
	}
}
