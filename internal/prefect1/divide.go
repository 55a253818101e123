package prefect1

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// beyond reports whether an answer was larger or deeper than is allowed.
func beyond(err error) bool {
	_, large := errors.AsType[*retryhttp.TooLargeError](err)
	_, deep := errors.AsType[*DepthError](err)
	return large || deep
}

// hostile remembers the runs whose answers were beyond the bounds, so that their
// answers are not fetched with every poll, and those that were in one answer with
// such a run, so that they are read alone.
type hostile struct {
	mu   sync.Mutex
	runs map[flowrun.ID]suspect
}

type suspect struct {
	// err is why the run is left alone until then; nil means that it is not.
	err   error
	until time.Time
	// tried is when it was read last.
	tried time.Time
}

// add remembers runs. With an error they are left alone for a while.
func (h *hostile) add(err error, ids ...flowrun.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for id, s := range h.runs {
		if now.Sub(s.tried) > suspicion {
			delete(h.runs, id)
		}
	}
	if h.runs == nil {
		h.runs = map[flowrun.ID]suspect{}
	}
	for _, id := range ids {
		if _, known := h.runs[id]; known || len(h.runs) < maxSuspects {
			h.runs[id] = suspect{err, now.Add(tooMuch), now}
		}
	}
}

// clear forgets runs that were read.
func (h *hostile) clear(ids []flowrun.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		delete(h.runs, id)
	}
}

// part splits ids into those to be read together, those to be read alone, the one
// that was tried last at the end, and the runs that are left alone.
func (h *hostile) part(ids []flowrun.ID) (fresh, suspects []flowrun.ID, left []FlowRun) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		switch s, known := h.runs[id]; {
		case !known:
			fresh = append(fresh, id)
		case s.err != nil && time.Now().Before(s.until):
			left = append(left, unreadable(id, s.err))
		default:
			suspects = append(suspects, id)
		}
	}
	slices.SortStableFunc(suspects, func(a, b flowrun.ID) int { return h.runs[a].tried.Compare(h.runs[b].tried) })
	return fresh, suspects, left
}

func unreadable(id flowrun.ID, err error) FlowRun {
	return FlowRun{Snapshot: flowrun.Snapshot{ID: id, Err: err}}
}

type readFunc func(context.Context, []flowrun.ID) ([]FlowRun, error)

// divide reads runs in one call, and in halves if the answer is beyond the bounds,
// until the run that makes it so is alone. That one comes back with its Err set, and
// so do those that there was no time for. What is found out helps the next call.
func divide(ctx context.Context, h *hostile, ids []flowrun.ID, read readFunc) ([]FlowRun, error) {
	fresh, suspects, left := h.part(ids)
	d := division{hostile: h, read: read}
	if len(fresh) > 0 {
		d.todo = [][]flowrun.ID{fresh}
		if err := d.step(ctx); err != nil {
			return nil, err
		}
	}
	for _, id := range suspects {
		d.todo = append(d.todo, []flowrun.ID{id})
	}
	limited, cancel := half(ctx)
	defer cancel()
	for len(d.todo) > 0 {
		err := d.step(limited)
		late := limited.Err() != nil && ctx.Err() == nil && d.answered
		switch {
		case err != nil && late:
			for _, id := range slices.Concat(d.todo...) {
				left = append(left, unreadable(id, noTime(err)))
			}
			d.todo = nil
		case err != nil:
			return nil, err
		}
	}
	return append(d.runs, left...), nil
}

func noTime(err error) error { return fmt.Errorf("no time to read it: %w", err) }

// half leaves half of the time to those who use what is read.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

// division is how far divide has come.
type division struct {
	hostile *hostile
	read    readFunc
	todo    [][]flowrun.ID
	runs    []FlowRun
	// answered says that the server answered at all.
	answered bool
}

// step reads the first group. After an error the group is still to be read.
func (d *division) step(ctx context.Context) error {
	group := d.todo[0]
	found, err := d.read(ctx, group)
	d.answered = d.answered || err == nil || beyond(err)
	switch {
	case err == nil:
		d.hostile.clear(group)
		d.runs = append(d.runs, found...)
	case beyond(err) && len(group) == 1:
		d.hostile.add(err, group...)
		d.runs = append(d.runs, unreadable(group[0], err))
	case beyond(err):
		d.hostile.add(nil, group...)
		d.todo = append(d.todo, group[:len(group)/2], group[len(group)/2:])
	default:
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // it may be so large that it takes too long
			d.hostile.add(nil, group...)
		}
		return err
	}
	d.todo = d.todo[1:]
	return nil
}
