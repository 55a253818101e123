package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

func row(version int, t flowrun.StateType) flowrun.Row {
	return flowrun.Row{Version: version, State: flowrun.State{Type: t}}
}

func claimRow(version int, place string) flowrun.Row {
	r := row(version, flowrun.Submitted)
	r.State.Mark = flowrun.Mark{Kind: flowrun.Claim, Agent: "x", Place: placeOf(place), Job: "j", On: version - 1}
	return r
}

func job(uid string, minute int, done bool) batchv1.Job {
	j := batchv1.Job{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), CreationTimestamp: metav1.Unix(int64(minute)*60, 0)}}
	if done {
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	}
	return j
}

func pod(phase corev1.PodPhase) corev1.Pod { return corev1.Pod{Status: corev1.PodStatus{Phase: phase}} }

func TestOffer(t *testing.T) {
	t.Parallel()
	retry := []flowrun.Row{row(1, flowrun.Scheduled), claimRow(2, "here"), row(3, flowrun.Running)}
	elsewhere := []flowrun.Row{row(1, flowrun.Scheduled), claimRow(2, "there"), row(3, flowrun.Running)}
	unclaimed := []flowrun.Row{row(1, flowrun.Scheduled), row(2, flowrun.Submitted), row(3, flowrun.Running)}
	rerun := append(slices.Clone(retry), row(4, flowrun.Failed), row(5, flowrun.Scheduled))
	unseen := []flowrun.Row{row(1, flowrun.Scheduled), claimRow(2, "here"), row(3, flowrun.Scheduled)}
	moved := append(slices.Clone(elsewhere), row(4, flowrun.Failed), row(5, flowrun.Scheduled))
	first := job("a", 1, true)
	first.Annotations = map[string]string{flowrun.AnnotationAttempt: "v1"}
	stopped := job("a", 1, false)
	stopped.Spec.Parallelism = new(int32(0))
	going := stopped
	going.DeletionTimestamp = &metav1.Time{}
	for _, tt := range []struct {
		name    string
		shown   flowrun.StateType
		history []flowrun.Row
		jobs    []batchv1.Job
		pods    []corev1.Pod
		seen    time.Duration
		attempt string
		claim   bool
		skip    skip
	}{
		{name: "fresh", shown: flowrun.Scheduled, history: retry[:1], attempt: "v1", claim: true},
		{name: "a rerun is a new attempt", shown: flowrun.Scheduled, history: rerun, jobs: []batchv1.Job{job("a", 1, true)}, attempt: "v5", claim: true},
		{name: "a rerun waits for the old pod", shown: flowrun.Scheduled, history: rerun, pods: []corev1.Pod{pod(corev1.PodRunning)}, skip: skipLivePod},
		{name: "a rerun waits for the old job, which may make a pod yet", shown: flowrun.Scheduled, history: rerun, jobs: []batchv1.Job{job("a", 1, false)}, skip: skipLiveJob},
		{name: "a rerun does not wait for an old job that was stopped", shown: flowrun.Scheduled, history: rerun, jobs: []batchv1.Job{stopped}, attempt: "v5", claim: true},
		{name: "a rerun waits for an old job that was stopped and goes", shown: flowrun.Scheduled, history: rerun, jobs: []batchv1.Job{going}, skip: skipLiveJob},
		{name: "a rerun of one that ran waits for nothing", shown: flowrun.Scheduled, history: rerun, attempt: "v5", claim: true},
		{name: "a rerun waits for a create that may be under way", shown: flowrun.Scheduled, history: unseen, seen: flowrun.Fence - 1, skip: skipYoung},
		{name: "a rerun after a fence", shown: flowrun.Scheduled, history: unseen, seen: flowrun.Fence, attempt: "v3", claim: true},
		{name: "a rerun whose first Job is there", shown: flowrun.Scheduled, history: unseen, jobs: []batchv1.Job{first}, attempt: "v3", claim: true},
		{name: "a rerun belongs to its place first", shown: flowrun.Scheduled, history: moved, seen: headStart - 1, skip: skipHome},
		{name: "a rerun that its place does not take", shown: flowrun.Scheduled, history: moved, seen: headStart, attempt: "v5", claim: true},
		{name: "a late claim hides Running", shown: flowrun.Submitted, history: append(slices.Clone(retry), claimRow(4, "here")), skip: skipCovered},
		{name: "retry keys on the newest job", shown: flowrun.Running, history: retry, jobs: []batchv1.Job{job("a", 1, true), job("b", 2, true)}, attempt: "b"},
		{name: "retry waits for its process", shown: flowrun.Running, history: retry, jobs: []batchv1.Job{job("a", 1, false)}, skip: skipLiveJob},
		{name: "retry waits for its pod", shown: flowrun.Running, history: retry, jobs: []batchv1.Job{job("a", 1, true)}, pods: []corev1.Pod{pod(corev1.PodPending)}, skip: skipLivePod},
		{name: "ended pods are no obstacle", shown: flowrun.Running, history: retry, jobs: []batchv1.Job{job("a", 1, true)}, pods: []corev1.Pod{pod(corev1.PodSucceeded), pod(corev1.PodFailed)}, attempt: "a"},
		{name: "retry of another place", shown: flowrun.Running, history: elsewhere, jobs: []batchv1.Job{job("a", 1, true)}, skip: skipElsewhere},
		{name: "unclaimed, a job is here", shown: flowrun.Running, history: unclaimed, jobs: []batchv1.Job{job("a", 1, true)}, attempt: "a"},
		{name: "unclaimed, no job is here", shown: flowrun.Running, history: unclaimed, seen: time.Hour, skip: skipElsewhere},
		{name: "held here, no job yet", shown: flowrun.Running, history: retry, seen: flowrun.Fence - 1, skip: skipYoung},
		{name: "held here, no job for a whole fence", shown: flowrun.Running, history: retry, seen: flowrun.Fence, attempt: "none"},
		{name: "paused", shown: flowrun.Paused, history: []flowrun.Row{row(1, flowrun.Paused)}, skip: skipState},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			run := prefect1.FlowRun{Snapshot: flowrun.Snapshot{ID: "r", State: flowrun.State{Type: tt.shown}, History: tt.history}}
			stand := flowrun.Fold(tt.history)
			read := time.Unix(0, 0)
			o, why := offer(view{run: run, stand: stand, place: placeOf("here"), here: objects{tt.jobs, tt.pods}, since: read.Add(-tt.seen), read: read})
			if diff := cmp.Diff([]any{tt.attempt, tt.claim, tt.skip}, []any{o.Attempt, o.NeedsClaim, why}); diff != "" {
				t.Errorf("attempt, claim, skip (-want +got):\n%s", diff)
			}
			if looks, want := needsLook(run, stand), tt.name != "fresh" && tt.name != "paused"; tt.shown == flowrun.Scheduled && looks != want {
				t.Errorf("the cluster is asked: %v, want %v", looks, want)
			}
		})
	}
}

// A server without histories does not say who had a run before: a create of theirs may
// be under way.
func TestOfferWithoutHistory(t *testing.T) {
	t.Parallel()
	read := time.Unix(0, 0)
	for _, tt := range []struct {
		version int
		seen    time.Duration
		want    skip
	}{{1, 0, ""}, {3, flowrun.Fence - 1, skipYoung}, {3, flowrun.Fence, ""}} {
		run := prefect1.FlowRun{Snapshot: flowrun.Snapshot{ID: "r", Version: tt.version, State: flowrun.State{Type: flowrun.Scheduled}}}
		if _, why := offer(view{run: run, stand: run.Standing(), place: placeOf("here"), since: read.Add(-tt.seen), read: read}); why != tt.want {
			t.Errorf("version %d, seen for %v: got %q, want %q", tt.version, tt.seen, why, tt.want)
		}
	}
}

func TestPollPause(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		idle int
		full bool
		want time.Duration
	}{
		{0, false, 250 * time.Millisecond},
		{1, false, 500 * time.Millisecond},
		{2, false, time.Second},
		{50, false, time.Second},
		{0, true, 0},
	} {
		if got := pollPause(tt.idle, tt.full, time.Second); got != tt.want {
			t.Errorf("pollPause(%d, %v) is %v, want %v", tt.idle, tt.full, got, tt.want)
		}
	}
}
