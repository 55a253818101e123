package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// poll asks until ctx ends or the last poll is done.
func (a *Agent) poll(ctx context.Context) error {
	idle, last := 0, ""
	for polls := 0; a.c.MaxPolls < 0 || polls < a.c.MaxPolls; polls++ {
		found, full, err := a.pollOnce(ctx)
		wait := pollPause(idle, full, a.c.MaxPollInterval)
		switch {
		case errors.Is(err, ErrPlace):
			return err
		case err != nil:
			a.health.Fail(err.Error())
			if ctx.Err() == nil && err.Error() != last {
				last = err.Error()
				a.c.Logger.WarnContext(ctx, "poll did not work, trying again", slog.Duration("after", max(errorPause, flowrun.Asked(err, pollsWait))), slog.Any("error", err))
			}
			wait = errorPause
		case found > 0:
			last, idle = "", 0
			a.progress()
		default:
			last = ""
			idle++
			a.progress()
		}
		if polls+1 == a.c.MaxPolls || !a.pause(ctx, max(jitter(wait), flowrun.Asked(err, pollsWait))) {
			return nil
		}
	}
	return nil
}

// The look ahead of 0.14.17 and later: runs are read before they are due, so that
// they start on time and not at the next poll.
const lookAhead = 10 * time.Second

// pollOnce asks the queue once and starts what it can. full says that the queue
// may hold more.
func (a *Agent) pollOnce(ctx context.Context) (found int, full bool, err error) {
	const most = 25 // of one answer of get_runs_in_queue
	ids, err := a.api.RunsInQueue(ctx, time.Now().Add(lookAhead), a.c.Labels)
	if err != nil {
		return 0, false, err
	}
	var fresh []flowrun.ID
	busy := 0
	for _, id := range ids {
		if a.starts.InFlight(id) {
			busy++
		}
	}
	if len(ids) >= most && busy > most/2 {
		a.lookBehind(ctx)
	}
	for _, id := range append(ids, a.late.take(ids)...) {
		if !a.starts.InFlight(id) {
			fresh = append(fresh, id)
		}
	}
	offers, err := a.offers(ctx, fresh)
	if err != nil {
		return 0, false, err
	}
	// Where not all could be taken, asking again at once would find the same.
	taken := a.starts.Start(ctx, offers)
	return len(offers), len(ids) >= most && taken > 0 && taken == len(offers), nil
}

// lookBehind looks past the oldest runs, which are all that the queue shows, while
// their starts take long: else runs whose templates are slow keep others from sight.
func (a *Agent) lookBehind(ctx context.Context) {
	if a.late.some() {
		return
	}
	if err := a.widen(ctx, time.Now()); err != nil {
		a.c.Logger.DebugContext(ctx, "looking behind the queue did not work", slog.Any("error", err))
	}
}

// widen finds runs that have been due since then and that nobody here starts. It asks
// for many pages, and whoever waits for them shows no sign of life.
func (a *Agent) widen(ctx context.Context, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, partWithin)
	defer cancel()
	ids, err := a.api.Overdue(ctx, since, a.c.Labels)
	if err != nil {
		return err
	}
	a.late.put(slices.DeleteFunc(ids, a.starts.InFlight))
	return nil
}

const (
	errorPause = 10 * time.Second
	// pollsWait and sweepsWait bound what a server may ask for. Nobody waits for a
	// single poll; for a sweep wait the runs that have a claim and no Job.
	pollsWait  = time.Minute
	sweepsWait = 30 * time.Second
	// restless is the pause that no poke shortens.
	restless = 250 * time.Millisecond
)

// pollPause is 0.25, 0.5, then 1 s and up to the configured bound while nothing
// is found, and nothing at all while the queue may hold more.
func pollPause(idle int, full bool, bound time.Duration) time.Duration {
	if full {
		return 0
	}
	pause := 250 * time.Millisecond << min(idle, 6)
	return min(pause, bound)
}

// jitter spreads the polls of replicas.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Float64()*0.1*float64(d)) //nolint:gosec // spreading load needs no secrecy
}

// pause waits; it is false if ctx ended first. A poke ends it early, also where the
// server asked for the pause: a person may know that it is well again.
func (a *Agent) pause(ctx context.Context, d time.Duration) bool {
	a.health.Wait(d)
	return wait(ctx, min(d, restless), nil) && wait(ctx, d-restless, a.c.Poke)
}

func wait(ctx context.Context, d time.Duration, poke <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-poke:
	}
	return ctx.Err() == nil
}
