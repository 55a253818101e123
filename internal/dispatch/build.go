package dispatch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// gather is how long starts whose Jobs are built wait for others, to share one
	// claim with them. A Job that waits for nothing foreign is built in less.
	gather = 50 * time.Millisecond
	// building is how many Jobs may be built at once. Most of that is waiting for
	// servers that others chose, so it is large: they may be slow, and hold up nobody.
	building = 1024
)

// NotNowError is an error of Build that is no fault of the flow run. The run is
// neither claimed nor failed; a later poll or sweep takes it.
type NotNowError struct{ Err error }

func (e *NotNowError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *NotNowError) Unwrap() error { return e.Err }

// errLate is why a start whose Job took too long is left to a later poll.
var errLate = &NotNowError{errors.New("its Job was not built in time")}

// launch builds the Jobs of due starts side by side, and claims those that are
// built quickly in one call. It returns when that is written, and how many it took
// on. A slow one is claimed when it is built, and keeps no other waiting.
func (d *Dispatcher[T]) launch(ctx context.Context, due []*start[T]) (taken int) {
	due = d.permit(ctx, due)
	built := make(chan *start[T], len(due))
	for _, s := range due {
		d.group.Go(func() error { d.build(ctx, s); built <- s; return nil })
	}
	batch := collect(nil, built, len(due))
	if rest := len(due) - len(batch); rest > 0 {
		taken = rest
		d.group.Go(func() error { d.follow(ctx, built, rest); return nil })
	}
	return taken + d.take(ctx, batch)
}

// follow takes on those starts whose Jobs took longer, as they come.
func (d *Dispatcher[T]) follow(ctx context.Context, built <-chan *start[T], rest int) {
	for rest > 0 {
		batch := collect([]*start[T]{<-built}, built, rest)
		rest -= len(batch)
		d.group.Go(func() error { d.take(ctx, batch); return nil })
	}
}

// collect adds what is built within a moment, up to most in all.
func collect[T any](batch []*start[T], built <-chan *start[T], most int) []*start[T] {
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for len(batch) < most {
		select {
		case s := <-built:
			batch = append(batch, s)
		case <-timer.C:
			most = 0
		}
	}
	slices.SortFunc(batch, func(a, b *start[T]) int { return cmp.Compare(a.order, b.order) })
	return batch
}

// permit keeps the number of builds bounded.
func (d *Dispatcher[T]) permit(ctx context.Context, starts []*start[T]) (permitted []*start[T]) {
	var full []*start[T]
	for i, s := range starts {
		s.order = i
		select {
		case d.builds <- struct{}{}:
			permitted = append(permitted, s)
		default:
			full = append(full, s)
		}
	}
	d.drop(ctx, full, "too many Jobs are being built")
	return permitted
}

// build makes one Job. It may take half of what is left of the time within which
// the read may be claimed: the rest is for the claim.
func (d *Dispatcher[T]) build(ctx context.Context, s *start[T]) {
	defer func() { <-d.builds }()
	left := time.Until(s.offer.Read.Add(ClaimWithin))
	limited, cancel := context.WithTimeout(ctx, left/2)
	defer cancel()
	if left > 0 {
		s.job, s.notes, s.err = d.launcher.Build(limited, s.offer)
	}
	if left <= 0 || s.err != nil && limited.Err() != nil {
		s.err = errLate
	}
}

// take goes on with starts whose Jobs are built: what may be claimed now is, and is
// finished in the background. It returns how many that are.
func (d *Dispatcher[T]) take(ctx context.Context, built []*start[T]) int {
	ready := d.occupy(ctx, d.able(ctx, built))
	if len(ready) == 0 {
		return 0
	}
	claimed := d.claim(ctx, ready)
	d.group.Go(func() error { d.finish(ctx, ready, claimed); return nil })
	return len(ready)
}

// able drops the starts that are not possible now.
func (d *Dispatcher[T]) able(ctx context.Context, built []*start[T]) (able []*start[T]) {
	for _, s := range built {
		if notNow, ok := errors.AsType[*NotNowError](s.err); ok {
			d.drop(ctx, []*start[T]{s}, notNow.Error())
			continue
		}
		able = append(able, s)
	}
	return able
}
