package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// server behaves as the servers of Prefect 0.x and 1.x do: it reads a run's
// version, and inserts the next row some time after, so that two writers at once
// leave two rows of one version. Nothing it does is conditional.
type server struct {
	mu   sync.Mutex
	rand *rand.Rand
	runs map[flowrun.ID]*simRun
	// slow is how long a state write may be on its way, beside the gap.
	slow time.Duration
	// late are runs that the queue keeps back.
	late map[flowrun.ID]bool
	// logs are the lines of all runs.
	logs []flowrun.Log
	// most is how many runs the queue returns; 0 means all.
	most int
	// configs are the run configs of runs that have one.
	configs map[flowrun.ID]json.RawMessage
	// created is how many Jobs each name ever got in all places, live the number of
	// Pods of each run; crowded are the runs that had two of them at once, and
	// refused those whose process found them ended, and left.
	created          map[string]int
	live             map[flowrun.ID]int
	crowded, refused map[flowrun.ID]bool
}

type simRun struct {
	version int
	shown   flowrun.StateType
	history []flowrun.Row
}

func newServer(seed uint64, runs int) *server {
	s := &server{
		rand: rand.New(rand.NewPCG(seed, 0)), runs: map[flowrun.ID]*simRun{}, slow: 300 * time.Millisecond,
		created: map[string]int{}, live: map[flowrun.ID]int{}, crowded: map[flowrun.ID]bool{}, refused: map[flowrun.ID]bool{},
	}
	for i := range runs {
		id := flowrun.ID(fmt.Sprintf("run-%d", i))
		s.runs[id] = &simRun{}
		s.insert(id, 1, flowrun.State{Type: flowrun.Scheduled})
	}
	return s
}

// delay is any moment up to the given one; it must stay below the settling time
// for the gap between read and insert.
func (s *server) delay(most time.Duration) {
	s.mu.Lock()
	d := time.Duration(s.rand.Int64N(int64(most)))
	s.mu.Unlock()
	time.Sleep(d)
}

func (s *server) insert(id flowrun.ID, version int, state flowrun.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.runs[id]
	state.Data = json.RawMessage(`{}`)
	run.history = append(run.history, flowrun.Row{Version: version, State: state})
	if version >= run.version {
		run.version, run.shown = version, state.Type
	}
}

// set is a write by anybody else.
func (s *server) set(id flowrun.ID, t flowrun.StateType) {
	s.delay(s.slow)
	version, _ := s.shown(id)
	s.delay(dispatch.Settle - time.Millisecond)
	s.insert(id, version+1, flowrun.State{Type: t})
}

func (s *server) shown(id flowrun.ID) (int, flowrun.StateType) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[id].version, s.runs[id].shown
}

func (s *server) TenantID() string { return "" }

func (s *server) Refresh(context.Context, prefect1.Registration) error { return nil }

func (s *server) Settings() prefect1.Settings { return prefect1.Settings{} }

func (s *server) Connect(context.Context, prefect1.Registration) error { return nil }

func (s *server) RunsInQueue(context.Context, time.Time, []string) ([]flowrun.ID, error) {
	s.delay(300 * time.Millisecond)
	ids := s.idsIn(flowrun.Scheduled, false)
	if s.most > 0 {
		ids = ids[:min(s.most, len(ids))]
	}
	return ids, nil
}

func (s *server) Overdue(_ context.Context, before time.Time, _ []string) ([]flowrun.ID, error) {
	if s.most > 0 && time.Since(before) < time.Second { // all have been due since now
		return s.idsIn(flowrun.Scheduled, false), nil
	}
	return s.idsIn(flowrun.Scheduled, true), nil
}

func (s *server) idsIn(state flowrun.StateType, late bool) []flowrun.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []flowrun.ID
	for id, run := range s.runs {
		if run.shown == state && s.late[id] == late {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Claims answers one run a page.
func (s *server) Claims(_ context.Context, after flowrun.ID) ([]prefect1.Claim, error) {
	s.delay(300 * time.Millisecond)
	for _, id := range s.idsIn(flowrun.Submitted, false) {
		if id > after {
			version, _ := s.shown(id)
			return []prefect1.Claim{{ID: id, Version: version}}, nil
		}
	}
	return nil, nil
}

func (s *server) FlowRuns(ctx context.Context, ids []flowrun.ID, _ time.Time) ([]prefect1.FlowRun, error) {
	runs, err := s.FlowRunsByID(ctx, ids)
	return slices.DeleteFunc(runs, func(r prefect1.FlowRun) bool { return r.State.Type != flowrun.Scheduled }), err
}

func (s *server) FlowRunsByID(ctx context.Context, ids []flowrun.ID) ([]prefect1.FlowRun, error) {
	snapshots, err := s.Snapshots(ctx, ids)
	var out []prefect1.FlowRun
	for _, snapshot := range snapshots {
		out = append(out, prefect1.FlowRun{
			Snapshot: snapshot, RunConfig: s.configs[snapshot.ID],
			Flow: prefect1.Flow{ID: "f", Name: "f", CoreVersion: "1.4.1", Storage: json.RawMessage(`{"type":"Docker","image_name":"i","image_tag":"t"}`)},
		})
	}
	return out, err
}

func (s *server) Snapshots(_ context.Context, ids []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error) {
	s.delay(300 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[flowrun.ID]flowrun.Snapshot{}
	for _, id := range ids {
		run := s.runs[id]
		out[id] = flowrun.Snapshot{ID: id, Version: run.version, State: flowrun.State{Type: run.shown, Data: json.RawMessage(`{}`)}, History: slices.Clone(run.history)}
	}
	return out, nil
}

func (s *server) SetStates(_ context.Context, writes []flowrun.Write) error {
	var group errgroup.Group
	for _, w := range writes {
		group.Go(func() error {
			s.delay(s.slow)
			version, _ := s.shown(w.FlowRunID)
			s.delay(dispatch.Settle - time.Millisecond)
			s.insert(w.FlowRunID, version+1, flowrun.State{Type: w.Type, Message: w.Message, Mark: w.Mark})
			return nil
		})
	}
	return group.Wait()
}

func (s *server) WriteLogs(_ context.Context, logs []flowrun.Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs = append(s.logs, logs...)
	return nil
}

// cluster holds the Jobs of one place, with a Pod each that executes its run.
type cluster struct {
	server *server
	place  string
	// processes is whether the Pods do anything.
	processes bool
	// busy says that no Job is taken for the moment, away until when nothing is answered.
	busy bool
	away time.Time
	// refuse is what each create is answered, if it is set.
	refuse func(ctx context.Context) error

	mu   sync.Mutex
	jobs map[string]*batchv1.Job
	pods map[string]*corev1.Pod

	group sync.WaitGroup
}

func newCluster(s *server, place string) *cluster {
	return &cluster{server: s, place: place, jobs: map[string]*batchv1.Job{}, pods: map[string]*corev1.Pod{}}
}

func (c *cluster) Submit(ctx context.Context, job *batchv1.Job) (*batchv1.Job, bool, error) {
	c.server.delay(300 * time.Millisecond)
	if c.busy {
		return nil, false, context.DeadlineExceeded
	}
	if c.refuse != nil {
		if err := c.refuse(ctx); err != nil {
			return nil, false, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.jobs[job.Name]; ok {
		return found.DeepCopy(), false, nil
	}
	id := flowrun.ID(job.Labels[flowrun.LabelFlowRunID])
	made := job.DeepCopy()
	made.UID, made.CreationTimestamp = types.UID("uid of "+job.Name), metav1.Now()
	c.jobs[job.Name] = made
	c.server.begin(id, job.Name)
	c.pods[job.Name] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: job.Name, Labels: job.Labels}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	if c.processes {
		c.group.Go(func() { c.execute(job.Name, id) })
	}
	return made.DeepCopy(), true, nil
}

// execute is the flow process: it sets Running before anything else, unless it
// finds the run ended.
func (c *cluster) execute(name string, id flowrun.ID) {
	c.server.delay(20 * time.Second)
	_, state := c.server.shown(id)
	if !state.IsFinished() {
		c.server.set(id, flowrun.Running)
		c.server.delay(20 * time.Second)
		c.server.set(id, flowrun.Success)
	}
	c.server.end(id, state.IsFinished())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods[name].Status.Phase = corev1.PodSucceeded
	c.jobs[name].Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
}

func (c *cluster) Place(context.Context, string) (uid, digest string, err error) {
	return c.place, c.place, nil
}

// closed is a cluster whose namespace may not be read.
type closed struct{ *cluster }

func (c closed) Place(context.Context, string) (uid, digest string, err error) {
	return "", c.place, nil
}

// placeOf is a place as processes know it: by UID and name, or by its name alone if the
// text ends so.
func placeOf(text string) flowrun.Place {
	place, byName := strings.CutSuffix(text, " by name")
	if byName {
		return flowrun.NewPlace("", place)
	}
	return flowrun.NewPlace(place, place)
}

// Lives is true of an unfinished Job, as the copy says that does not lag.
func (c *cluster) Lives(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		if j.Labels[flowrun.LabelFlowRunID] == id && len(j.Status.Conditions) == 0 {
			return true
		}
	}
	return false
}

func (c *cluster) has(id flowrun.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		if j.Labels[flowrun.LabelFlowRunID] == string(id) {
			return true
		}
	}
	return false
}

func (c *cluster) Jobs(_ context.Context, _, selector string) (found []batchv1.Job, err error) {
	s, err := labels.Parse(selector)
	if time.Now().Before(c.away) {
		return nil, context.DeadlineExceeded
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		if err == nil && s.Matches(labels.Set(j.Labels)) {
			found = append(found, *j.DeepCopy())
		}
	}
	return found, err
}

func (c *cluster) Pods(_ context.Context, _, selector string) (found []corev1.Pod, err error) {
	s, err := labels.Parse(selector)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		if err == nil && s.Matches(labels.Set(p.Labels)) {
			found = append(found, *p.DeepCopy())
		}
	}
	return found, err
}

// reap does what every reaper does before it deletes a finished Job of its place: it
// puts back what a late verdict or put-back covers, of a process that died too. What a
// claim covers is left to the agents.
func (s *server) reap(ctx context.Context, c *cluster) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
		for id := range s.runs {
			if !c.has(id) {
				continue
			}
			snapshots, _ := s.Snapshots(ctx, []flowrun.ID{id})
			shown := snapshots[id].State.Type
			if w, ok := snapshots[id].PutBack("reaper", placeOf(c.place)); ok && shown != flowrun.Submitted && shown != flowrun.Scheduled {
				_ = s.SetStates(ctx, []flowrun.Write{w})
			}
		}
	}
}

type calm struct{}

func (calm) Progress()          {}
func (calm) Fail(string)        {}
func (calm) Wait(time.Duration) {}

func sweepsCalm() Health { return calm{} }

func (s *server) begin(id flowrun.ID, job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created[job]++
	s.live[id]++
	s.crowded[id] = s.crowded[id] || s.live[id] > 1
}

func (s *server) end(id flowrun.ID, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[id]--
	s.refused[id] = s.refused[id] || refused
}

// check compares what is left at the end with what was promised.
func (s *server) check(t *testing.T, what string) {
	t.Helper()
	for name, n := range s.created {
		if n != 1 {
			t.Errorf("%s: job %s was created %d times", what, name, n)
		}
	}
	for id, run := range s.runs {
		if s.crowded[id] {
			t.Errorf("%s: %s had two live pods; history %s", what, id, historyOf(run))
		}
		// A late put-back may show a run as ended for a moment, see "What cannot be
		// guaranteed" in ARCHITECTURE.md; a process that asks in that moment leaves.
		if !s.refused[id] && run.shown != flowrun.Success {
			t.Errorf("%s: %s is shown as %s, want Success; history %s", what, id, run.shown, historyOf(run))
		}
	}
}

func historyOf(run *simRun) string {
	var text strings.Builder
	for _, r := range run.history {
		fmt.Fprintf(&text, " %d:%s(%s %s)", r.Version, r.State.Type, r.State.Mark.Kind, r.State.Mark.Agent)
	}
	return text.String()
}
