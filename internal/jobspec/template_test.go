package jobspec_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// yamlTemplate is a run whose template came as text.
func yamlTemplate(t *testing.T, text string) jobspec.FlowRun {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return templated(string(quoted))
}

// must builds a Job and gives what is told of it.
func must(t *testing.T, run jobspec.FlowRun, s jobspec.Settings) (*batchv1.Job, []string) {
	t.Helper()
	job, warnings, err := jobspec.Job(run, s, attempt)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, w := range warnings {
		told = append(told, w.String())
	}
	return job, told
}

func checkTold(t *testing.T, told []string, want ...string) {
	t.Helper()
	if len(told) != len(want) {
		t.Errorf("%d warnings, want %d: %q", len(told), len(want), told)
		return
	}
	for i, text := range want {
		if !strings.Contains(told[i], text) {
			t.Errorf("warning %q, want one with %q", told[i], text)
		}
	}
}

// exported is what kubectl get -o yaml gives of a Job that ran.
const exported = `
apiVersion: batch/v1
kind: Job
metadata:
  name: etl
  uid: e6492c45
  resourceVersion: "128274155"
  generation: 1
  creationTimestamp: "2022-03-01T00:00:00Z"
  deletionTimestamp: "2022-03-01T00:00:00Z"
  deletionGracePeriodSeconds: 0
  selfLink: /apis/batch/v1/namespaces/x/jobs/etl
  managedFields: [{manager: kubectl}]
  ownerReferences: [{apiVersion: v1, kind: Pod, name: gone, uid: aaa}]
  finalizers: [example.com/keep]
  labels: {controller-uid: e6492c45, job-name: etl, batch.kubernetes.io/controller-uid: e6492c45, batch.kubernetes.io/job-name: etl, team: data}
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}", batch.kubernetes.io/job-tracking: "", note: mine}
spec:
  completions: 1
  parallelism: 1
  completionMode: NonIndexed
  manualSelector: true
  managedBy: example.com/controller
  suspend: true
  selector: {matchLabels: {controller-uid: e6492c45}}
  template:
    metadata:
      creationTimestamp: null
      uid: abc
      finalizers: [example.com/keep]
      labels: {controller-uid: e6492c45, job-name: etl, team: data}
    spec:
      containers: [{name: flow}]
status: {active: 1}
`

func TestWhatOnlyTheClusterSetsIsLeftOut(t *testing.T) {
	t.Parallel()
	job, told := must(t, yamlTemplate(t, exported), agent())
	checkTold(t, told, "job template has metadata.annotations.kubectl.kubernetes.io/last-applied-configuration, metadata.creationTimestamp,")
	for _, name := range []string{
		"metadata.deletionTimestamp", "metadata.finalizers", "metadata.generation", "metadata.managedFields", "metadata.ownerReferences", "metadata.resourceVersion",
		"metadata.selfLink", "metadata.uid", "spec.managedBy", "spec.manualSelector", "spec.selector", "spec.suspend", "spec.template.metadata.finalizers",
		"spec.template.metadata.labels.job-name", "metadata.labels.batch.kubernetes.io/job-name", "status, which are left out",
	} {
		if !strings.Contains(told[0], name) {
			t.Errorf("warning %q does not name %s", told[0], name)
		}
	}
	raw, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"e6492c45", "128274155", "gone", "example.com", "controller-uid", "job-name", "suspend", "manualSelector", "last-applied", "selfLink", "kubectl", "2022"} {
		if strings.Contains(string(raw), gone) {
			t.Errorf("the Job still has %s: %s", gone, raw)
		}
	}
	if job.Labels["team"] != "data" || job.Spec.Template.Labels["team"] != "data" || job.Annotations["note"] != "mine" {
		t.Errorf("labels %v and %v, annotations %v: what is the template's own is gone", job.Labels, job.Spec.Template.Labels, job.Annotations)
	}
	// What kubectl create --dry-run writes is empty and nobody's wish.
	_, told = must(t, yamlTemplate(t, "metadata: {creationTimestamp: null}\nspec: {suspend: false, template: {metadata: {creationTimestamp: null}, spec: {containers: [{name: flow}]}}}\nstatus: {}"), agent())
	checkTold(t, told)
}

func TestOneFlowRunIsOnePod(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		`parallelism: 2`: "spec.parallelism (line 1, column 21) is set, but one flow run is one Pod; remove it",
		`parallelism: 0`: "spec.parallelism", `parallelism: "2"`: "spec.parallelism", `parallelism: -1`: "spec.parallelism",
		`completions: 3`: "spec.completions", `completions: 0`: "spec.completions", `completions: 1.5`: "spec.completions",
		`completionMode: Indexed`: "spec.completionMode", `completions: 2, parallelism: 2`: "2 faults",
		`parallelism: 1`: "", `completions: null, parallelism: null`: "", `completionMode: NonIndexed`: "",
	} {
		_, _, err := jobspec.Job(yamlTemplate(t, "spec: {"+spec+", template: {spec: {containers: [{name: flow}]}}}"), agent(), attempt)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}

func TestMisplacedContainers(t *testing.T) {
	t.Parallel()
	const list = `[{name: flow, image: 'a:1'}]`
	for text, place := range map[string]string{
		"spec: {containers: " + list + "}":                                                           "spec.containers (line 1, column 8)",
		"containers: " + list:                                                                        "containers (line 1, column 1)",
		"metadata: {containers: " + list + "}":                                                       "metadata.containers",
		"spec: {template: {containers: " + list + "}}":                                               "spec.template.containers",
		"spec: {template: {metadata: {containers: " + list + "}}}":                                   "spec.template.metadata.containers",
		"spec: {template: {spec: {container: " + list + "}}}":                                        "spec.template.spec.container ",
		"spec: {template: {spec: {Containers: " + list + "}}}":                                       "spec.template.spec.Containers",
		"spec: {template: {spec: {contaners: " + list + "}}}":                                        "spec.template.spec.contaners",
		"spec: {template: {spec: {containerz: " + list + "}}}":                                       "spec.template.spec.containerz",
		"spec: {template: {spec: {container: {name: flow}}}}":                                        "spec.template.spec.container ",
		"spec: {template: {spec: {containers: [], spec: {containers: " + list + "}}}}":               "spec.template.spec.spec.containers",
		"spec: {jobTemplate: {spec: {template: {spec: {containers: " + list + "}}}}}":                "spec.jobTemplate.spec.template.spec.containers",
		"items: [{spec: {template: {spec: {containers: " + list + "}}}}]":                            "items[].spec.template.spec.containers",
		"metadata: {name: x}\nSpec: {template: {spec: {containers: " + list + "}}}":                  "Spec.template.spec.containers",
		"spec: {template: {spec: {initContainers: [{containers: " + list + "}], containers: null}}}": "initContainers[].containers",
	} {
		_, _, err := jobspec.Job(yamlTemplate(t, text), agent(), attempt)
		if err == nil || !strings.Contains(err.Error(), place) || !strings.Contains(err.Error(), "move it to spec.template.spec.containers") {
			t.Errorf("%s: %v, want an error at %s", text, err, place)
		}
	}
	// Python ran this, and so do we.
	job, told := must(t, yamlTemplate(t, "spec: {containers: [{image: 'no:1'}], template: {spec: {containers: [{image: 'a:1'}]}}}"), agent())
	checkTold(t, told, "spec.containers (line 1, column 8 of \"run_config.job_template\") is an unknown key, which Kubernetes drops; move it to spec.template.spec")
	if image := job.Spec.Template.Spec.Containers[0].Image; image != "a:1" {
		t.Errorf("image %s, want a:1", image)
	}
	_, told = must(t, yamlTemplate(t, "spec: {template: {spec: {containers: [{name: side}, {name: flow}]}}}"), agent())
	checkTold(t, told, `spec.template.spec.containers[1].name (line 1, column 54 of "run_config.job_template") is flow, but the flow runs in the first container; move this container to the front`)
}

func TestAMisplacedKeyIsMoved(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"spec: {restartPolicy: Never}":                                     "spec.restartPolicy|move it to spec.template.spec or ",
		"spec: {restartpolicy: Never}":                                     "spec.restartpolicy|did you mean restartPolicy? It belongs into spec.template.spec",
		"spec: {metadata: {labels: {a: b}}}":                               "spec.metadata|move it to the top of the Job or spec.template",
		"spec: {template: {spec: {backoffLimit: 1}}}":                      "backoffLimit|move it to spec",
		"spec: {template: {backoffLimit: 1}}":                              "backoffLimit|move it to spec",
		"spec: {template: {spec: {image: x}}}":                             "spec.image|move it to spec.template.spec.containers[0]",
		"spec: {template: {spec: {env: []}}}":                              "spec.env|move it to spec.template.spec.containers[0]",
		"spec: {template: {spec: {volumeMounts: []}}}":                     "volumeMounts|move it to spec.template.spec.containers[0]",
		"spec: {template: {spec: {containers: [{volumes: []}]}}}":          "volumes|move it to spec.template.spec",
		"spec: {template: {spec: {containers: [{limits: {cpu: 1}}]}}}":     "limits|move it to spec.template.spec.containers[0].resources",
		"spec: {template: {spec: {runAsUser: 1}}}":                         "runAsUser|move it to spec.template.spec.securityContext",
		"spec: {template: {spec: {labels: {}}}}":                           "labels|move it to metadata",
		"spec: {serviceAccountName: x}":                                    "serviceAccountName|move it to spec.template.spec",
		"template: {}\nspec: {}":                                           "template|move it to spec",
		"spec: {template: {spec: {containers: [{port: []}]}}}":             "port|did you mean ports?",
		"spec: {template: {spec: {containers: [{tolerationz: []}]}}}":      "tolerationz|did you mean tolerations? It belongs into spec.template.spec",
		"spec: {toleration: []}":                                           "spec.toleration|did you mean tolerations? It belongs into spec.template.spec",
		"spec: {service_account_name: x}":                                  "service_account_name|did you mean serviceAccountName? It belongs into spec.template.spec",
		"image_pull_secrets: [a]\nspec: {}":                                "image_pull_secrets|did you mean imagePullSecrets? It belongs into spec.template.spec",
		"spec: {template: {spec: {containers: [{cpu_limit: 1}]}}}":         "cpu_limit|write it as spec.template.spec.containers[0].resources.limits.cpu",
		"spec: {memory: 1Gi}":                                              "spec.memory|write it as spec.template.spec.containers[0].resources.limits.memory or requests.memory",
		"resources: {}\nspec: {}":                                          "resources|move it to spec.template.spec.containers[0]",
		"spec: {command: [x]}":                                             "spec.command|move it to spec.template.spec.containers[0]",
		"spec: {template: {spec: {whatever_it_is: 1}}}":                    "whatever_it_is|remove it",
		"spec: {template: {spec: {containers: [{imagePullSecrets: []}]}}}": "imagePullSecrets|move it to spec.template.spec",
	} {
		_, told := must(t, yamlTemplate(t, text), agent())
		place, mend, _ := strings.Cut(want, "|")
		if !slices.ContainsFunc(told, func(w string) bool { return strings.Contains(w, place) && strings.Contains(w, mend) }) {
			t.Errorf("%s: %q, want %s", text, told, want)
		}
	}
}

func TestATemplateThatIsNoJob(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                         "template is null, not an object; write a Job",
		"# nothing":                                "template is null, not an object",
		"<html><body>404</body></html>":            "template is a string, not an object",
		`{"Code": "Success", "Token": "CANARY"}`:   "has none of kind, metadata and spec at its top",
		`{"kind": null, "spec": null}`:             "has none of kind",
		`[{"kind": "Job"}]`:                        "template is a list, not an object",
		"kind: Pod\nspec: {containers: []}":        `kind (line 1, column 7 of "s3://b/t.yaml") is not "Job"; write a Job, with what stands below the Pod's metadata and spec below spec.template`,
		"kind: List\nitems: []":                    "write the one Job that stands below items",
		"apiVersion: v1\nkind: List\nitems: []":    "write the one Job that stands below items",
		"apiVersion: batch/v1beta1\nkind: CronJob": "with what stands below spec.jobTemplate at its top",
		"apiVersion: batch/v1\nkind: JobList":      "write the one Job that stands below items",
		"kind: Deployment":                         "take only the Pod template of the Deployment",
		"kind: Status\ncode: 403":                  "the template must be a Job",
		"kind: 5":                                  "the template must be a Job",
		"apiVersion: v1\nkind: Job":                `apiVersion (line 1, column 13 of "s3://b/t.yaml") is not "batch/v1"`,
		"kind: Job":                                "",
		"metadata: {}":                             "",
	} {
		s := agent()
		s.AgentTemplatePath = "s3://b/t.yaml"
		s.Template = func(string) ([]byte, error) { return []byte(text), nil }
		_, _, err := jobspec.Job(configRun(""), s, attempt)
		if want == "" && err == nil {
			continue
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}
