// Package dispatch takes due flow runs through their phases: wait, build, claim,
// verify, submit, report. It knows the order of these steps, what may run at the
// same time, and how long a read may be acted on. How to ask Prefect, how to claim
// and how to build a Job is the Launcher's business; how a Job is created is the
// Submitter's.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// Offer is what the Prefect API says may be started. T is what the Launcher needs
// to remember of the flow run.
type Offer[T any] struct {
	ID   flowrun.ID
	Name string
	// Attempt is the identity of the start; two readers of the same offer
	// compute the same.
	Attempt string
	// NeedsClaim is false for a Running run with due retries.
	NeedsClaim bool
	// Start is the earliest moment for the create.
	Start time.Time
	// Read is when the read of the offer was sent; the fence counts from it.
	Read time.Time
	Run  T
}

// Outcome is how a start ended.
type Outcome[T any] struct {
	Offer Offer[T]
	Phase Phase
	Job   string
	// Err says why a start was aborted, or dropped after its claim.
	Err error
	// Notes are what the run's author should know of the Job.
	Notes []string
}

// Launcher knows one generation of Prefect.
type Launcher[T any] interface {
	// Build makes the Job under its final name, until ctx ends, with notes for the
	// run's author. What it may wait for is foreign, so it runs beside everything else.
	// An error is the run's fault, which fails it, unless it is a *NotNowError.
	Build(ctx context.Context, o Offer[T]) (job *batchv1.Job, notes []string, err error)
	// Refresh reads offers again and returns those that still stand.
	Refresh(ctx context.Context, offers []Offer[T]) ([]Offer[T], error)
	// Claim writes, in one call, that these runs are taken by the named Jobs. An
	// error is no evidence that nothing was written.
	Claim(ctx context.Context, offers []Offer[T], jobs []string) error
	// Verify reads which of the claims hold; the others are somebody else's.
	Verify(ctx context.Context, offers []Offer[T]) (map[flowrun.ID]bool, error)
	// Refused tells the run's owner, once, that the cluster goes on refusing its Job. It
	// is tried on.
	Refused(ctx context.Context, o Offer[T], err error)
	// Report tells Prefect what became of the starts. It must not fail them.
	Report(ctx context.Context, outcomes []Outcome[T])
}

// Submitter creates Jobs. On AlreadyExists it returns the Job that is there, with
// created false. It retries what may heal until the context ends, or until it got the
// same answer for long: then its error has a method Lasts that says so.
type Submitter interface {
	Submit(ctx context.Context, job *batchv1.Job) (inCluster *batchv1.Job, created bool, err error)
}

// Config are the fixed facts of a Dispatcher.
type Config struct {
	// Settle is how long after the answer to a claim its verification starts, so
	// that a slower writer's row of the same version is visible. Zero where the
	// server locks versions or nobody else takes these labels.
	Settle time.Duration
	// Slots is how many starts may be between their claim and the answer to their
	// create. Nothing is claimed without a slot, so that no claimed run waits for
	// another's create.
	Slots int
	// Drain bounds what happens to claimed runs after the context has ended.
	Drain  time.Duration
	Logger *slog.Logger
}

// An API server does most when about so many creates are under way at once. It is
// a matter of pace only: whoever has waited for a second goes on without a permit,
// so that a slow server keeps no claimed run waiting for another's create.
const (
	evenly   = 48
	patience = time.Second
)

// ClaimWithin is how old a read of an offer may be when its claim is sent: half the
// fence, so that the rest of it is left for settling, verification and create.
const ClaimWithin = flowrun.Fence / 2

// Settle is the time that a server of Prefect 0.x or 1.x may need between reading
// a run's version and inserting the next state.
const Settle = time.Second

// Dispatcher starts flow runs. Its methods are safe for concurrent use.
type Dispatcher[T any] struct {
	c        Config
	launcher Launcher[T]
	cluster  Submitter
	builds   chan struct{}
	slots    chan struct{}
	permits  chan struct{}
	group    errgroup.Group

	mu       sync.Mutex
	inFlight map[flowrun.ID]struct{}
}

// New makes a Dispatcher. It starts nothing.
func New[T any](c Config, launcher Launcher[T], cluster Submitter) (*Dispatcher[T], error) {
	if launcher == nil || cluster == nil || c.Logger == nil {
		return nil, errors.New("dispatch: launcher, cluster and logger are required")
	}
	if c.Slots <= 0 {
		return nil, fmt.Errorf("dispatch: %d slots, want at least 1", c.Slots)
	}
	return &Dispatcher[T]{
		c: c, launcher: launcher, cluster: cluster,
		builds: make(chan struct{}, building), slots: make(chan struct{}, c.Slots), permits: make(chan struct{}, evenly), inFlight: map[flowrun.ID]struct{}{},
	}, nil
}

// InFlight reports whether a start of this run is under way in this process.
func (d *Dispatcher[T]) InFlight(id flowrun.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.inFlight[id]
	return ok
}

// Wait blocks until all starts under way have ended.
func (d *Dispatcher[T]) Wait() error { return d.group.Wait() }

// start is one start under way.
type start[T any] struct {
	offer Offer[T]
	phase Phase
	// order is its place among those that were given at once.
	order int
	job   *batchv1.Job
	notes []string
	err   error
	// refusal is the last answer to a create that may still succeed.
	refusal error
}

func (s *start[T]) name() string {
	if s.job == nil {
		return ""
	}
	return s.job.Name
}

// Start takes offers on. It returns once the claims of those that are due are
// written, so that the next poll does not see them again; the rest happens in the
// background, the claims of those whose Jobs are slow to build too. Offers of runs
// already under way are ignored. When ctx ends, what is not claimed yet is dropped and
// what is claimed is finished within Config.Drain.
// It returns how many it took on; the others must be offered again.
func (d *Dispatcher[T]) Start(ctx context.Context, offers []Offer[T]) (taken int) {
	due, later := split(d.admit(offers), time.Now().Add(d.c.Settle))
	for _, batch := range later {
		taken += len(batch)
		d.group.Go(func() error { d.wait(ctx, batch); return nil })
	}
	if len(due) == 0 {
		return taken
	}
	return taken + d.launch(ctx, due)
}

// admit marks offers as under way before anything else happens to them (D-23).
func (d *Dispatcher[T]) admit(offers []Offer[T]) []*start[T] {
	d.mu.Lock()
	defer d.mu.Unlock()
	var starts []*start[T]
	for _, o := range offers {
		if _, ok := d.inFlight[o.ID]; ok {
			continue
		}
		d.inFlight[o.ID] = struct{}{}
		starts = append(starts, &start[T]{offer: o})
	}
	return starts
}

func (d *Dispatcher[T]) release(starts []*start[T]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range starts {
		delete(d.inFlight, s.offer.ID)
	}
}

// occupy gives each start a slot. What gets none, or was read too long ago to be
// claimed, is left to the next poll.
func (d *Dispatcher[T]) occupy(ctx context.Context, starts []*start[T]) []*start[T] {
	var kept, late, full []*start[T]
	for _, s := range starts {
		if time.Since(s.offer.Read) > ClaimWithin {
			late = append(late, s)
			continue
		}
		select {
		case d.slots <- struct{}{}:
			d.enter(ctx, s, Built)
			kept = append(kept, s)
		default:
			full = append(full, s)
		}
	}
	d.drop(ctx, late, "read too long ago")
	d.drop(ctx, full, "no slot free")
	return kept
}

// together is how close start times must be to share one claim.
const together = 100 * time.Millisecond

// split parts starts into those due by the given time and batches of later ones.
func split[T any](starts []*start[T], by time.Time) (due []*start[T], later map[time.Time][]*start[T]) {
	later = map[time.Time][]*start[T]{}
	for _, s := range starts {
		if !s.offer.Start.After(by) {
			due = append(due, s)
			continue
		}
		slot := s.offer.Start.Truncate(together)
		later[slot] = append(later[slot], s)
	}
	return due, later
}

// wait holds a batch back until just before its time and reads it again: what was
// cancelled or rescheduled meanwhile must not be claimed (D-24).
func (d *Dispatcher[T]) wait(ctx context.Context, batch []*start[T]) {
	until := batch[0].offer.Start
	for _, s := range batch {
		d.enter(ctx, s, Waiting)
		if s.offer.Start.Before(until) {
			until = s.offer.Start
		}
	}
	if !sleep(ctx, time.Until(until.Add(-d.c.Settle))) {
		d.drop(ctx, batch, "stopping")
		return
	}
	offers := make([]Offer[T], len(batch))
	for i, s := range batch {
		offers[i] = s.offer
	}
	fresh, err := d.launcher.Refresh(ctx, offers)
	if err != nil {
		d.c.Logger.WarnContext(ctx, "reading prefetched flow runs again did not work, the next poll takes them", slog.Any("error", err))
		d.drop(ctx, batch, "not readable")
		return
	}
	if batch = d.still(ctx, batch, fresh); len(batch) > 0 {
		d.launch(ctx, batch)
	}
}

// still keeps those of a batch that are offered as before; a changed attempt or a
// later start is left to the next poll.
func (d *Dispatcher[T]) still(ctx context.Context, batch []*start[T], fresh []Offer[T]) []*start[T] {
	byID := make(map[flowrun.ID]Offer[T], len(fresh))
	for _, o := range fresh {
		byID[o.ID] = o
	}
	var kept, gone []*start[T]
	for _, s := range batch {
		o, ok := byID[s.offer.ID]
		if !ok || o.Attempt != s.offer.Attempt || o.Start.After(s.offer.Start) {
			gone = append(gone, s)
			continue
		}
		s.offer = o
		d.enter(ctx, s, Offered)
		kept = append(kept, s)
	}
	d.drop(ctx, gone, "no longer offered")
	return kept
}

// detach keeps ctx's values and lets what is under way outlive it for Config.Drain.
func (d *Dispatcher[T]) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d.c.Drain, cancel)
		context.AfterFunc(out, func() { timer.Stop() })
	})
	return out, func() { stop(); cancel() }
}

// sleep waits; it is false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
