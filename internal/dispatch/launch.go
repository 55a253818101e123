package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// claim writes the claims of starts in one call. It returns when the write was
// answered; zero if nothing needed a claim.
func (d *Dispatcher[T]) claim(ctx context.Context, ready []*start[T]) (answered time.Time) {
	var offers []Offer[T]
	var jobs []string
	for _, s := range ready {
		if ctx.Err() != nil {
			d.enter(ctx, s, Dropped)
			continue
		}
		if s.offer.NeedsClaim {
			offers, jobs = append(offers, s.offer), append(jobs, s.name())
		}
	}
	if len(offers) == 0 {
		return time.Time{}
	}
	// From here on stopping must not cut the path to the Job short (D-13).
	ctx, cancel := d.detach(ctx)
	defer cancel()
	if err := d.launcher.Claim(ctx, offers, jobs); err != nil {
		d.c.Logger.WarnContext(ctx, "claim not confirmed, reading what counts", slog.Any("error", err))
	}
	for _, s := range ready {
		if s.phase == Built && s.offer.NeedsClaim {
			d.enter(ctx, s, Claimed)
		}
	}
	return time.Now()
}

// finish verifies claims, submits what holds, and reports.
func (d *Dispatcher[T]) finish(ctx context.Context, starts []*start[T], answered time.Time) {
	defer d.release(starts)
	ctx, cancel := d.detach(ctx)
	defer cancel()
	d.verify(ctx, starts, answered)
	var group errgroup.Group
	for _, s := range starts {
		if s.phase.Final() {
			continue
		}
		group.Go(func() error { d.submit(ctx, s); return nil })
	}
	_ = group.Wait() // submit returns no error; its result is in the start
	for range starts {
		<-d.slots
	}
	d.report(ctx, starts)
}

func (d *Dispatcher[T]) verify(ctx context.Context, starts []*start[T], answered time.Time) {
	var offers []Offer[T]
	for _, s := range starts {
		if s.phase == Claimed {
			offers = append(offers, s.offer)
		}
	}
	if len(offers) == 0 {
		return
	}
	sleep(ctx, time.Until(answered.Add(d.c.Settle)))
	holds, err := d.verified(ctx, offers)
	if err != nil {
		// Claimed, perhaps ours, and no Job: adoption takes what is.
		d.c.Logger.WarnContext(ctx, "claims not readable within the fence, the next sweep takes their runs", slog.Any("error", err))
	}
	for _, s := range starts {
		if s.phase == Claimed && !holds[s.offer.ID] {
			d.enter(ctx, s, Dropped)
		}
	}
}

// verified reads until it succeeds or the fence of the oldest offer has passed.
func (d *Dispatcher[T]) verified(ctx context.Context, offers []Offer[T]) (map[flowrun.ID]bool, error) {
	end := fence(offers)
	for pause := 250 * time.Millisecond; ; pause *= 2 {
		holds, err := d.launcher.Verify(ctx, offers)
		if err == nil {
			return holds, nil
		}
		pause = max(pause, flowrun.Asked(err, flowrun.Fence))
		if time.Now().Add(pause).After(end) || !sleep(ctx, pause) {
			return nil, err
		}
	}
}

func fence[T any](offers []Offer[T]) time.Time {
	end := offers[0].Read.Add(flowrun.Fence)
	for _, o := range offers {
		if e := o.Read.Add(flowrun.Fence); e.Before(end) {
			end = e
		}
	}
	return end
}

// submit creates one Job, never before its time and never behind its fence.
func (d *Dispatcher[T]) submit(ctx context.Context, s *start[T]) {
	if s.err != nil {
		d.enter(ctx, s, Aborted)
		return
	}
	ctx, cancel := context.WithDeadline(ctx, s.offer.Read.Add(flowrun.Fence))
	defer cancel()
	if !sleep(ctx, time.Until(s.offer.Start)) {
		d.c.Logger.WarnContext(ctx, "create not sent within the fence, the next sweep takes the run", slog.String("flow_run_id", string(s.offer.ID)))
		d.enter(ctx, s, Dropped)
		return
	}
	defer d.pace(ctx)()
	found, created, err := d.cluster.Submit(ctx, s.job)
	for lasts(err) && ctx.Err() == nil {
		d.launcher.Refused(ctx, s.offer, err)
		found, created, err = d.cluster.Submit(ctx, s.job)
	}
	phase := s.settle(found, created, err)
	if phase == Dropped {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) { // else nobody said anything
			s.refusal = err
		}
		d.c.Logger.WarnContext(ctx, "job not created, the next sweep takes the run",
			slog.String("flow_run_id", string(s.offer.ID)), slog.String("job", s.name()), slog.Any("error", err))
	}
	d.enter(ctx, s, phase)
}

func lasts(err error) bool {
	var l interface{ Lasts() bool }
	return errors.As(err, &l) && l.Lasts()
}

// pace waits for a permit, for a bounded time, and returns how to give it back.
func (d *Dispatcher[T]) pace(ctx context.Context) (done func()) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case d.permits <- struct{}{}:
		return func() { <-d.permits }
	case <-timer.C:
	case <-ctx.Done():
	}
	return func() {}
}

// settle decides what the answer to a create means.
func (s *start[T]) settle(found *batchv1.Job, created bool, err error) Phase {
	switch {
	case err != nil && temporary(err):
		return Dropped // claimed without a Job: left to adoption, under the same name
	case err != nil:
		s.err = fmt.Errorf("create job %q: %w", s.job.Name, err)
		return Aborted
	case created:
		return Submitted
	case !s.owns(found):
		s.err = fmt.Errorf("job %q exists already and belongs to another flow run or attempt", s.job.Name)
		return Aborted
	case found.DeletionTimestamp != nil:
		return Dropped // the name is taken until its pods are gone; left to adoption
	}
	return Submitted
}

func (s *start[T]) owns(found *batchv1.Job) bool {
	return found.Labels[flowrun.LabelFlowRunID] == string(s.offer.ID) &&
		found.Annotations[flowrun.AnnotationAttempt] == s.offer.Attempt
}

// temporary asks the error, as package kube and the standard library mark theirs.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || (errors.As(err, &t) && t.Temporary())
}

func (d *Dispatcher[T]) report(ctx context.Context, starts []*start[T]) {
	var outcomes []Outcome[T]
	for _, s := range starts {
		if s.phase == Submitted || s.phase == Aborted || s.refusal != nil {
			outcomes = append(outcomes, Outcome[T]{Offer: s.offer, Phase: s.phase, Job: s.name(), Err: cmp.Or(s.err, s.refusal), Notes: s.notes})
		}
	}
	if len(outcomes) > 0 {
		d.launcher.Report(ctx, outcomes)
	}
}

func (d *Dispatcher[T]) drop(ctx context.Context, starts []*start[T], why string) {
	for _, s := range starts {
		d.c.Logger.DebugContext(ctx, "flow run dropped", slog.String("flow_run_id", string(s.offer.ID)), slog.String("reason", why))
		d.enter(ctx, s, Dropped)
	}
	d.release(starts)
}

// enter moves a start to its next phase and says so, one line per run and phase.
func (d *Dispatcher[T]) enter(ctx context.Context, s *start[T], p Phase) {
	if !s.phase.mayFollow(p) {
		d.c.Logger.ErrorContext(ctx, "phase out of order", slog.String("phase", p.String()), slog.String("reason", "after "+s.phase.String()))
	}
	s.phase = p
	level := slog.LevelDebug
	switch p {
	case Submitted:
		level = slog.LevelInfo
	case Aborted:
		level = slog.LevelError
	case Claimed, Waiting:
		level = slog.LevelInfo
	case Offered, Built, Dropped:
	}
	attrs := []slog.Attr{
		slog.String("phase", p.String()), slog.String("flow_run_id", string(s.offer.ID)),
		slog.String("flow_run_name", s.offer.Name), slog.String("attempt", s.offer.Attempt),
	}
	if name := s.name(); name != "" {
		attrs = append(attrs, slog.String("job", name))
	}
	if s.err != nil {
		attrs = append(attrs, slog.Any("error", s.err))
	}
	d.c.Logger.LogAttrs(ctx, level, "flow run", attrs...)
}
