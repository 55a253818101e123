package diagnose_test

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
)

// Pods that outlived their Job tell what became of it.
func TestPodsWithoutAJob(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		pods   []*corev1.Pod
		kind   diagnose.Kind
		reason string
		words  string
	}{
		"failed":            {[]*corev1.Pod{pod(corev1.PodFailed, ended("flow", 3, "Error", ""))}, diagnose.Failed, "Error", "the Job was deleted"},
		"failed in silence": {[]*corev1.Pod{pod(corev1.PodFailed)}, diagnose.Failed, "PodFailed", "the Job was deleted"},
		"evicted":           {[]*corev1.Pod{pod(corev1.PodFailed, podReason("Evicted", "low on memory"))}, diagnose.Failed, "Evicted", "low on memory"},
		"succeeded":         {[]*corev1.Pod{pod(corev1.PodSucceeded)}, diagnose.Succeeded, "", ""},
		"failed, then succeeded": {
			[]*corev1.Pod{pod(corev1.PodFailed, ended("flow", 3, "Error", "")), pod(corev1.PodSucceeded, called("later", 40))}, diagnose.Succeeded, "", "",
		},
		"running":        {[]*corev1.Pod{pod(corev1.PodFailed, ended("flow", 3, "Error", "")), pod(corev1.PodRunning, called("later", 30), running())}, diagnose.Running, "", ""},
		"on a lost node": {[]*corev1.Pod{pod(corev1.PodUnknown, running())}, diagnose.Stuck, "Unknown", "its node does not answer"},
	} {
		facts := diagnose.Facts{Now: start}
		for _, p := range tt.pods {
			facts.Pods = append(facts.Pods, diagnose.PodFacts(p))
		}
		v := diagnose.Diagnose(facts)
		if v.Kind != tt.kind || v.Reason != tt.reason || !strings.Contains(v.Message, tt.words) {
			t.Errorf("%s: got %s %q %q, want %s %q with %q", name, v.Kind, v.Reason, v.Message, tt.kind, tt.reason, tt.words)
		}
		if v.Kind == diagnose.Failed && (v.Culprit.Pod == "" || len(v.Evidence) == 0) {
			t.Errorf("%s: no culprit or no evidence: %+v", name, v)
		}
	}
}

// A Pod that failed without a word has its main container's log as the only witness.
func TestSilentFailureNamesTheContainer(t *testing.T) {
	t.Parallel()
	v := diagnose.Diagnose(diagnose.Facts{Pods: []diagnose.Pod{diagnose.PodFacts(pod(corev1.PodFailed))}, Now: start})
	if v.Culprit.Container != "flow" {
		t.Errorf("got %+v", v.Culprit)
	}
}

func TestWhoseAJobAndAPodAre(t *testing.T) {
	t.Parallel()
	python := map[string]string{"identifier": "4f0c1a9e", "flow_run_id": runID}
	j := diagnose.JobFacts(job(func(j *batchv1.Job) { j.Labels = python }))
	p := diagnose.PodFacts(pod(corev1.PodFailed, func(p *corev1.Pod) { p.Labels, p.OwnerReferences = python, nil }))
	if !j.Python || j.Managed || j.RunID != runID || !p.Python || p.Managed || p.RunID != runID || p.Owned {
		t.Errorf("0.11.0: got %+v and %+v", j, p)
	}
	j, p = diagnose.JobFacts(job()), diagnose.PodFacts(pod(corev1.PodFailed, func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", UID: "r"}}
	}))
	if j.Python || !j.Managed || !p.Owned || p.JobUID != "" {
		t.Errorf("ours: got %+v and %+v", j, p)
	}
}
