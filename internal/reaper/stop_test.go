package reaper

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// The run is read again right before a Job that lives is stopped.
func TestARunThatWasStartedAgainIsNotStopped(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, isRunning)
		w.pod(1, corev1.PodRunning, runs())
		pass(20 * time.Minute)
		w.lock(func() {
			w.runs[number(1)] = append(w.runs[number(1)], foreign(6, flowrun.Cancelled))
			seen := 0
			w.afterRead = func() {
				// The second read finds it cancelled for long enough.
				if seen++; seen == 2 {
					w.runs[number(1)] = append(w.runs[number(1)], foreign(7, flowrun.Running))
				}
			}
		})
		pass(time.Hour)
		if got := w.halted(); len(got) != 0 {
			t.Errorf("got %q stopped", got)
		}
	})
}

// A process that does not end when its run is cancelled is ended (D-61). Its Job keeps
// its name until it is old enough.
func TestACancelledRunThatGoesOnIsStopped(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		for n := 1; n <= 2; n++ {
			w.run(n, isRunning)
			w.pod(n, corev1.PodRunning, runs())
		}
		w.lock(func() { w.runs[number(1)] = append(w.runs[number(1)], foreign(6, flowrun.Cancelled)) })
		pass(2 * time.Minute)
		if got := w.halted(); len(got) != 0 {
			t.Errorf("got %q stopped within the grace period", got)
		}
		pass(2 * time.Minute)
		if got := w.halted(); len(got) != 1 || got[0] != "job-1" || len(w.removed()) != 0 {
			t.Errorf("got %q stopped and %q deleted, want the Job of the cancelled run stopped", got, w.removed())
		}
		pass(10 * time.Minute)
		if got := w.removed(); len(got) != 1 || got[0] != "job-1" || w.wrote() != 0 {
			t.Errorf("got %q deleted and %d states written, want the stopped Job deleted", got, w.wrote())
		}
		asked := w.asked()
		pass(time.Hour)
		if got := w.asked() - asked; got > 61 {
			t.Errorf("got %d reads in an hour for a Job that runs, want one a minute", got)
		}
	})
}

// A person, or Prefect's Lazarus service, has the run started anew while its process
// lives: the Job before is stopped, and is said nothing of.
func TestTheJobBeforeARerunIsStopped(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		replica(t, w, func(p *Policy) { p.Agent = "other" })
		w.run(1, isRunning)
		w.pod(1, corev1.PodRunning, runs())
		pass(10 * time.Minute)
		w.lock(func() { w.runs[number(1)] = append(w.runs[number(1)], foreign(6, flowrun.Scheduled)) })
		pass(time.Minute + 5*time.Second)
		if got := w.halted(); len(got) != 1 {
			t.Fatalf("got %q stopped, want the Job before", got)
		}
		pass(time.Hour)
		if got := w.removed(); len(got) != 0 {
			t.Errorf("got %q deleted before the run has another Job", got)
		}
		w.lock(func() {
			w.runs[number(1)] = append(w.runs[number(1)], claim(7, "me", "here", "job-2"), foreign(8, flowrun.Running))
		})
		w.run(2, nil, func(j *batchv1.Job) {
			j.Labels[flowrun.LabelFlowRunID], j.Annotations[flowrun.AnnotationAttempt] = string(number(1)), "v6"
		})
		w.changed(string(number(1)))
		pass(time.Hour)
		if got := w.removed(); len(got) != 1 || got[0] != "job-1" || w.wrote() != 0 || w.lines() != 0 {
			t.Errorf("got %q deleted, %d states and %d lines written, want the Job before deleted and nothing said", got, w.wrote(), w.lines())
		}
	})
}

// unpatched is a world whose Role does not grant to stop Jobs, as those of the Python
// agents.
type unpatched struct{ *world }

func (unpatched) Stop(context.Context, string, string, string, string) error {
	return forbidden("jobs")
}

func TestWithoutTheRightToStopJobsAreDeleted(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]flowrun.Row{
		"cancelled": foreign(6, flowrun.Cancelled), "superseded": foreign(6, flowrun.Scheduled),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				replicaOver(t, w, unpatched{w}, slog.New(slog.DiscardHandler))
				w.run(1, append(isRunning[:1:1], row))
				w.pod(1, corev1.PodRunning, runs())
				pass(5 * time.Minute)
				if got := w.removed(); len(got) != 0 {
					t.Errorf("got %q deleted before it was five minutes old", got)
				}
				pass(time.Minute)
				if got := w.removed(); len(got) != 1 {
					t.Errorf("got %q deleted, want the Job", got)
				}
			})
		})
	}
}

// grantedAt is a world in which the right to stop is granted at some time.
type grantedAt struct {
	*world
	at time.Time
}

func (g grantedAt) Stop(ctx context.Context, namespace, name, uid, version string) error {
	if time.Now().Before(g.at) {
		return unpatched{g.world}.Stop(ctx, namespace, name, uid, version)
	}
	return g.world.Stop(ctx, namespace, name, uid, version)
}

// Where Jobs are never deleted, a rerun waits for the right to stop the old one, and no
// longer.
func TestARightThatIsGrantedLaterIsUsed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replicaOver(t, w, grantedAt{w, time.Now().Add(20 * time.Minute)}, slog.New(slog.DiscardHandler), func(p *Policy) { p.DeleteFinished = false })
		w.run(1, append(isRunning[:1:1], foreign(6, flowrun.Scheduled)))
		w.pod(1, corev1.PodRunning, runs())
		pass(20 * time.Minute)
		if got := append(w.halted(), w.removed()...); len(got) != 0 {
			t.Errorf("got %q stopped or deleted without the right", got)
		}
		pass(keepRecheck + time.Minute)
		if got := w.halted(); len(got) != 1 {
			t.Errorf("got %q stopped, want the Job", got)
		}
	})
}

// flaky is a world whose API server refuses the first two stops, as it does when the Job
// was changed meanwhile.
type flaky struct {
	*world
	left *atomic.Int32
}

func (f flaky) Stop(ctx context.Context, namespace, name, uid, version string) error {
	if f.left.Add(-1) >= 0 {
		return apierrors.NewConflict(batchv1.Resource("jobs"), name, errors.New("changed"))
	}
	return f.world.Stop(ctx, namespace, name, uid, version)
}

func TestAStopThatIsRefusedIsRepeated(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		left := &atomic.Int32{}
		left.Store(2)
		replicaOver(t, w, flaky{w, left}, slog.New(slog.DiscardHandler))
		w.run(1, append(isRunning[:1:1], foreign(6, flowrun.Scheduled)))
		w.pod(1, corev1.PodRunning, runs())
		pass(time.Minute + 10*time.Second)
		if got := w.halted(); len(got) != 1 {
			t.Errorf("got %q stopped, want the Job", got)
		}
	})
}

func TestAJobThatAPersonStopsFailsItsRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		replica(t, w)
		w.run(1, isRunning)
		w.pod(1, corev1.PodRunning, runs())
		pass(time.Minute)
		if err := w.Stop(t.Context(), "flows", "job-1", "uid-1", "7"); err != nil {
			t.Fatal(err)
		}
		pass(25 * time.Second)
		if got := w.standing(1); got != flowrun.Running {
			t.Errorf("got %s at the first look", got)
		}
		pass(15 * time.Second)
		if v := w.verdicts(1); len(v) != 1 || v[0].State.Message != `Kubernetes Error: Job "job-1" was stopped (parallelism 0)` {
			t.Errorf("got %+v", v)
		}
	})
}

// hanging is a cluster that answers nothing.
type hanging struct{ *world }

func (hanging) Jobs(ctx context.Context, _, _ string) ([]batchv1.Job, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hanging) Stop(ctx context.Context, _, _, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// pulse keeps the longest time without a sign of life.
type pulse struct {
	mu      sync.Mutex
	alive   time.Time
	longest time.Duration
}

func (p *pulse) Progress()   { p.Wait(0) }
func (p *pulse) Fail(string) { p.Wait(0) }
func (p *pulse) Wait(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest = max(p.longest, time.Since(p.alive))
	p.alive = time.Now().Add(d)
}

// A restart does not help against a cluster that hangs, whatever there is to do there.
func TestAClusterThatHangsIsNoLoopThatIsStuck(t *testing.T) {
	t.Parallel()
	for name, setUp := range map[string]func(w *world, n int){
		"reports": func(w *world, n int) {
			w.run(n, isRunning, failed)
			w.pod(n, corev1.PodFailed, endedWith(1, "Error"))
		},
		"stops": func(w *world, n int) {
			w.run(n, []flowrun.Row{foreign(5, flowrun.Running), foreign(6, flowrun.Cancelled)})
			w.pod(n, corev1.PodRunning, runs())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				p := &pulse{alive: time.Now()}
				w.health = p
				for n := range batch {
					setUp(w, n)
				}
				replicaOver(t, w, hanging{w}, slog.New(slog.DiscardHandler))
				pass(30 * time.Minute)
				if p.longest > time.Minute {
					t.Errorf("no sign of life for %v", p.longest)
				}
			})
		})
	}
}
