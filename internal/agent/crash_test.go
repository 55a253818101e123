package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// mortal is one process between the agent and the world. It dies at its nth call,
// before or after the effect; from then on it does nothing any more. With lands, a
// create that was not answered takes effect so much later.
type mortal struct {
	server  *server
	cluster *cluster
	at      int
	after   bool
	lands   time.Duration
	die     context.CancelFunc
	// unread says that this process may not read its namespace, granted that it may after
	// its start.
	unread, granted bool

	mu    sync.Mutex
	calls int
	dead  bool
	// killed is the call that the process died at, names are all of them.
	killed string
	names  []string
}

// errKilled is what the call gets that the process died at, errDead what others get.
var (
	errKilled = errors.New("the process was killed")
	errDead   = errors.New("the process is dead")
)

func (m *mortal) call(name string, effect func() error) error {
	dies, err := m.enter(name)
	if err == nil {
		err = effect()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case dies && !m.dead:
		m.dead, m.killed = true, name
		m.die()
		return errKilled
	case m.dead:
		return errDead
	}
	return err
}

// enter counts a call. dies says that it is the one that the process dies at, and an
// error that it has no effect.
func (m *mortal) enter(name string) (dies bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	m.names = append(m.names, name)
	dies = m.calls == m.at
	if m.dead || dies && !m.after {
		err = errDead
	}
	return dies, err
}

func ask[T any](m *mortal, name string, effect func() (T, error)) (got T, err error) {
	err = m.call(name, func() error { got, err = effect(); return err })
	return got, err
}

func (m *mortal) TenantID() string                                     { return "" }
func (m *mortal) Refresh(context.Context, prefect1.Registration) error { return nil }

func (m *mortal) Settings() prefect1.Settings { return prefect1.Settings{} }
func (m *mortal) Lives(id string) bool        { return m.cluster.Lives(id) }

func (m *mortal) Connect(ctx context.Context, r prefect1.Registration) error {
	return m.call("connect", func() error { return m.server.Connect(ctx, r) })
}

func (m *mortal) RunsInQueue(ctx context.Context, before time.Time, labels []string) ([]flowrun.ID, error) {
	return ask(m, "queue", func() ([]flowrun.ID, error) { return m.server.RunsInQueue(ctx, before, labels) })
}

func (m *mortal) Overdue(ctx context.Context, before time.Time, labels []string) ([]flowrun.ID, error) {
	return ask(m, "overdue", func() ([]flowrun.ID, error) { return m.server.Overdue(ctx, before, labels) })
}

func (m *mortal) Claims(ctx context.Context, after flowrun.ID) ([]prefect1.Claim, error) {
	return ask(m, "claims", func() ([]prefect1.Claim, error) { return m.server.Claims(ctx, after) })
}

func (m *mortal) FlowRuns(ctx context.Context, ids []flowrun.ID, now time.Time) ([]prefect1.FlowRun, error) {
	return ask(m, "offers", func() ([]prefect1.FlowRun, error) { return m.server.FlowRuns(ctx, ids, now) })
}

func (m *mortal) FlowRunsByID(ctx context.Context, ids []flowrun.ID) ([]prefect1.FlowRun, error) {
	return ask(m, "claimed runs", func() ([]prefect1.FlowRun, error) { return m.server.FlowRunsByID(ctx, ids) })
}

func (m *mortal) Snapshots(ctx context.Context, ids []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error) {
	return ask(m, "verify", func() (map[flowrun.ID]flowrun.Snapshot, error) { return m.server.Snapshots(ctx, ids) })
}

func (m *mortal) SetStates(ctx context.Context, writes []flowrun.Write) error {
	return m.call("set "+writes[0].Mark.Kind.String(), func() error { return m.server.SetStates(ctx, writes) })
}

func (m *mortal) WriteLogs(ctx context.Context, logs []flowrun.Log) error {
	return m.call("log", func() error { return m.server.WriteLogs(ctx, logs) })
}

func (m *mortal) Place(ctx context.Context, namespace string) (uid, digest string, err error) {
	err = m.call("place", func() error { uid, digest, err = m.cluster.Place(ctx, namespace); return err })
	if m.unread && !m.granted {
		uid = ""
	}
	return uid, digest, err
}

func (m *mortal) Jobs(ctx context.Context, namespace, selector string) ([]batchv1.Job, error) {
	return ask(m, "jobs", func() ([]batchv1.Job, error) { return m.cluster.Jobs(ctx, namespace, selector) })
}

func (m *mortal) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	return ask(m, "pods", func() ([]corev1.Pod, error) { return m.cluster.Pods(ctx, namespace, selector) })
}

func (m *mortal) Submit(ctx context.Context, job *batchv1.Job) (found *batchv1.Job, created bool, err error) {
	err = m.call("create", func() error { found, created, err = m.cluster.Submit(ctx, job); return err })
	if m.lands > 0 && errors.Is(err, errKilled) && !m.after {
		m.cluster.group.Go(func() { time.Sleep(m.lands); _, _, _ = m.cluster.Submit(ctx, job) })
	}
	return found, created, err
}

// live runs one agent until the context ends or it dies.
func (m *mortal) live(ctx context.Context, t *testing.T, id string) {
	t.Helper()
	ctx, m.die = context.WithCancel(ctx)
	defer m.die()
	log := slog.New(slog.DiscardHandler)
	place := placeOf(m.cluster.place)
	if m.unread {
		place.UID = ""
	}
	a, err := New(Config{
		Registration: prefect1.Registration{Name: "agent"}, ID: id, Place: place, Namespace: "n",
		MaxPolls: -1, MaxPollInterval: time.Second, SendLogs: true, Sweeping: sweepsCalm, Logger: log,
	}, m, m, m, m, calm{}, jobspec.Settings{Namespace: "n", API: "http://localhost:4200"}, dispatch.Config{
		Settle: dispatch.Settle, Slots: 8, Logger: log,
	})
	if err != nil {
		t.Error(err)
		return
	}
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
}

// night is what happens to some runs while processes die.
type night struct {
	seed uint64
	// at and after say where the first process dies; 0 means never.
	at    int
	after bool
	// lands is how late a create takes effect that the first process died at.
	lands time.Duration
	// again is where the one that follows it dies.
	again int
	// replica is whether a second process was there from the start.
	replica bool
	// elsewhere is whether another process takes the same runs for another place, and
	// there where it dies, to be started again; 0 means never.
	elsewhere bool
	there     int
	// rerun makes a person start a run again at any moment of the first minute.
	rerun bool
	// slow is how long a state write may be on its way.
	slow time.Duration
	// first, next and second say that this process of the first place may not read its
	// namespace: the one that dies, those that follow it, the replica.
	first, next, second bool
}

// pass lets a night pass and returns the call that the first process died at.
func (n night) pass(t *testing.T, what string) (killed string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(n.seed, 2)
		s.slow += n.slow
		c, other := newCluster(s, "p"), newCluster(s, "q")
		c.processes, other.processes = true, true
		first := &mortal{server: s, cluster: c, at: n.at, after: n.after, lands: n.lands, unread: n.first}
		var group sync.WaitGroup
		if n.replica {
			group.Go(func() { (&mortal{server: s, cluster: c, unread: n.second}).live(deadline(t), t, "b") })
		}
		if n.elsewhere {
			group.Go(func() {
				ctx := deadline(t)
				(&mortal{server: s, cluster: other, at: n.there, after: n.after}).live(ctx, t, "e")
				(&mortal{server: s, cluster: other}).live(ctx, t, "f")
			})
			group.Go(func() { s.reap(deadline(t), other) })
		}
		if n.rerun {
			group.Go(func() { s.delay(time.Minute); s.set("run-0", flowrun.Scheduled) })
		}
		ctx := deadline(t)
		group.Go(func() { s.reap(ctx, c) })
		first.live(ctx, t, "a")
		killed = first.killed
		if n.at > 0 && !n.replica {
			(&mortal{server: s, cluster: c, at: n.again, after: n.after, unread: n.next}).live(ctx, t, "c")
			if n.again > 0 {
				(&mortal{server: s, cluster: c, unread: n.next}).live(ctx, t, "d")
			}
		}
		group.Wait()
		c.group.Wait()
		other.group.Wait()
		s.check(t, what)
	})
	return killed
}

// deadline is the end of a night.
func deadline(t *testing.T, night ...time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), append(night, 10*time.Minute)[0])
	t.Cleanup(cancel)
	return ctx
}

// A process may be killed before or after any of its calls: each run gets one Job
// and ends, by the next process or by one that was there (D-16).
func TestKilledAtAnyCall(t *testing.T) {
	t.Parallel()
	const calls = 40 // until both runs are started and the next sweep is done
	seen := map[string]bool{}
	for at := 1; at <= calls; at++ {
		for _, n := range []night{{at: at}, {at: at, after: true}, {at: at, replica: true}, {at: at, after: true, replica: true}, {at: at, first: true}, {at: at, next: true}, {at: at, replica: true, second: true}} {
			n.seed = uint64(at)
			what := fmt.Sprintf("%+v", n)
			killed := n.pass(t, what)
			seen[killed] = true
		}
	}
	for _, name := range []string{"connect", "queue", "offers", "place", "set claim", "verify", "create", "log", "claims"} {
		if !seen[name] {
			t.Errorf("no process was killed at %q, only at %q", name, slices.Sorted(maps.Keys(seen)))
		}
	}
}

// nightOf is what comes together in the night of a seed: processes that die one after
// the other, a replica, another place, a person who starts a run again, state writes
// that take a minute.
func nightOf(seed uint64) night {
	r := rand.New(rand.NewPCG(seed, 1))
	return night{
		seed: seed, at: r.IntN(60), again: 1 + r.IntN(200), after: r.IntN(2) == 0,
		lands:   []time.Duration{0, 10 * time.Second, 25 * time.Second}[r.IntN(3)],
		replica: r.IntN(2) == 0, elsewhere: r.IntN(2) == 0, there: r.IntN(60), rerun: r.IntN(2) == 0,
		slow:  []time.Duration{0, 20 * time.Second, time.Minute}[r.IntN(3)],
		first: r.IntN(2) == 0, next: r.IntN(2) == 0, second: r.IntN(2) == 0,
	}
}

// Whatever happens in a night, each attempt gets one Job, each run has one live Pod at
// a time, and each ends.
func TestNights(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		n := nightOf(seed)
		n.pass(t, fmt.Sprintf("%+v", n))
	}
}

// FuzzNights looks for a worse night.
func FuzzNights(f *testing.F) {
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) {
		n := nightOf(seed)
		n.pass(t, fmt.Sprintf("%+v", n))
	})
}
