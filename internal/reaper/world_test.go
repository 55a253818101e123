package reaper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// queue is a Watch of one replica over a world.
type queue struct {
	w    *world
	mu   sync.Mutex
	due  map[string]time.Time
	wake chan struct{}
}

func (q *queue) Group(group string) ([]diagnose.Job, []diagnose.Pod) {
	jobs, pods := q.w.of(group)
	var j []diagnose.Job
	var p []diagnose.Pod
	for i := range jobs {
		j = append(j, diagnose.JobFacts(&jobs[i]))
	}
	for i := range pods {
		p = append(p, diagnose.PodFacts(&pods[i]))
	}
	return j, p
}

func (q *queue) Take(ctx context.Context, limit int) ([]string, error) {
	for {
		groups, next := q.ready(limit)
		if len(groups) > 0 {
			return groups, nil
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (q *queue) ready(limit int) ([]string, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	next := time.Hour
	var groups []string
	for group, at := range q.due {
		if left := time.Until(at); left > 0 || len(groups) == limit {
			next = min(next, max(left, 0))
			continue
		}
		groups = append(groups, group)
		delete(q.due, group)
	}
	return groups, next
}

func (q *queue) Done(string) {}

func (q *queue) Again(group string, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := time.Now().Add(after)
	if before, ok := q.due[group]; !ok || at.Before(before) {
		q.due[group] = at
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// refused is an error that will not pass.
type refused struct{ what string }

func (e refused) Error() string { return e.what }
func (refused) Temporary() bool { return false }

// world is Kubernetes and Prefect, with their faults.
type world struct {
	mu       sync.Mutex
	jobs     map[string]batchv1.Job
	pods     map[string]corev1.Pod
	events   []corev1.Event
	deleted  []string
	stopped  []string
	replicas []*queue
	health   Health

	runs          map[flowrun.ID][]flowrun.Row
	noHistory     bool
	down          bool // Prefect is out of reach
	logsDown      bool
	latency       time.Duration // of each call to Prefect
	refuse        bool          // states are refused
	poison        flowrun.ID    // a read with this run in it is refused
	beforeWrite   func()
	afterRead     func() // called with the lock held
	reads, writes int
	logs          []flowrun.Log
}

func newWorld() *world {
	return &world{jobs: map[string]batchv1.Job{}, pods: map[string]corev1.Pod{}, runs: map[flowrun.ID][]flowrun.Row{}, health: calm{}}
}

func (w *world) of(group string) (jobs []batchv1.Job, pods []corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.jobs)) {
		if j := w.jobs[name]; string(flowrun.RunOf(j.Name, j.Labels)) == group {
			jobs = append(jobs, j)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.pods)) {
		if p := w.pods[name]; string(flowrun.RunOf(p.Name, p.Labels)) == group {
			pods = append(pods, p)
		}
	}
	return jobs, pods
}

// fits reports whether the labels of an object fit a selector.
func fits(selector string, of map[string]string) bool {
	s, err := labels.Parse(selector)
	return err == nil && s.Matches(labels.Set(of))
}

func (w *world) Jobs(_ context.Context, _, selector string) (jobs []batchv1.Job, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.jobs {
		if fits(selector, j.Labels) {
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

func (w *world) Pods(_ context.Context, _, selector string) (pods []corev1.Pod, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pods {
		if fits(selector, p.Labels) {
			pods = append(pods, p)
		}
	}
	return pods, nil
}

func (w *world) ServerNow() time.Time { return time.Now() }

func (w *world) Delete(_ context.Context, _, name, uid, _ string) error {
	w.mu.Lock()
	j, ok := w.jobs[name]
	if !ok || string(j.UID) != uid {
		w.mu.Unlock()
		return errors.New("conflict")
	}
	delete(w.jobs, name)
	w.dropPods(j)
	w.deleted = append(w.deleted, name)
	w.mu.Unlock()
	w.changed(string(flowrun.RunOf(j.Name, j.Labels)))
	return nil
}

func (w *world) Stop(_ context.Context, _, name, uid, resourceVersion string) error {
	w.mu.Lock()
	j, ok := w.jobs[name]
	if !ok || string(j.UID) != uid || j.ResourceVersion != resourceVersion || j.Spec.Parallelism != nil {
		w.mu.Unlock()
		return errors.New("conflict")
	}
	j.Spec.Parallelism = new(int32(0))
	w.jobs[name] = j
	w.dropPods(j)
	w.stopped = append(w.stopped, name)
	w.mu.Unlock()
	w.changed(string(flowrun.RunOf(j.Name, j.Labels)))
	return nil
}

// dropPods deletes the Pods that a Job owns.
func (w *world) dropPods(j batchv1.Job) {
	maps.DeleteFunc(w.pods, func(_ string, p corev1.Pod) bool {
		return len(p.OwnerReferences) > 0 && p.OwnerReferences[0].UID == j.UID
	})
}

func (w *world) DeletePod(_ context.Context, _, name, uid string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.pods[name]; ok && string(p.UID) == uid {
		delete(w.pods, name)
		w.deleted = append(w.deleted, name)
	}
	return nil
}

func (w *world) Events(_ context.Context, _, name string) ([]corev1.Event, error) {
	return slices.DeleteFunc(w.eventsNow(), func(e corev1.Event) bool { return e.InvolvedObject.Name != name }), nil
}

func (w *world) Warnings(context.Context, string) ([]corev1.Event, error) { return w.eventsNow(), nil }

func (w *world) eventsNow() []corev1.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *world) PodLog(_ context.Context, _, pod, container string, previous bool, lines int64, limit int) (string, error) {
	return fmt.Sprintf("log of %s/%s %t %d %d\n", pod, container, previous, lines, limit), nil
}

func (w *world) Snapshots(_ context.Context, ids []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error) {
	time.Sleep(w.latency)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if w.afterRead != nil {
		defer w.afterRead()
	}
	if w.down {
		return nil, errors.New("connection refused")
	}
	for _, id := range ids {
		if id == w.poison || len(id) != len(number(0)) {
			return nil, refused{"cannot read " + string(id)}
		}
	}
	out := map[flowrun.ID]flowrun.Snapshot{}
	for _, id := range ids {
		rows, ok := w.runs[id]
		if !ok {
			continue
		}
		last := rows[len(rows)-1]
		s := flowrun.Snapshot{ID: id, Version: last.Version, State: last.State}
		if !w.noHistory {
			s.History = slices.Clone(rows)
		}
		out[id] = s
	}
	return out, nil
}

func (w *world) SetStates(_ context.Context, writes []flowrun.Write) error {
	time.Sleep(w.latency)
	if w.beforeWrite != nil {
		w.beforeWrite()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	if w.refuse {
		return refused{"state update failed"}
	}
	if w.down {
		return errors.New("connection refused")
	}
	for _, wr := range writes {
		rows := w.runs[wr.FlowRunID]
		w.runs[wr.FlowRunID] = append(rows, flowrun.Row{
			Version: rows[len(rows)-1].Version + 1, State: flowrun.State{Type: wr.Type, Message: wr.Message, Mark: wr.Mark},
		})
	}
	return nil
}

func (w *world) WriteLogs(_ context.Context, logs []flowrun.Log) error {
	time.Sleep(w.latency)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down || w.logsDown {
		return errors.New("connection refused")
	}
	w.logs = append(w.logs, logs...)
	return nil
}

// changed tells every replica of a group.
func (w *world) changed(group string) {
	for _, q := range w.replicas {
		q.Again(group, 0)
	}
}

// number makes the id of the n-th run.
func number(n int) flowrun.ID { return flowrun.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)) }

// run adds a claimed run and its Job, and changes both as told.
func (w *world) run(n int, rows []flowrun.Row, mods ...func(*batchv1.Job)) {
	id := number(n)
	j := batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("job-%d", n), Namespace: "flows", UID: types.UID(fmt.Sprintf("uid-%d", n)), CreationTimestamp: metav1.Now(), ResourceVersion: "7",
			Labels:      map[string]string{flowrun.LabelFlowRunID: string(id), flowrun.LabelManagedBy: flowrun.ManagedBy},
			Annotations: map[string]string{flowrun.AnnotationAttempt: "v3"},
		},
		Spec: batchv1.JobSpec{BackoffLimit: new(int32(0))},
	}
	for _, mod := range mods {
		mod(&j)
	}
	w.mu.Lock()
	w.jobs[j.Name] = j
	if rows != nil {
		w.runs[id] = append([]flowrun.Row{foreign(3, flowrun.Scheduled), claim(4, "me", "here", j.Name)}, rows...)
	}
	w.mu.Unlock()
	w.changed(string(id))
}

// pod adds the Pod of the n-th run's Job.
func (w *world) pod(n int, phase corev1.PodPhase, state corev1.ContainerState) {
	w.mu.Lock()
	name := fmt.Sprintf("job-%d-pod", n)
	w.pods[name] = corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID(name), CreationTimestamp: metav1.Now(), Labels: map[string]string{flowrun.LabelFlowRunID: string(number(n))},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Job", UID: types.UID(fmt.Sprintf("uid-%d", n)), Controller: new(true)}},
		},
		Spec:   corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "flow"}}},
		Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: "flow", State: state}}},
	}
	w.mu.Unlock()
	w.changed(string(number(n)))
}

func complete(j *batchv1.Job) { finish(j, batchv1.JobComplete) }
func failed(j *batchv1.Job)   { finish(j, batchv1.JobFailed) }

func finish(j *batchv1.Job, kind batchv1.JobConditionType) {
	j.Status.Conditions = []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
}

func (w *world) update(n int, mod func(*batchv1.Job)) {
	w.mu.Lock()
	name := fmt.Sprintf("job-%d", n)
	j := w.jobs[name]
	mod(&j)
	w.jobs[name] = j
	w.mu.Unlock()
	w.changed(string(number(n)))
}

func endedWith(code int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: metav1.Now(), FinishedAt: metav1.Now()}}
}

func waitingFor(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "no such image"}}
}

func runs() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
}

// verdicts are the Failed states of ours that a run has.
func (w *world) verdicts(n int) []flowrun.Row {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.runs[number(n)]), func(r flowrun.Row) bool { return r.State.Mark.Kind != flowrun.Verdict })
}

// standing is what counts for a run.
func (w *world) standing(n int) flowrun.StateType {
	w.mu.Lock()
	defer w.mu.Unlock()
	return flowrun.Fold(w.runs[number(n)]).Counting.State.Type
}

func (w *world) showing(n int) flowrun.StateType {
	w.mu.Lock()
	defer w.mu.Unlock()
	rows := w.runs[number(n)]
	return rows[len(rows)-1].State.Type
}

// told are the messages in a run's log.
func (w *world) told(n int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, line := range w.logs {
		if line.FlowRunID == number(n) {
			out = append(out, string(line.Level)+" "+line.Message)
		}
	}
	return out
}

func (w *world) removed() (names []string) {
	w.lock(func() { names = slices.Clone(w.deleted) })
	return names
}

// halted are the Jobs that were stopped.
func (w *world) halted() (names []string) {
	w.lock(func() { names = slices.Clone(w.stopped) })
	return names
}

func (w *world) asked() (n int) { w.lock(func() { n = w.reads }); return n }
func (w *world) wrote() (n int) { w.lock(func() { n = w.writes }); return n }
func (w *world) lines() (n int) { w.lock(func() { n = len(w.logs) }); return n }

func (w *world) lock(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// replica runs a Reaper over the world until the test ends.
func replica(t *testing.T, w *world, mods ...func(*Policy)) {
	t.Helper()
	replicaOver(t, w, w, slog.New(slog.DiscardHandler), mods...)
}

// replicaOver is replica with what it reaches of the world, and with a log.
func replicaOver(t *testing.T, w *world, over interface {
	Cluster
	Witness
}, log *slog.Logger, mods ...func(*Policy),
) {
	t.Helper()
	p := testPolicy()
	for _, mod := range mods {
		mod(&p)
	}
	q := &queue{w: w, due: map[string]time.Time{}, wake: make(chan struct{}, 1)}
	r, err := New(Options{Watch: q, Cluster: over, Witness: over, Reporter: w, Health: w.health, Policy: p, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.replicas = append(w.replicas, q)
	for _, j := range w.jobs {
		q.Again(string(flowrun.RunOf(j.Name, j.Labels)), 0)
	}
	for _, p := range w.pods {
		q.Again(string(flowrun.RunOf(p.Name, p.Labels)), 0)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// bubble runs a test on simulated time.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld()) })
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// calm is a health that nobody looks at.
type calm struct{}

func (calm) Progress()          {}
func (calm) Fail(string)        {}
func (calm) Wait(time.Duration) {}
