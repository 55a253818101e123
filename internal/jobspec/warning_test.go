package jobspec_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

const flowRunCommand = "prefect execute flow-run"

func TestAShellGetsItsScriptAsOneWord(t *testing.T) {
	t.Parallel()
	words := strings.Fields(flowRunCommand)
	for command, whole := range map[string]bool{
		`["/bin/sh","-c"]`: true, `["sh","-c"]`: true, `["/bin/bash","-lc"]`: true, `["bash","-ec"]`: true, `["/bin/sh","-cx"]`: true,
		`["ash","-c"]`: true, `["/bin/dash","-c"]`: true, `["busybox","sh","-c"]`: true, `["/usr/bin/env","bash","-c"]`: true,
		`["/usr/bin/env","-S","bash -c"]`: true, `["bash","-euo","pipefail","-c"]`: true, `["bash","-c","-e"]`: true, `["bash","--login","-c"]`: true,
		`["tini","--","sh","-c"]`: true, `["sh","-c","--"]`: true, `["zsh","-c"]`: true, `["bash","-eco","pipefail"]`: true, `["su","prefect","-c"]`: true,
		`["sh"]`: false, `["bash","-l"]`: false, `["tini","--"]`: false, `["python","-c"]`: false, `["sh","-c","exec \"$0\" \"$@\""]`: false,
		`["bash","--rcfile","-c"]`: false, `["entry.sh","-c"]`: false, `[]`: false, `null`: false,
	} {
		job, told := must(t, podTemplate(`{"containers":[{"command":`+command+`}]}`), agent())
		want := words
		if whole {
			want = []string{flowRunCommand}
		}
		if diff := cmp.Diff(want, job.Spec.Template.Spec.Containers[0].Args); diff != "" {
			t.Errorf("%s: args (-want +got):\n%s", command, diff)
		}
		checkTold(t, told)
	}
}

func TestArgsThatAreReplacedAreTold(t *testing.T) {
	t.Parallel()
	for container, want := range map[string]string{
		`{"args":["run.sh"]}`: `containers[0].args have no effect: the first container runs prefect execute flow-run; put what`,
		`{"command":["/bin/sh","-c"],"args":["set -e\nprefect execute flow-run"]}`: "args have no effect",
		`{"args":["prefect","execute","flow-run"]}`:                                "",
		`{"args":["prefect execute flow-run"]}`:                                    "",
		`{"command":["sh","-c","./set-up.sh"]}`:                                    "command is a shell script that does not use its arguments, so that the flow never begins",
		`{"command":["sh","-c","./set-up.sh && exec \"$@\"","--"]}`:                "",
		`{"command":["sh","-c","prefect execute flow-run"]}`:                       "",
	} {
		_, told := must(t, podTemplate(`{"containers":[`+container+`]}`), agent())
		if want == "" {
			checkTold(t, told)
			continue
		}
		checkTold(t, told, want)
	}
}

// TestWhatLosesIsTold has one row for each pair of authors that disagree.
func TestWhatLosesIsTold(t *testing.T) {
	t.Parallel()
	docker := configRun(`{"type":"KubernetesRun","image":"mine:1","env":{"PREFECT__CLOUD__API":"http://elsewhere","TEAM":"run"}}`)
	docker.Storage = json.RawMessage(dockerStorage)
	withTeam := agent()
	withTeam.EnvVars = []jobspec.EnvVar{{Name: "TEAM", Value: "agent"}, {Name: "PREFECT__CONTEXT__FLOW_ID", Value: "x"}}
	withAccount := agent()
	withAccount.ServiceAccountName, withAccount.ImagePullSecrets = new("agents"), []string{"agents"}
	withAccount.AgentTemplate = jobspec.Tree{
		"metadata": jobspec.Tree{"name": "nice"},
		"spec":     jobspec.Tree{"template": jobspec.Tree{"spec": jobspec.Tree{"serviceAccountName": "templates", "imagePullSecrets": []any{jobspec.Tree{"name": "templates"}}}}},
	}
	withPath, withSpec := agent(), agent()
	withPath.AgentTemplatePath = "s3://b/job.yaml"
	withSpec.EnvironmentTemplatePath, withSpec.ServiceAccountName, withSpec.ImagePullPolicy = "/spec.yaml", new("agents"), "Never"
	withSpec.Template = func(string) ([]byte, error) {
		return []byte("metadata: {labels: {prefect.io/identifier: UUID}}\nspec: {template: {spec: {serviceAccountName: mine, containers: [{imagePullPolicy: Always}]}}}"), nil
	}
	both := func(config, template string) jobspec.FlowRun {
		return configRun(`{"type":"KubernetesRun",` + config + `,"job_template":` + template + `}`)
	}
	for name, c := range map[string]struct {
		run      jobspec.FlowRun
		settings jobspec.Settings
		want     []string
	}{
		"image of the run config": {docker, agent(), []string{"run_config.image has no effect: the flow's Docker storage names the image reg.io/team/etl:v1", "run_config.env sets PREFECT__CLOUD__API without effect: the agent itself counts more"}},
		"--env": {configRun(`{"type":"KubernetesRun","env":{"TEAM":"run"}}`), withTeam, []string{
			"--env sets PREFECT__CONTEXT__FLOW_ID without effect: the agent itself counts more", "--env sets TEAM without effect: run_config.env counts more",
		}},
		"variables of the template": {podTemplate(`{"containers":[{"env":[{"name":"TEAM","value":"t"},{"name":"PREFECT__BACKEND","value":"cloud"},{"name":"PREFECT__CLOUD__API","value":"http://elsewhere"},{"name":"X","value":"y"}]}]}`), withTeam, []string{
			"--env sets PREFECT__CONTEXT__FLOW_ID", "the job template sets TEAM without effect: --env counts more",
			"the job template sets PREFECT__BACKEND and PREFECT__CLOUD__API without effect: the agent itself counts more",
		}},
		"same values":             {podTemplate(`{"containers":[{"env":[{"name":"PREFECT__BACKEND","value":"server"}]}]}`), agent(), nil},
		"account and secrets":     {both(`"service_account_name":"run","image_pull_secrets":["run"]`, `{"spec":{"template":{"spec":{"serviceAccountName":"t","imagePullSecrets":[{"name":"t"}]}}}}`), agent(), []string{"spec.template.spec.serviceAccountName has no effect: run_config.service_account_name counts more", "spec.template.spec.imagePullSecrets has no effect"}},
		"account of the agent":    {configRun(""), withAccount, []string{"metadata.name has no effect in a template of the agent", "spec.template.spec.imagePullSecrets has no effect: the agent's image pull secrets count", "spec.template.spec.serviceAccountName has no effect: the agent's service account counts more"}},
		"image and policy":        {both(`"image":"run:1","image_pull_policy":"Never"`, `{"spec":{"template":{"spec":{"containers":[{"image":"t:1","imagePullPolicy":"Always"}]}}}}`), agent(), []string{"containers[0].image has no effect: run_config.image counts more", "imagePullPolicy has no effect"}},
		"resources":               {both(`"cpu_limit":"2","memory_request":"1Gi"`, `{"spec":{"ttlSecondsAfterFinished":60,"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"1"},"requests":{"memory":"1Gi"}}}]}}}}`), agent(), []string{"containers[0].resources.limits.cpu has no effect: the run config counts more", "spec.ttlSecondsAfterFinished is raised to 300"}},
		"account before 0.12":     {environmentRun(), withAccount, []string{"the agent's service account has no effect: the agents of 0.11 gave none"}},
		"the agent's template":    {environmentRun(), withPath, []string{"the agent's job template has no effect for flows with an environment"}},
		"job spec":                {since("0.14.0"), withSpec, []string{"spec.template.spec.containers[0].imagePullPolicy has no effect: IMAGE_PULL_POLICY", "spec.template.spec.serviceAccountName has no effect: the agent's"}},
		"names":                   {templated(`{"metadata":{"namespace":"other","generateName":"g-","labels":{"prefect.io/flow_id":"x"},"annotations":{"prefect-kube.io/attempt":"v1"}}}`), agent(), []string{"metadata.namespace has no effect: Jobs are made in the agent's namespace, flows", "metadata.generateName has no effect", "metadata.annotations has prefect-kube.io/attempt without effect", "metadata.labels has prefect.io/flow_id without effect"}},
		"the agent's namespace":   {templated(`{"metadata":{"namespace":"flows"}}`), agent(), nil},
		"nothing is disagreed on": {both(`"env":{"A":"1"}`, `{"metadata":{"name":"etl"},"spec":{"template":{"spec":{"containers":[{"env":[{"name":"B","value":"2"}]}]}}}}`), agent(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, told := must(t, c.run, c.settings)
			slices.Sort(told)
			slices.Sort(c.want)
			checkTold(t, told, c.want...)
		})
	}
}

// TestWhatNobodySetGivesWay: a level or an address of a template, a run config or
// --env counts more than a default of the agent.
func TestWhatNobodySetGivesWay(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PREFECT__LOGGING__LEVEL", "PREFECT__CLOUD__API"} {
		byTemplate := podTemplate(`{"containers":[{"env":[{"name":"` + name + `","value":"http://theirs"}]}]}`)
		byRun := configRun(`{"type":"KubernetesRun","env":{"` + name + `":"http://theirs"}}`)
		byAgent := agent()
		byAgent.EnvVars = []jobspec.EnvVar{{Name: name, Value: "http://theirs"}}
		for who, c := range map[string]struct {
			run jobspec.FlowRun
			s   jobspec.Settings
		}{"template": {byTemplate, agent()}, "run config": {byRun, agent()}, "--env": {configRun(""), byAgent}} {
			s := c.s
			s.Defaulted.API, s.Defaulted.FlowLogLevel = true, true
			job, told := must(t, c.run, s)
			var got []string
			for _, v := range job.Spec.Template.Spec.Containers[0].Env {
				if v.Name == name {
					got = append(got, v.Value)
				}
			}
			if !slices.Equal(got, []string{"http://theirs"}) {
				t.Errorf("%s of %s is %q, want theirs once", name, who, got)
			}
			checkTold(t, told)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"http://localhost:4200": true, "http://LOCALHOST.": true, "http://a.localhost:1": true, "http://127.0.0.1:4200/graphql": true, "http://127.9.9.9": true,
		"http://[::1]:4200": true, "http://0.0.0.0:4200": true, "http://[::ffff:127.0.0.1]": true, "http://[::]:1": true,
		"http://apollo:4200": false, "https://api.prefect.io": false, "http://10.0.0.1": false, "http://localhost.example.com": false, "": false, "http://a b": false,
	} {
		if jobspec.Loopback(address) != want {
			t.Errorf("Loopback(%q) is %v", address, !want)
		}
		s := agent()
		s.API = address
		for spec, warned := range map[string]bool{`{}`: want, `{"hostNetwork":true}`: false} {
			_, warnings, err := jobspec.Job(podTemplate(spec), s, attempt)
			if err != nil || (len(warnings) == 1 && warnings[0].OfAgent) != warned {
				t.Errorf("%s in %s: %v, %v; want a warning about the agent: %v", address, spec, warnings, err, warned)
			}
		}
	}
}

func TestWarningsAreBounded(t *testing.T) {
	t.Parallel()
	var keys []string
	for i := range 1000 {
		keys = append(keys, fmt.Sprintf(`"%s%d":1`, strings.Repeat("k", 500), i))
	}
	_, told := must(t, templated(`{"spec":{`+strings.Join(keys, ",")+`}}`), agent())
	if size := len(strings.Join(told, "")); len(told) > 31 || size > 8<<10 {
		t.Errorf("%d warnings of %d bytes", len(told), size)
	}
}
