package jobspec_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

const (
	attempt = "v3"
	env     = "PREFECT__CONTEXT__NAMESPACE"
)

func steps(more ...any) []any { return append([]any{"spec", "template", "spec"}, more...) }

func container(more ...any) []any { return steps(append([]any{"containers", 0}, more...)...) }

// value reads the last env entry of a name, as Kubernetes does.
func value(tree jobspec.Tree, name string) any {
	list, _ := dig(tree, container("env")...).([]any)
	var found any
	for _, item := range list {
		if dig(item, "name") == name {
			found = item
		}
	}
	return found
}

func variable(name, value string) jobspec.Tree { return jobspec.Tree{"name": name, "value": value} }

type change struct {
	name, about string
	run         jobspec.FlowRun
	with        func(*jobspec.Settings)
	at          []any  // a path, or
	env         string // a variable
	want        any
	same        bool // the reference's value is already right and stays
}

func podTemplate(spec string) jobspec.FlowRun {
	return templated(`{"spec":{"template":{"spec":` + spec + `}}}`)
}

func changes() []change {
	name := flowrun.JobName("", environmentRun().ID, attempt)
	id := flowrun.Identifier(environmentRun().ID, attempt)
	job := `{"spec":{"template":{"spec":{}},`
	return []change{
		{name: "type", run: podTemplate(`{}`), at: []any{"kind"}, want: "Job"},
		{name: "type", run: podTemplate(`{}`), at: []any{"apiVersion"}, want: "batch/v1"},
		{name: "type", about: "container", run: podTemplate(`{}`), at: container("name"), want: "flow"},
		{name: "type", about: "container keeps its name", run: podTemplate(`{"containers":[{"name":"mine"}]}`), at: container("name"), want: "mine", same: true},
		{name: "name", run: configRun(""), at: []any{"metadata", "name"}, want: name},
		{name: "name", about: "environment", run: environmentRun(), at: []any{"metadata", "labels", "app"}, want: name},
		{name: "name", about: "generateName", run: templated(job + `"x":1},"metadata":{"generateName":"g-"}}`), at: []any{"metadata", "generateName"}},
		{name: "labels", run: environmentRun(), at: []any{"metadata", "labels", flowrun.LabelManagedBy}, want: flowrun.ManagedBy},
		{name: "labels", run: configRun(""), at: []any{"metadata", "labels", flowrun.LabelIdentifier}, want: id},
		{name: "labels", about: "pod", run: environmentRun(), at: []any{"spec", "template", "metadata", "labels", flowrun.LabelFlowID}, want: environmentRun().FlowID},
		{name: "annotations", run: configRun(""), at: []any{"metadata", "annotations"}, want: jobspec.Tree{
			flowrun.AnnotationAttempt: attempt, flowrun.AnnotationFlowRunName: "brave-fox", flowrun.AnnotationFlowName: "ETL",
		}},
		{name: "namespace", run: templated(job + `"x":1},"metadata":{"namespace":"other"}}`), at: []any{"metadata", "namespace"}, want: "flows"},
		{name: "no-restart", run: environmentRun(), at: []any{"spec", "backoffLimit"}, want: int64(0)},
		{name: "no-restart", about: "template", run: templated(job + `"backoffLimit":2}}`), at: []any{"spec", "backoffLimit"}, want: int64(2), same: true},
		{name: "retention", run: templated(job + `"ttlSecondsAfterFinished":60}}`), at: []any{"spec", "ttlSecondsAfterFinished"}, want: int64(300)},
		{name: "retention", about: "longer", run: templated(job + `"ttlSecondsAfterFinished":900}}`), at: []any{"spec", "ttlSecondsAfterFinished"}, want: int64(900), same: true},
		{name: "pull-secrets", run: environmentRun(), at: steps("imagePullSecrets")},
		{
			name: "pull-secrets", about: "list", run: environmentRun(), at: steps("imagePullSecrets"), want: []any{jobspec.Tree{"name": "a"}, jobspec.Tree{"name": "b"}},
			with: func(s *jobspec.Settings) { s.ImagePullSecrets = []string{"a", "b"} },
		},
		{
			name: "pull-secrets", about: "trailing comma", run: configRun(""), at: steps("imagePullSecrets"), want: []any{jobspec.Tree{"name": "a"}},
			with: func(s *jobspec.Settings) { s.ImagePullSecrets = []string{"a", ""} },
		},
		{name: "pull-secrets", about: "null", run: podTemplate(`{"imagePullSecrets":[{"name":null},{}]}`), at: steps("imagePullSecrets")},
		{
			name: "pull-policy", run: environmentRun(), at: container("imagePullPolicy"), want: "IfNotPresent",
			with: func(s *jobspec.Settings) { s.ImagePullPolicy = "IfNotPresent" },
		},
		{name: "pull-policy", about: "unset", run: environmentRun(), at: container("imagePullPolicy"), want: "Always", same: true},
		{
			name: "pull-policy", about: "run config", run: configRun(`{"type":"KubernetesRun","image_pull_policy":"Never"}`), at: container("imagePullPolicy"), want: "Never", same: true,
			with: func(s *jobspec.Settings) { s.ImagePullPolicy = "Always" },
		},
		{name: "cpu-limit", run: environmentRun(), at: container("resources", "limits"), want: jobspec.Tree{}},
		{
			name: "cpu-limit", about: "set", run: environmentRun(), at: container("resources", "limits", "cpu"), want: "2", same: true,
			with: func(s *jobspec.Settings) { s.JobCPULimit = "2" },
		},
		{
			name: "resources", run: configRun(""), at: container("resources", "limits"), want: jobspec.Tree{"memory": "1Gi", "cpu": "2"},
			with: func(s *jobspec.Settings) { s.JobMemLimit, s.JobCPULimit = "1Gi", "2" },
		},
		{
			name: "resources", about: "run config", run: configRun(`{"type":"KubernetesRun","memory_request":"2Gi"}`), at: container("resources", "limits"), want: jobspec.Tree{}, same: true,
			with: func(s *jobspec.Settings) { s.JobMemLimit = "1Gi" },
		},
		{
			name: "resources", about: "half", run: configRun(`{"type":"KubernetesRun","cpu_limit":"1"}`), at: container("resources", "requests"), want: jobspec.Tree{}, same: true,
			with: func(s *jobspec.Settings) { s.JobCPURequest = "2" },
		},
		{
			name: "volumes", run: environmentRun(), at: steps("volumes"), want: []any{jobspec.Tree{"name": "a", "emptyDir": jobspec.Tree{}}},
			with: func(s *jobspec.Settings) {
				s.Volumes = []jobspec.Tree{{"name": "a", "emptyDir": jobspec.Tree{}}}
			},
		},
		{
			name: "volumes", about: "taken", run: podTemplate(`{"containers":[{"volumeMounts":[{"name":"mine","mountPath":"/a"}]}]}`), at: container("volumeMounts"),
			want: []any{jobspec.Tree{"name": "mine", "mountPath": "/a"}}, same: true,
			with: func(s *jobspec.Settings) { s.VolumeMounts = []jobspec.Tree{{"name": "a", "mountPath": "/a"}} },
		},
		{name: "log-level", run: environmentRun(), env: "PREFECT__LOGGING__LEVEL", want: variable("PREFECT__LOGGING__LEVEL", "INFO")},
		{
			name: "log-level", about: "agent variable", run: environmentRun(), env: "PREFECT__LOGGING__LEVEL", want: variable("PREFECT__LOGGING__LEVEL", "ERROR"), same: true,
			with: func(s *jobspec.Settings) {
				s.EnvVars = []jobspec.EnvVar{{Name: "PREFECT__LOGGING__LEVEL", Value: "ERROR"}}
			},
		},
		{name: "context-namespace", run: environmentRun(), env: env, want: variable(env, "flows")},
		{
			name: "service-account", run: since("0.12.3"), at: steps("serviceAccountName"), want: "runner",
			with: func(s *jobspec.Settings) {
				s.ServiceAccountName, s.Reference = new("runner"), jobspec.Reference0110
			},
		},
		{
			name: "service-account", about: "0.11", run: environmentRun(), at: steps("serviceAccountName"), same: true,
			with: func(s *jobspec.Settings) { s.ServiceAccountName = new("runner") },
		},
		{name: "backend", run: environmentRun(), env: "PREFECT__BACKEND", want: variable("PREFECT__BACKEND", "server")},
		{
			name: "backend", about: "agent variable", run: environmentRun(), env: "PREFECT__BACKEND", want: variable("PREFECT__BACKEND", "cloud"), same: true,
			with: func(s *jobspec.Settings) {
				s.EnvVars = []jobspec.EnvVar{{Name: "PREFECT__BACKEND", Value: "cloud"}}
			},
		},
		{name: "run-command", run: since("0.13.1"), at: container("args"), want: []any{"prefect execute flow-run"}},
		{name: "run-command", about: "by the release itself", run: since("0.13.2"), at: container("args"), want: []any{"prefect execute flow-run"}, same: true},
		{name: "shell-args", run: podTemplate(`{"containers":[{"command":["/bin/sh","-c"]}]}`), at: container("args"), want: []any{"prefect execute flow-run"}},
		{name: "shell-args", about: "no shell", run: podTemplate(`{"containers":[{"command":["tini"]}]}`), at: container("args"), want: []any{"prefect", "execute", "flow-run"}, same: true},
		{name: "template-metadata", run: templated(job + `"suspend":true},"metadata":{"uid":"u"}}`), at: []any{"metadata", "uid"}},
		{name: "template-metadata", about: "spec", run: templated(job + `"selector":{"matchLabels":{"a":"b"}}}}`), at: []any{"spec", "selector"}},
		{name: "run-command", about: "pre-release", run: since("0.13.0rc1"), at: container("args"), want: []any{"prefect execute cloud-flow"}, same: true},
		{name: "credential", about: "none", run: configRun(""), env: "PREFECT__CLOUD__API_KEY"},
		{
			name: "credential", about: "by reference", run: environmentRun(), env: "PREFECT__CLOUD__AUTH_TOKEN",
			want: jobspec.Tree{"name": "PREFECT__CLOUD__AUTH_TOKEN", "valueFrom": jobspec.Tree{"secretKeyRef": jobspec.Tree{"name": "prefect", "key": "token"}}},
			with: func(s *jobspec.Settings) {
				s.Credential, s.CredentialFrom = "TKN", &jobspec.SecretKey{Secret: "prefect", Key: "token"}
			},
		},
		{
			name: "credential", about: "clear text", run: environmentRun(), env: "PREFECT__CLOUD__AUTH_TOKEN", want: variable("PREFECT__CLOUD__AUTH_TOKEN", "TKN"), same: true,
			with: func(s *jobspec.Settings) { s.Credential = "TKN" },
		},
		{name: "safe-to-evict", run: environmentRun(), at: []any{"spec", "template", "metadata", "annotations", "cluster-autoscaler.kubernetes.io/safe-to-evict"}, want: "false"},
		{name: "pod-security", run: environmentRun(), at: steps("securityContext"), want: jobspec.Tree{"seccompProfile": jobspec.Tree{"type": "RuntimeDefault"}}},
		{name: "pod-security", about: "container", run: configRun(""), at: container("securityContext"), want: jobspec.Tree{"allowPrivilegeEscalation": false}},
		{name: "pod-security", about: "init", run: podTemplate(`{"initContainers":[{"name":"i"}]}`), at: steps("initContainers", 0, "securityContext"), want: jobspec.Tree{"allowPrivilegeEscalation": false}},
		{name: "pod-security", about: "sidecar", run: podTemplate(`{"containers":[{},{"name":"s"}]}`), at: steps("containers", 1, "securityContext"), want: jobspec.Tree{"allowPrivilegeEscalation": false}},
		{name: "pod-security", about: "privileged sidecar", run: podTemplate(`{"containers":[{},{"securityContext":{"privileged":true}}]}`), at: steps("containers", 1, "securityContext", "allowPrivilegeEscalation"), same: true},
		{name: "pod-security", about: "privileged", run: podTemplate(`{"containers":[{"securityContext":{"privileged":true}}]}`), at: container("securityContext", "allowPrivilegeEscalation"), same: true},
		{name: "pod-security", about: "capability", run: podTemplate(`{"containers":[{"securityContext":{"capabilities":{"add":["SYS_ADMIN"]}}}]}`), at: container("securityContext", "allowPrivilegeEscalation"), same: true},
		{name: "pod-security", about: "windows", run: podTemplate(`{"nodeSelector":{"kubernetes.io/os":"windows"}}`), at: steps("securityContext"), same: true},
		{name: "pod-security", about: "template", run: podTemplate(`{"securityContext":{"seccompProfile":{"type":"Unconfined"}}}`), at: steps("securityContext", "seccompProfile", "type"), want: "Unconfined", same: true},
	}
}

func since(version string) jobspec.FlowRun {
	run := environmentRun()
	run.CoreVersion = version
	return run
}

func TestHarden(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, c := range changes() {
		covered[c.name] = covered[c.name] || !c.same
		t.Run(c.name+" "+c.about, func(t *testing.T) {
			t.Parallel()
			c.check(t)
		})
	}
	for _, known := range jobspec.Changes() {
		if !covered[known.Name] {
			t.Errorf("change %q has no row that shows it", known.Name)
		}
	}
}

func (c change) check(t *testing.T) {
	s := agent()
	if c.with != nil {
		c.with(&s)
	}
	built, err := jobspec.Build(c.run, s, identifier)
	if err != nil {
		t.Fatal(err)
	}
	before := viaJSON(t, built)
	got := c.read(jobspec.Harden(built, c.run, s, flowrun.JobName("", c.run.ID, attempt), attempt))
	if diff := cmp.Diff(c.want, got); diff != "" {
		t.Errorf("hardened (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, viaJSON(t, built)); diff != "" {
		t.Errorf("Harden changed its input (-before +after):\n%s", diff)
	}
	reference := c.read(built)
	if c.same != cmp.Equal(reference, c.want) {
		t.Errorf("the reference has %v, hardened is %v", reference, got)
	}
	s.Keep = []string{c.name}
	kept := c.read(jobspec.Harden(built, c.run, s, flowrun.JobName("", c.run.ID, attempt), attempt))
	want := reference
	for _, known := range jobspec.Changes() {
		if known.Name == c.name && known.Fixed {
			want = c.want
		}
	}
	if diff := cmp.Diff(want, kept); diff != "" && !emptied(want, kept) {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

// emptied lets other changes leave an empty object where there was nothing.
func emptied(want, got any) bool {
	tree, ok := got.(jobspec.Tree)
	return want == nil && ok && len(tree) == 0
}

func (c change) read(tree jobspec.Tree) any {
	if c.env != "" {
		return value(tree, c.env)
	}
	return dig(tree, c.at...)
}

// The reaper must not take the end of a Job that started another one for the flow's.
func TestAnEnvironmentThatMayStartAnotherJobIsMarked(t *testing.T) {
	t.Parallel()
	for environment, want := range map[string]any{
		`{"type": "LocalEnvironment"}`: nil, `{"type": "RemoteEnvironment"}`: nil, `{"type": "RemoteDaskEnvironment"}`: nil, `{}`: nil,
		`{"type": "KubernetesJobEnvironment"}`: "KubernetesJobEnvironment", `{"type": "DaskKubernetesEnvironment"}`: "DaskKubernetesEnvironment",
		`{"type": "FargateTaskEnvironment"}`: "FargateTaskEnvironment", `{"type": "CustomEnvironment"}`: "CustomEnvironment",
	} {
		run := environmentRun()
		run.Environment = json.RawMessage(environment)
		if got := annotationsOf(t, run)[flowrun.AnnotationEnvironment]; got != want {
			t.Errorf("%s: marked %v, want %v", environment, got, want)
		}
	}
	run := configRun(`{"type": "KubernetesRun", "job_template": {"metadata": {"annotations": {"prefect-kube.io/environment": "x"}}, "spec": {"template": {"spec": {}}}}}`)
	run.Environment = json.RawMessage(`{"type": "KubernetesJobEnvironment"}`)
	if got := annotationsOf(t, run)[flowrun.AnnotationEnvironment]; got != nil {
		t.Errorf("a run config: marked %v", got)
	}
}

func annotationsOf(t *testing.T, run jobspec.FlowRun) jobspec.Tree {
	t.Helper()
	built, err := jobspec.Build(run, agent(), identifier)
	if err != nil {
		t.Fatal(err)
	}
	metadata, _ := jobspec.Harden(built, run, agent(), "j", attempt)["metadata"].(jobspec.Tree)
	annotations, _ := metadata["annotations"].(jobspec.Tree)
	return annotations
}
