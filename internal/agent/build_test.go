package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// said keeps what a loop said of itself.
type said struct {
	mu     sync.Mutex
	reason string
	good   int
	last   time.Time
	pauses time.Duration
}

func (s *said) Progress() { s.note("", true) }

func (s *said) Fail(reason string) { s.note(reason, false) }

func (s *said) Wait(time.Duration) {}

func (s *said) note(reason string, good bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason = reason; good {
		s.good++
	}
	if !s.last.IsZero() {
		s.pauses = max(s.pauses, time.Since(s.last))
	}
	s.last = time.Now()
}

func (s *said) now() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// shop is an agent over a world, with templates and a credential.
type shop struct {
	server      *server
	cluster     *cluster
	poll, sweep said
	job         jobspec.Settings
	read        func(ctx context.Context, path string) ([]byte, error)
	credential  func() (string, error)
}

func (s *shop) run(ctx context.Context, t *testing.T) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s.job.Namespace, s.job.API = "n", "http://localhost:4200"
	a, err := New(Config{
		Registration: prefect1.Registration{Name: "agent"}, ID: "a", Place: placeOf("p"), Namespace: "n", MaxPolls: -1, MaxPollInterval: time.Second,
		SendLogs: true, Template: s.read, Credential: s.credential, Sweeping: func() Health { return &s.sweep }, Logger: log,
	}, s.server, s.cluster, s.cluster, s.cluster, &s.poll, s.job, dispatch.Config{Settle: dispatch.Settle, Slots: 8, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
}

func newShop(runs int) *shop {
	s := newServer(1, runs)
	s.configs = map[flowrun.ID]json.RawMessage{}
	return &shop{server: s, cluster: newCluster(s, "p")}
}

const (
	inline    = `{"type": "KubernetesRun", "job_template": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {"containers": []}}}}}`
	templated = `{"type": "KubernetesRun", "job_template_path": "https://host/%s"}`
	goodText  = "{apiVersion: batch/v1, kind: Job, spec: {template: {spec: {containers: []}}}}"
)

// trouble is what keeps all Jobs from being made for a minute.
type trouble struct {
	// template and credential are what is read meanwhile, if they are set.
	template   func(ctx context.Context) ([]byte, error)
	credential error
	want       string
	// all says that a run with its own template is kept too.
	all bool
}

func (c trouble) apply(s *shop) {
	began := time.Now()
	mended := func() bool { return time.Since(began) > time.Minute }
	if c.template != nil {
		s.job.AgentTemplatePath = "https://host/own"
		s.read = func(ctx context.Context, _ string) ([]byte, error) {
			if mended() {
				return []byte(goodText), nil
			}
			return c.template(ctx)
		}
	}
	s.credential = func() (string, error) {
		if mended() {
			return "", nil
		}
		return "", c.credential
	}
}

func (c trouble) check(t *testing.T) {
	s := newShop(2)
	s.server.configs["run-1"] = json.RawMessage(inline)
	c.apply(s)
	time.AfterFunc(50*time.Second, func() {
		if _, state := s.server.shown("run-0"); state != flowrun.Scheduled || s.cluster.has("run-0") {
			t.Errorf("a run that needs it is %s", state)
		}
		if s.cluster.has("run-1") == c.all {
			t.Errorf("a run with its own template has a Job: %v", !c.all)
		}
		if got := s.poll.now(); !strings.Contains(got, "no Job can be made") || !strings.Contains(got, c.want) {
			t.Errorf("health says %q, want %q", got, c.want)
		}
	})
	s.run(deadline(t, 2*time.Minute), t)
	if !s.cluster.has("run-0") || !s.cluster.has("run-1") || s.poll.good == 0 || s.poll.now() != "" {
		t.Errorf("not started once it was mended: %q", s.poll.now())
	}
}

// What would fail every run keeps the agent from being ready; no run is claimed that
// it would fail, and none that it would not is kept. It recovers by itself.
func TestWhatWouldFailEveryRunFailsNone(t *testing.T) {
	t.Parallel()
	text := func(text string, err error) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { return []byte(text), err }
	}
	late := errors.New("was not there after 10s")
	for name, c := range map[string]trouble{
		"the template cannot be read": {template: text("", errors.New("the server answers 400 Bad Request: Bucket is requester pays")), want: "requester pays"},
		"the template hangs": {template: func(ctx context.Context) ([]byte, error) {
			if !sleep(ctx, 10*time.Second) {
				return nil, ctx.Err()
			}
			return nil, late
		}, want: late.Error()},
		"the template is empty":         {template: text("", nil), want: "template"},
		"the template is no Job":        {template: text("spec: {template: {spec: {containers: [7]}}}", nil), want: "containers"},
		"the template is a page":        {template: text("<html>", nil), want: "template"},
		"the credential cannot be read": {credential: errors.New("/key: permission denied"), want: "permission denied", all: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, c.check)
		})
	}
}

// tenant is a server that gives an id that no Job can have.
type tenant struct{ *server }

func (tenant) TenantID() string { return "not-a-tenant" }

func TestATenantThatIsNoneFailsNoRun(t *testing.T) {
	t.Parallel()
	m := newMaker(Config{Logger: slog.New(slog.DiscardHandler)}, jobspec.Settings{Namespace: "n", API: "http://x", Credential: "key"}, tenant{}.TenantID)
	m.ready()
	run := plainRun(prefect1.FlowRun{})
	run.RunConfig = json.RawMessage(inline)
	_, _, err := m.build(t.Context(), Offer{ID: run.ID, Attempt: "v1", Run: Run{FlowRun: run}})
	if _, ok := errors.AsType[*dispatch.NotNowError](err); !ok || !strings.Contains(err.Error(), "is not a UUID") || !strings.Contains(m.missing(), "is not a UUID") {
		t.Errorf("got %v, and %q", err, m.missing())
	}
}

// A flow's own faults are still its own.
func TestAFaultOfARunFailsIt(t *testing.T) {
	t.Parallel()
	s := newShop(1)
	m := newMaker(Config{Logger: slog.New(slog.DiscardHandler), Template: func(context.Context, string) ([]byte, error) { return nil, errors.New("404") }},
		jobspec.Settings{Namespace: "n", API: "http://x"}, s.server.TenantID)
	for _, config := range []string{`{"type": "ECSRun"}`, fmt.Sprintf(templated, "x"), `{"type": "KubernetesRun", "cpu_limit": "lots"}`} {
		run := plainRun(prefect1.FlowRun{})
		run.RunConfig = json.RawMessage(config)
		_, _, err := m.build(t.Context(), Offer{ID: run.ID, Attempt: "v1", Run: Run{FlowRun: run}})
		if _, ok := errors.AsType[*dispatch.NotNowError](err); ok || err == nil {
			t.Errorf("%s: got %v, want an error of its own", config, err)
		}
	}
	run := plainRun(prefect1.FlowRun{})
	run.Flow.CoreVersion = "0.15.x-ours"
	_, _, err := m.build(t.Context(), Offer{ID: run.ID, Attempt: "v1", Run: Run{FlowRun: run}})
	if _, ok := errors.AsType[*dispatch.NotNowError](err); ok || err == nil || !strings.Contains(err.Error(), "core_version") {
		t.Errorf("got %v, want an error about its version", err)
	}
}

// busy is what a template is that was not even tried.
type busy struct{}

func (busy) Error() string { return "too many templates are being read" }
func (busy) Busy() bool    { return true }

// No run is failed for what is well again a moment later, nor for other runs' templates.
func TestAReadThatFailedForOthersFailsNoRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		job    jobspec.Settings
		err    error
	}{
		"the agent's template":     {`{"type": "KubernetesRun"}`, jobspec.Settings{AgentTemplatePath: "https://host/own"}, errors.New("503")},
		"that of its environments": {"", jobspec.Settings{EnvironmentTemplatePath: "https://host/own"}, errors.New("503")},
		"too many of others":       {fmt.Sprintf(templated, "x"), jobspec.Settings{}, busy{}},
	} {
		reads := 0
		c.job.Namespace, c.job.API = "n", "http://x"
		m := newMaker(Config{Logger: slog.New(slog.DiscardHandler), Template: func(context.Context, string) ([]byte, error) {
			if reads++; reads == 1 {
				return nil, c.err
			}
			return []byte(goodText), nil
		}}, c.job, newShop(1).server.TenantID)
		run := plainRun(prefect1.FlowRun{Flow: prefect1.Flow{Environment: json.RawMessage(`{}`)}})
		if c.config != "" {
			run = plainRun(prefect1.FlowRun{})
			run.RunConfig = json.RawMessage(c.config)
		}
		_, _, err := m.build(t.Context(), Offer{ID: run.ID, Attempt: "v1", Run: Run{FlowRun: run}})
		if _, ok := errors.AsType[*dispatch.NotNowError](err); !ok {
			t.Errorf("%s: got %v, want another try", name, err)
		}
	}
}

// A quick run behind a hundred whose templates are slow is started as if it were
// alone, although the queue shows the oldest 25; polls and sweeps go on meanwhile.
func TestAQuickRunBehindSlowOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(101)
		s.server.most = 25
		for i := range 100 {
			id := flowrun.ID(fmt.Sprintf("run-%d", i))
			s.server.configs[id] = json.RawMessage(fmt.Sprintf(templated, id))
		}
		s.server.runs["run-99-quick"] = s.server.runs["run-100"]
		delete(s.server.runs, "run-100")
		s.read = func(ctx context.Context, _ string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }
		time.AfterFunc(5*time.Second, func() {
			if !s.cluster.has("run-99-quick") {
				t.Error("the quick run has no Job after 5 s")
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		var stopped time.Time
		time.AfterFunc(2*time.Minute, func() { stopped = time.Now(); cancel() })
		s.run(ctx, t)
		if took := time.Since(stopped); took > time.Second {
			t.Errorf("a stop took %v", took)
		}
		if s.poll.pauses > 3*time.Second || s.sweep.pauses > 20*time.Second || s.poll.good < 60 || s.sweep.good < 5 {
			t.Errorf("polls %d, at most %v apart; sweeps %d, at most %v apart", s.poll.good, s.poll.pauses, s.sweep.good, s.sweep.pauses)
		}
		if n := len(s.cluster.jobs); n != 1 {
			t.Errorf("%d Jobs", n)
		}
	})
}

// An adopted run whose template is slow keeps no other from adoption.
func TestSlowTemplatesStopNoSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(4)
		for i := range 4 {
			id := flowrun.ID(fmt.Sprintf("run-%d", i))
			s.server.insert(id, 2, claimRow(2, "p").State)
			if i < 3 {
				s.server.configs[id] = json.RawMessage(fmt.Sprintf(templated, "x"))
			}
		}
		s.read = func(ctx context.Context, _ string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }
		s.run(deadline(t, 45*time.Second), t)
		if !s.cluster.has("run-3") || s.sweep.pauses > 20*time.Second {
			t.Errorf("adopted: %v, sweeps at most %v apart", s.cluster.has("run-3"), s.sweep.pauses)
		}
	})
}

// A credential that was renewed is in the next Job.
func TestJobsGetTheCredentialOfTheMoment(t *testing.T) {
	t.Parallel()
	key := "old"
	m := newMaker(Config{Logger: slog.New(slog.DiscardHandler), Credential: func() (string, error) { return key, nil }},
		jobspec.Settings{Namespace: "n", API: "http://x", Backend: "cloud", Credential: "at the start"}, func() string { return "" })
	for _, key = range []string{"old", "new"} {
		run := plainRun(prefect1.FlowRun{})
		job, _, err := m.build(t.Context(), Offer{ID: run.ID, Attempt: "v1", Run: Run{FlowRun: run}})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, v := range job.Spec.Template.Spec.Containers[0].Env {
			if v.Name == "PREFECT__CLOUD__API_KEY" {
				got = v.Value
			}
		}
		if got != key {
			t.Errorf("the Job has %q, want %q", got, key)
		}
	}
}
