package diagnose_test

import (
	"encoding/json"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
)

// TestLivePodMeansNotFailed: without a word of the Job itself, no verdict may be
// Failed while a Pod lives.
func TestLivePodMeansNotFailed(t *testing.T) {
	t.Parallel()
	phases := []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown, ""}
	rapid.Check(t, func(t *rapid.T) {
		j := diagnose.Job{
			BackoffLimit: rapid.Int32Range(0, 3).Draw(t, "limit"), Parallelism: rapid.Int32Range(0, 1).Draw(t, "parallelism"),
			Failed: rapid.Int32Range(0, 5).Draw(t, "failed"), Deleting: rapid.Bool().Draw(t, "deleting"),
		}
		f := diagnose.Facts{Job: &j, Now: start}
		live := false
		for range rapid.IntRange(0, 4).Draw(t, "pods") {
			p := diagnose.Pod{Phase: rapid.SampledFrom(phases).Draw(t, "phase"), Created: start.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "age")))}
			live = live || p.Live()
			f.Pods = append(f.Pods, p)
		}
		v := diagnose.Diagnose(f)
		if live && v.Kind == diagnose.Failed {
			t.Fatalf("failed with a live pod: %+v", f)
		}
		if v.Kind == diagnose.Failed && v.Message == "" {
			t.Fatal("failed without a word")
		}
	})
}

// FuzzDiagnose feeds whatever an API server may send.
func FuzzDiagnose(f *testing.F) {
	for _, c := range verdictCases() {
		j, _ := json.Marshal(c.job)
		p, _ := json.Marshal(append(c.pods, nil)[0])
		f.Add(j, p, "FailedCreate", noQuota)
	}
	f.Fuzz(func(t *testing.T, rawJob, rawPod []byte, reason, message string) {
		var j batchv1.Job
		var p corev1.Pod
		if json.Unmarshal(rawJob, &j) != nil || json.Unmarshal(rawPod, &p) != nil {
			t.Skip()
		}
		e := event(reason, message)
		facts := diagnose.Facts{Job: new(diagnose.JobFacts(&j)), Pods: []diagnose.Pod{diagnose.PodFacts(&p)}, Events: []diagnose.Event{diagnose.EventFacts(&e)}, Now: start}
		for i, pods := range [][]diagnose.Pod{facts.Pods, nil, facts.Pods} {
			if facts.Pods = pods; i > 1 {
				facts.Job = nil
			}
			v := diagnose.Diagnose(facts)
			if len(v.Message) > 16<<10 || len(v.Evidence) > 20 {
				t.Errorf("got a message of %d bytes and %d lines", len(v.Message), len(v.Evidence))
			}
		}
	})
}
