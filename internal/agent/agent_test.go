package agent

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// later is an answer that names the time of the next request.
type later time.Duration

func (l later) Error() string        { return "status 429" }
func (l later) After() time.Duration { return time.Duration(l) }

// throttled refuses its first connections and polls so.
type throttled struct {
	*server
	after    later
	settings prefect1.Settings
	poke     chan struct{}
	connects []time.Time
	polls    []time.Time
	sweeps   []time.Time
	labels   []string
}

func (s *throttled) Connect(context.Context, prefect1.Registration) error {
	s.connects = append(s.connects, time.Now())
	if s.after != 0 && len(s.connects) < 3 {
		return s.after
	}
	return nil
}

func (s *throttled) Settings() prefect1.Settings { return s.settings }

func (s *throttled) RunsInQueue(_ context.Context, _ time.Time, labels []string) ([]flowrun.ID, error) {
	s.polls, s.labels = append(s.polls, time.Now()), labels
	if s.after != 0 {
		return nil, s.after
	}
	return nil, nil
}

func (s *throttled) Claims(context.Context, flowrun.ID) ([]prefect1.Claim, error) {
	s.sweeps = append(s.sweeps, time.Now())
	if s.after != 0 {
		return nil, s.after
	}
	return nil, nil
}

func (s *throttled) Overdue(context.Context, time.Time, []string) ([]flowrun.ID, error) {
	return nil, nil
}

func (s *throttled) FlowRuns(context.Context, []flowrun.ID, time.Time) ([]prefect1.FlowRun, error) {
	return nil, nil
}

func (s *throttled) run(t *testing.T, labels []string, job jobspec.Settings) *Agent {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	c := newCluster(s.server, "p")
	a, err := New(Config{
		Registration: prefect1.Registration{Name: "agent", Labels: labels}, ID: "a", Place: placeOf("p"), Namespace: "n",
		MaxPolls: 3, MaxPollInterval: time.Second, SendLogs: true, Sweeping: sweepsCalm, Logger: log, Poke: s.poke,
	}, s, c, c, c, calm{}, job, dispatch.Config{Slots: 1, Drain: time.Minute, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// A server that names the time of the next request gets none before it, unless a person
// pokes, and cannot stop the agent for good.
func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		asked, least, most time.Duration
		poke               bool
	}{
		{time.Second, time.Second, 10 * time.Second, false},
		{30 * time.Second, 30 * time.Second, 30 * time.Second, false},
		{24 * time.Hour, time.Minute, time.Minute, false},
		{-time.Hour, 0, 10 * time.Second, false},
		{time.Second, restless, restless, true},
		{time.Minute, restless, restless, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &throttled{after: later(c.asked)}
			if c.poke { // at any time
				s.poke = make(chan struct{})
				close(s.poke)
			}
			s.run(t, nil, jobspec.Settings{})
			for _, times := range [][]time.Time{s.connects, s.polls} {
				if len(times) != 3 {
					t.Fatalf("asked for %v: got requests at %v, want 3", c.asked, times)
				}
				checkPauses(t, times, c.least, c.most)
			}
			checkPauses(t, s.sweeps, min(c.asked, sweepsWait), max(sweepPause, min(c.most, sweepsWait)))
		})
	}
}

// Whoever pokes, and however often, polls stay apart.
func TestPokesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &throttled{poke: make(chan struct{})}
		close(s.poke)
		s.run(t, nil, jobspec.Settings{})
		checkPauses(t, s.polls, 200*time.Millisecond, 250*time.Millisecond)
	})
}

// strangers answers a poll with runs in states that no release knows.
type strangers struct {
	*throttled
	shown, counting flowrun.StateType
}

func (s *strangers) RunsInQueue(ctx context.Context, before time.Time, labels []string) ([]flowrun.ID, error) {
	_, err := s.throttled.RunsInQueue(ctx, before, labels)
	return []flowrun.ID{"run"}, err
}

func (s *strangers) FlowRuns(context.Context, []flowrun.ID, time.Time) ([]prefect1.FlowRun, error) {
	return []prefect1.FlowRun{{Name: "tabby-cat", Snapshot: flowrun.Snapshot{
		ID: "run", Version: 2, State: flowrun.State{Type: s.shown},
		History: []flowrun.Row{{Version: 1, State: flowrun.State{Type: flowrun.Scheduled}}, {Version: 2, State: flowrun.State{Type: s.counting}}},
	}}}, nil
}

// A state of a type nobody knows is told once, with run and type, and left alone.
func TestUnknownStatesAreToldOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shown, counting flowrun.StateType
		want            int
	}{
		{"Hibernating", "Hibernating", 1}, {"", "", 1}, {"running", "running", 1}, {flowrun.Scheduled, "Asleep", 1}, {flowrun.Paused, flowrun.Paused, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var text bytes.Buffer
			s := &strangers{throttled: &throttled{server: newServer(1, 0)}, shown: c.shown, counting: c.counting}
			there := newCluster(s.server, "p")
			a, err := New(Config{
				ID: "a", Place: placeOf("p"), Namespace: "n", MaxPolls: 3, MaxPollInterval: time.Second, Sweeping: sweepsCalm,
				Logger: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn})),
			}, s, there, there, there, calm{}, jobspec.Settings{}, dispatch.Config{Slots: 1, Drain: time.Minute, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			said := strings.Count(text.String(), "unknown type")
			if said != c.want || c.want == 1 && !strings.Contains(text.String(), "flow_run_id=run flow_run_name=tabby-cat state="+cmp.Or(string(c.counting), `""`)) || len(there.jobs) > 0 {
				t.Errorf("%s, %s: said %d times, want %d: %s", c.shown, c.counting, said, c.want, text.String())
			}
		})
	}
}

func checkPauses(t *testing.T, times []time.Time, least, most time.Duration) {
	t.Helper()
	for i := range len(times) - 1 {
		if pause := times[i+1].Sub(times[i]); pause < least || pause > most {
			t.Errorf("got a pause of %v, want between %v and %v", pause, least, most)
		}
	}
}

// The agent's config at the backend fills the gaps and overrides nothing (D-12).
func TestAgentConfigFillsGaps(t *testing.T) {
	t.Parallel()
	settings := prefect1.Settings{Labels: []string{"x"}, EnvVars: map[string]string{"A": "theirs", "B": "theirs"}}
	for name, c := range map[string]struct {
		labels     []string
		vars, want []jobspec.EnvVar
		wantLabels []string
	}{
		"nothing given": {nil, nil, []jobspec.EnvVar{{Name: "A", Value: "theirs"}, {Name: "B", Value: "theirs"}}, []string{"x"}},
		"some given":    {[]string{"own"}, []jobspec.EnvVar{{Name: "B", Value: ""}}, []jobspec.EnvVar{{Name: "B", Value: ""}, {Name: "A", Value: "theirs"}}, []string{"own"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &throttled{settings: settings}
			a := s.run(t, c.labels, jobspec.Settings{Labels: c.labels, EnvVars: c.vars})
			if diff := gocmp.Diff(c.want, a.launch.make.job.EnvVars); diff != "" {
				t.Errorf("%s: variables (-want +got):\n%s", name, diff)
			}
			if diff := gocmp.Diff(c.wantLabels, s.labels); diff != "" {
				t.Errorf("%s: labels of the poll (-want +got):\n%s", name, diff)
			}
			if diff := gocmp.Diff(c.wantLabels, a.launch.make.job.Labels); diff != "" {
				t.Errorf("%s: labels of Jobs (-want +got):\n%s", name, diff)
			}
		})
	}
}
