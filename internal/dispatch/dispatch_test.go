package dispatch_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	offer   = dispatch.Offer[string]
	outcome = dispatch.Outcome[string]
)

// world is Prefect and Kubernetes as one start sees them; it writes down what
// happened and when, in seconds since the test began.
type world struct {
	mu    sync.Mutex
	began time.Time
	log   []string

	buildErr  error
	builds    map[flowrun.ID]time.Duration // how long each takes
	claimErr  error
	lost      map[flowrun.ID]bool // the claim does not hold
	cancelled map[flowrun.ID]bool // no longer offered when read again
	verify    func(ctx context.Context) error
	submit    func(ctx context.Context, job *batchv1.Job) (*batchv1.Job, bool, error)
	outcomes  []outcome
	// warnings is the number of log lines of that level and above.
	warnings int
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%gs ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) Build(ctx context.Context, o offer) (*batchv1.Job, []string, error) {
	if takes := w.builds[o.ID]; takes > 0 {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(takes):
		}
	}
	if w.buildErr != nil {
		return nil, nil, w.buildErr
	}
	return jobOf(o), nil, nil
}

func jobOf(o offer) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name:        flowrun.JobName("", o.ID, o.Attempt),
		Labels:      map[string]string{flowrun.LabelFlowRunID: string(o.ID)},
		Annotations: map[string]string{flowrun.AnnotationAttempt: o.Attempt},
	}}
}

func (w *world) Refresh(_ context.Context, offers []offer) ([]offer, error) {
	w.note("refresh %v", idsOf(offers))
	now := time.Now()
	fresh := slices.DeleteFunc(slices.Clone(offers), func(o offer) bool { return w.cancelled[o.ID] })
	for i := range fresh {
		fresh[i].Read = now
	}
	return fresh, nil
}

func (w *world) Claim(_ context.Context, offers []offer, _ []string) error {
	w.note("claim %v", idsOf(offers))
	return w.claimErr
}

func (w *world) Verify(ctx context.Context, offers []offer) (map[flowrun.ID]bool, error) {
	if w.verify != nil {
		if err := w.verify(ctx); err != nil {
			return nil, err
		}
	}
	w.note("verify %v", idsOf(offers))
	holds := map[flowrun.ID]bool{}
	for _, o := range offers {
		holds[o.ID] = !w.lost[o.ID]
	}
	return holds, nil
}

func (w *world) Refused(_ context.Context, o offer, err error) { w.note("refused %s: %v", o.ID, err) }

func (w *world) Report(_ context.Context, outcomes []outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, outcomes...)
}

func (w *world) Submit(ctx context.Context, job *batchv1.Job) (*batchv1.Job, bool, error) {
	w.note("create %s", job.Labels[flowrun.LabelFlowRunID])
	if w.submit != nil {
		return w.submit(ctx, job)
	}
	return job, true, nil
}

func idsOf(offers []offer) []string {
	out := make([]string, len(offers))
	for i, o := range offers {
		out[i] = string(o.ID)
	}
	slices.Sort(out)
	return out
}

func offerIn(id flowrun.ID, start time.Duration) offer {
	now := time.Now()
	return offer{ID: id, Attempt: "v1", NeedsClaim: true, Start: now.Add(start), Read: now}
}

func run(t *testing.T, w *world, body func(ctx context.Context, d *dispatch.Dispatcher[string])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.began = time.Now()
		log := &orderly{}
		d, err := dispatch.New[string](dispatch.Config{Settle: dispatch.Settle, Slots: 4, Drain: time.Minute, Logger: slog.New(log)}, w, w)
		if err != nil {
			t.Fatal(err)
		}
		body(t.Context(), d)
		if err := d.Wait(); err != nil {
			t.Fatal(err)
		}
		if log.broken.Load() {
			t.Error("a start went from one phase to another that may not follow")
		}
		w.warnings = int(log.warnings.Load())
	})
}

// orderly notices phases out of order, and counts warnings.
type orderly struct {
	broken   atomic.Bool
	warnings atomic.Int64
}

func (*orderly) Enabled(context.Context, slog.Level) bool { return true }
func (o *orderly) WithAttrs([]slog.Attr) slog.Handler     { return o }
func (o *orderly) WithGroup(string) slog.Handler          { return o }
func (o *orderly) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "phase out of order" {
		o.broken.Store(true)
	}
	if r.Level >= slog.LevelWarn {
		o.warnings.Add(1)
	}
	return nil
}

func TestStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		world  *world
		offers func() []offer
		want   []string
	}{
		{
			name:   "due runs share one claim, and their creates follow the settled verification",
			offers: func() []offer { return []offer{offerIn("a", 0), offerIn("b", -time.Hour)} },
			want:   []string{"0s claim [a b]", "1s verify [a b]", "1s create a", "1s create b"},
		},
		{
			name:   "a prefetched run is read again, claimed the settling time ahead, and created on time",
			offers: func() []offer { return []offer{offerIn("a", 8*time.Second)} },
			want:   []string{"7s refresh [a]", "7s claim [a]", "8s verify [a]", "8s create a"},
		},
		{
			name:   "a run due within the settling time is not created before its time",
			offers: func() []offer { return []offer{offerIn("a", 500*time.Millisecond)} },
			want:   []string{"0s claim [a]", "1s verify [a]", "1s create a"},
		},
		{
			name:   "a prefetched run that was cancelled meanwhile is never claimed",
			world:  &world{cancelled: map[flowrun.ID]bool{"a": true}},
			offers: func() []offer { return []offer{offerIn("a", 8*time.Second)} },
			want:   []string{"7s refresh [a]"},
		},
		{
			name:   "a claim that does not hold creates nothing",
			world:  &world{lost: map[flowrun.ID]bool{"a": true}},
			offers: func() []offer { return []offer{offerIn("a", 0), offerIn("b", 0)} },
			want:   []string{"0s claim [a b]", "1s verify [a b]", "1s create b"},
		},
		{
			name:   "an unknown answer to the claim is no evidence: what counts decides",
			world:  &world{claimErr: errors.New("connection reset")},
			offers: func() []offer { return []offer{offerIn("a", 0)} },
			want:   []string{"0s claim [a]", "1s verify [a]", "1s create a"},
		},
		{
			name: "a running run with due retries needs no claim",
			offers: func() []offer {
				return []offer{{ID: "a", Attempt: "uid", Read: time.Now()}}
			},
			want: []string{"0s create a"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := cmp.Or(tt.world, &world{})
			run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) { d.Start(ctx, tt.offers()) })
			slices.Sort(w.log)
			slices.Sort(tt.want)
			if diff := gocmp.Diff(tt.want, w.log); diff != "" {
				t.Errorf("what happened (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOneStartPerRunAtATime(t *testing.T) {
	t.Parallel()
	w := &world{}
	run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) {
		d.Start(ctx, []offer{offerIn("a", 0)})
		if !d.InFlight("a") {
			t.Error("a claimed run is not in flight")
		}
		d.Start(ctx, []offer{offerIn("a", 0)})
		if err := d.Wait(); err != nil {
			t.Error(err)
		}
		if d.InFlight("a") {
			t.Error("an ended start is still in flight")
		}
	})
	if diff := gocmp.Diff([]string{"0s claim [a]", "1s verify [a]", "1s create a"}, w.log); diff != "" {
		t.Errorf("what happened (-want +got):\n%s", diff)
	}
}

// What could not become a Job in time is not claimed: the next poll takes it.
func TestNothingIsClaimedInVain(t *testing.T) {
	t.Parallel()
	t.Run("no slot free", func(t *testing.T) {
		t.Parallel()
		w := &world{}
		run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) {
			taken := d.Start(ctx, []offer{offerIn("a", 0), offerIn("b", 0), offerIn("c", 0), offerIn("d", 0), offerIn("e", 0)})
			if taken != 4 || d.InFlight("e") {
				t.Errorf("%d are taken with four slots; the fifth is kept: %v", taken, d.InFlight("e"))
			}
		})
		if len(w.outcomes) != 4 || !slices.Contains(w.log, "0s claim [a b c d]") {
			t.Errorf("with four slots: %q", w.log)
		}
	})
	t.Run("read too long ago", func(t *testing.T) {
		t.Parallel()
		w := &world{}
		run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) {
			old := offerIn("a", 0)
			old.Read = old.Read.Add(-dispatch.ClaimWithin - time.Second)
			d.Start(ctx, []offer{old})
		})
		if len(w.log) != 0 {
			t.Errorf("a stale offer was acted on: %q", w.log)
		}
	})
}

// A server that answers no create keeps no other create from being sent.
func TestSlowCreatesHoldUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const runs = 200
		w := &world{began: time.Now()}
		var latest time.Duration
		w.submit = func(_ context.Context, job *batchv1.Job) (*batchv1.Job, bool, error) {
			w.mu.Lock()
			latest = max(latest, time.Since(w.began))
			w.mu.Unlock()
			time.Sleep(10 * time.Second)
			return job, true, nil
		}
		d, err := dispatch.New[string](dispatch.Config{Settle: dispatch.Settle, Slots: runs, Drain: time.Minute, Logger: slog.New(slog.DiscardHandler)}, w, w)
		if err != nil {
			t.Fatal(err)
		}
		var offers []offer
		for i := range runs {
			offers = append(offers, offerIn(flowrun.ID(strconv.Itoa(i)), 0))
		}
		d.Start(t.Context(), offers)
		if err := d.Wait(); err != nil {
			t.Fatal(err)
		}
		if len(w.outcomes) != runs || latest > 3*time.Second {
			t.Errorf("%d of %d runs have a Job, the last create was sent after %v", len(w.outcomes), runs, latest)
		}
	})
}

// Stopping finishes what is claimed and drops what is not (D-13).
func TestStopping(t *testing.T) {
	t.Parallel()
	w := &world{}
	run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) {
		ctx, cancel := context.WithCancel(ctx)
		d.Start(ctx, []offer{offerIn("claimed", 0), offerIn("waiting", 8*time.Second)})
		cancel()
	})
	if diff := gocmp.Diff([]string{"0s claim [claimed]", "1s verify [claimed]", "1s create claimed"}, w.log); diff != "" {
		t.Errorf("what happened (-want +got):\n%s", diff)
	}
}

// A read may be acted on for the length of the fence and no longer.
func TestFence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		slow   time.Duration
		create bool
	}{
		{"inside", flowrun.Fence - 2*time.Second, true},
		{"outside", flowrun.Fence + time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &world{verify: func(context.Context) error { time.Sleep(tt.slow); return nil }}
			var deadline time.Time
			w.submit = func(ctx context.Context, job *batchv1.Job) (*batchv1.Job, bool, error) {
				deadline, _ = ctx.Deadline()
				return job, true, nil
			}
			run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) { d.Start(ctx, []offer{offerIn("a", 0)}) })
			if got := len(w.outcomes) == 1; got != tt.create {
				t.Errorf("created is %v, want %v", got, tt.create)
			}
			if tt.create && deadline.Sub(w.began) != flowrun.Fence {
				t.Errorf("the create may take until %v after the read, want %v", deadline.Sub(w.began), flowrun.Fence)
			}
		})
	}
}

type lastingError struct{ temporaryError }

func (lastingError) Lasts() bool { return true }

// A refusal that repeats is told, and tried on until the fence; what was said last is
// known to whoever ends the run.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := &world{}
	w.submit = func(ctx context.Context, _ *batchv1.Job) (*batchv1.Job, bool, error) {
		select {
		case <-ctx.Done():
			return nil, false, temporaryError{errors.New("500 again")}
		case <-time.After(10 * time.Second):
			return nil, false, lastingError{temporaryError{errors.New("500")}}
		}
	}
	run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) { d.Start(ctx, []offer{offerIn("a", 0)}) })
	want := []string{"0s claim [a]", "1s verify [a]", "1s create a", "11s refused a: 500", "11s create a", "21s refused a: 500", "21s create a"}
	if diff := gocmp.Diff(want, w.log); diff != "" {
		t.Errorf("what happened (-want +got):\n%s", diff)
	}
	if len(w.outcomes) != 1 || w.outcomes[0].Phase != dispatch.Dropped || w.outcomes[0].Err.Error() != "500 again" {
		t.Errorf("got %+v, want the last refusal", w.outcomes)
	}
}

type temporaryError struct{ error }

func (temporaryError) Temporary() bool { return true }

func TestAnswers(t *testing.T) {
	t.Parallel()
	foreign := jobOf(offer{ID: "other", Attempt: "v1"})
	earlier := jobOf(offer{ID: "a", Attempt: "v0"})
	ours := jobOf(offer{ID: "a", Attempt: "v1"})
	ending := ours.DeepCopy()
	ending.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	for _, tt := range []struct {
		name  string
		found *batchv1.Job
		made  bool
		build error
		err   error
		want  dispatch.Phase
	}{
		{"created", ours, true, nil, nil, dispatch.Submitted},
		{"exists and is ours", ours, false, nil, nil, dispatch.Submitted},
		{"exists and belongs to another run", foreign, false, nil, nil, dispatch.Aborted},
		{"exists and belongs to another attempt", earlier, false, nil, nil, dispatch.Aborted},
		{"ours is being deleted", ending, false, nil, nil, dispatch.Dropped},
		{"refused", nil, false, nil, errors.New("admission webhook denied"), dispatch.Aborted},
		{"cluster away", nil, false, nil, temporaryError{errors.New("connection refused")}, dispatch.Dropped},
		{"not buildable", nil, false, errors.New("no image"), nil, dispatch.Aborted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &world{buildErr: tt.build, submit: func(context.Context, *batchv1.Job) (*batchv1.Job, bool, error) {
				return tt.found, tt.made, tt.err
			}}
			run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) { d.Start(ctx, []offer{offerIn("a", 0)}) })
			got := dispatch.Dropped
			if len(w.outcomes) == 1 {
				got = w.outcomes[0].Phase
			}
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			// A claimed run without a Job is nothing to be silent about.
			if said := w.warnings > 0; said != (tt.want != dispatch.Submitted) {
				t.Errorf("a warning was logged: %v, and the start ended as %v", said, tt.want)
			}
		})
	}
}
