package jobspec_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

func TestDecodeNamesThePlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		yaml, want string
		works      bool
	}{
		"unknown key":       {"spec: {template: {spec: {tolerationz: []}}}", "job: spec.template.spec.tolerationz is an unknown key; did you mean tolerations?", true},
		"wrong case":        {"spec: {backofflimit: 1}", "job: spec.backofflimit is an unknown key; did you mean backoffLimit?", true},
		"nothing near":      {"spec: {template: {spec: {x: 1}}}", "job: spec.template.spec.x is an unknown key; no object of a Job has such a key; remove it", true},
		"number for text":   {"spec: {template: {spec: {containers: [{name: flow, env: [{name: PORT, value: 8080}]}]}}}", "job: spec.template.spec.containers[flow].env[PORT].value is a number, not a string; put it in quotes", false},
		"boolean for text":  {"metadata: {labels: {gpu: yes}}", "job: metadata.labels.gpu is a boolean, not a string; put it in quotes", false},
		"text for number":   {"spec: {backoffLimit: none}", "job: spec.backoffLimit is a string, not a whole number in range", false},
		"fraction":          {"spec: {template: {spec: {activeDeadlineSeconds: 1.5}}}", "job: spec.template.spec.activeDeadlineSeconds is a number, not a whole number in range", false},
		"out of range":      {"spec: {backoffLimit: 12345678901234567890}", "job: spec.backoffLimit is a number, not a whole number in range", false},
		"object for list":   {"spec: {template: {spec: {volumes: {name: v}}}}", "job: spec.template.spec.volumes is an object, not a list", false},
		"list for object":   {"metadata: {annotations: [a]}", "job: metadata.annotations is a list, not an object", false},
		"text for object":   {"spec: {template: none}", "job: spec.template is a string, not an object", false},
		"object for text":   {"spec: {template: {spec: {restartPolicy: {a: b}}}}", "job: spec.template.spec.restartPolicy is an object, not a string", false},
		"quantity":          {"spec: {template: {spec: {containers: [{resources: {limits: {cpu: lots}}}]}}}", `job: spec.template.spec.containers[0].resources.limits.cpu "lots" is not a valid Quantity; write it like 500m or 2 for CPU, 512Mi or 2Gi for memory`, false},
		"another kind":      {"kind: CronJob", `job: kind is not "Job"; write a Job, with what stands below spec.jobTemplate at its top`, false},
		"another version":   {"apiVersion: batch/v2", `job: apiVersion is not "batch/v1"; the template must be a Job: apiVersion: batch/v1, kind: Job`, false},
		"unknown and wrong": {"spec: {x: 1, backoffLimit: none}", "job: spec.backoffLimit is a string, not a whole number in range; spec.x is an unknown key; no object of a Job has such a key; remove it", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree, err := jobspec.ParseYAML([]byte(c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			job, err := jobspec.Decode(tree.(jobspec.Tree))
			decodeError, ok := errors.AsType[*jobspec.DecodeError](err)
			if !ok {
				t.Fatalf("Decode: %v, want a DecodeError", err)
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if decodeError.OnlyUnknown() != c.works || (job != nil) != c.works {
				t.Errorf("OnlyUnknown %v with Job %v, want both %v", decodeError.OnlyUnknown(), job != nil, c.works)
			}
		})
	}
}

func TestDecodeKeepsValuesSecret(t *testing.T) {
	t.Parallel()
	run := configRun(`{"type":"KubernetesRun","env":{"PASSWORD":["hunter2"]}}`)
	_, _, err := jobspec.Job(run, agent(), attempt)
	want := "job: spec.template.spec.containers[flow].env[PASSWORD].value is a list, not a string"
	if err == nil || err.Error() != want {
		t.Errorf("Job: %v, want %s", err, want)
	}
}

func TestDecodeReadsEverySpelling(t *testing.T) {
	t.Parallel()
	job, _, err := jobspec.Job(templated(`{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":2,"memory":"1Gi"}},
		"livenessProbe":{"httpGet":{"port":"web"}},"readinessProbe":{"httpGet":{"port":8080}}}],"nodeSelector":null}}}}`), agent(), attempt)
	if err != nil {
		t.Fatal(err)
	}
	c := job.Spec.Template.Spec.Containers[0]
	if cpu := c.Resources.Limits.Cpu().String(); cpu != "2" {
		t.Errorf("cpu limit %s, want 2", cpu)
	}
	if c.LivenessProbe.HTTPGet.Port.StrVal != "web" || c.ReadinessProbe.HTTPGet.Port.IntVal != 8080 {
		t.Errorf("ports %v and %v, want web and 8080", c.LivenessProbe.HTTPGet.Port, c.ReadinessProbe.HTTPGet.Port)
	}
}
