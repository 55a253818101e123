package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server behaves as the servers of Prefect 0.x and 1.x do: it reads a run's
// version, and inserts the next row some time after, so that two writers at once
// leave two rows of one version. Nothing it does is conditional.
type server struct {
	mu   sync.Mutex
	rand *rand.Rand
	runs map[flowrun.ID]*simRun
}

type simRun struct {
	version int
	shown   flowrun.StateType
	history []flowrun.Row
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
	run.history = append(run.history, flowrun.Row{Version: version, State: state})
	if version >= run.version {
		run.version, run.shown = version, state.Type
	}
}

func (s *server) TenantID() string { return "" }

func (s *server) Settings() prefect1.Settings { return prefect1.Settings{} }

func (s *server) Connect(context.Context, prefect1.Registration) error { return nil }

func (s *server) RunsInQueue(context.Context, time.Time, []string) ([]flowrun.ID, error) {
	s.delay(300 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []flowrun.ID
	for id, run := range s.runs {
		if run.shown == flowrun.Scheduled {
			out = append(out, id)
		}
	}
	return out, nil
}

func (s *server) FlowRuns(ctx context.Context, ids []flowrun.ID, _ time.Time) ([]prefect1.FlowRun, error) {
	snapshots, err := s.Snapshots(ctx, ids)
	var out []prefect1.FlowRun
	for _, snapshot := range snapshots {
		if snapshot.State.Type != flowrun.Scheduled {
			continue
		}
		out = append(out, prefect1.FlowRun{
			Snapshot: snapshot,
			Flow:     prefect1.Flow{ID: "f", Name: "f", CoreVersion: "1.4.1", Storage: json.RawMessage(`{"type":"Docker","image_name":"i","image_tag":"t"}`)},
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
			s.delay(300 * time.Millisecond)
			s.mu.Lock()
			version := s.runs[w.FlowRunID].version
			s.mu.Unlock()
			s.delay(dispatch.Settle - time.Millisecond)
			s.insert(w.FlowRunID, version+1, flowrun.State{Type: w.Type, Message: w.Message, Mark: w.Mark})
			return nil
		})
	}
	return group.Wait()
}

func (s *server) WriteLogs(context.Context, []flowrun.Log) error { return nil }

// cluster holds the Jobs of one place.
type cluster struct {
	server *server
	place  string
	mu     sync.Mutex
	jobs   map[string]*batchv1.Job
}

func (c *cluster) Submit(_ context.Context, job *batchv1.Job) (*batchv1.Job, bool, error) {
	c.server.delay(300 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.jobs[job.Name]; ok {
		return found, false, nil
	}
	c.jobs[job.Name] = job
	return job, true, nil
}

func (c *cluster) Place(context.Context, string) (string, error)               { return c.place, nil }
func (c *cluster) Jobs(context.Context, string, string) ([]batchv1.Job, error) { return nil, nil }
func (c *cluster) Pods(context.Context, string, string) ([]corev1.Pod, error)  { return nil, nil }

type calm struct{}

func (calm) Progress()          {}
func (calm) Fail(string)        {}
func (calm) Wait(time.Duration) {}

// rules leave a part of the protocol out.
type rules struct {
	blind     bool // no verification read
	unsettled bool // the verification does not wait for slower writers
}

// race lets agents with the same labels, one for each place, take the same runs,
// and returns how many Jobs each run got in all places together.
func race(t *testing.T, seed uint64, places []string, r rules) map[flowrun.ID]int {
	t.Helper()
	jobs := map[flowrun.ID]int{}
	synctest.Test(t, func(t *testing.T) {
		s := &server{rand: rand.New(rand.NewPCG(seed, 0)), runs: map[flowrun.ID]*simRun{}}
		for i := range 5 {
			id := flowrun.ID(fmt.Sprintf("run-%d", i))
			s.runs[id] = &simRun{}
			s.insert(id, 1, flowrun.State{Type: flowrun.Scheduled})
		}
		clusters := map[string]*cluster{}
		var group errgroup.Group
		for i, place := range places {
			if clusters[place] == nil {
				clusters[place] = &cluster{server: s, place: place, jobs: map[string]*batchv1.Job{}}
			}
			a := newAgent(t, s, clusters[place], fmt.Sprintf("agent-%d", i), place, r)
			group.Go(func() error { return a.Run(t.Context()) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for id := range s.runs {
			jobs[id] = 0
		}
		for _, c := range clusters {
			for _, job := range c.jobs {
				jobs[flowrun.ID(job.Labels[flowrun.LabelFlowRunID])]++
			}
		}
	})
	return jobs
}

func newAgent(t *testing.T, s *server, c *cluster, id, place string, r rules) *Agent {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	var api API = s
	if r.blind {
		api = blindAPI{server: s, agent: id}
	}
	settle := dispatch.Settle
	if r.unsettled {
		settle = 0
	}
	a, err := New(Config{
		Registration: prefect1.Registration{Name: "agent"}, ID: id, Place: place, Namespace: "n",
		MaxPolls: 6, MaxPollInterval: time.Second, SendLogs: true, Logger: log,
	}, api, c, c, calm{}, jobspec.Settings{Namespace: "n", API: "http://localhost:4200"}, dispatch.Config{
		Settle: settle, Slots: 8, Drain: time.Minute, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// blindAPI shows an agent its own claims as if they always counted: what an agent
// without verification believes.
type blindAPI struct {
	*server
	agent string
}

func (b blindAPI) Snapshots(ctx context.Context, ids []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error) {
	out, err := b.server.Snapshots(ctx, ids)
	for id, snapshot := range out {
		own := slices.DeleteFunc(snapshot.History, func(r flowrun.Row) bool {
			return r.State.Mark.Kind != flowrun.Foreign && r.State.Mark.Agent != b.agent
		})
		snapshot.History = own
		out[id] = snapshot
	}
	return out, err
}

// Two agents that read the same offers start each run once, in one place and in two.
func TestOneJobPerAttempt(t *testing.T) {
	t.Parallel()
	for name, places := range map[string][]string{
		"one place": {"p", "p"}, "two places": {"p", "q"}, "three agents": {"p", "q", "p"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(150) {
				for id, n := range race(t, seed, places, rules{}) {
					if n != 1 {
						t.Fatalf("seed %d: %s has %d jobs, want 1", seed, id, n)
					}
				}
			}
		})
	}
}

// The same race with a rule left out: the test above would notice.
func TestRaceIsLostWithoutTheRules(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]rules{"verification": {blind: true}, "settling": {unsettled: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(150) {
				if slices.Max(slices.Collect(maps.Values(race(t, seed, []string{"p", "q"}, r)))) > 1 {
					return
				}
			}
			t.Error("no run was started twice without this rule: the race does not test it")
		})
	}
}
