package reaper

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// requestTimeout bounds each request, so that one that hangs holds up nothing.
const requestTimeout = 15 * time.Second

// answers are what Prefect said of the runs that it was asked about.
type answers struct {
	snapshots map[flowrun.ID]flowrun.Snapshot
	asked     map[flowrun.ID]bool
	failed    map[flowrun.ID]error
}

func (a answers) of(id flowrun.ID) run {
	if s, ok := a.snapshots[id]; ok {
		return runOf(s)
	}
	if a.asked[id] {
		return run{knowledge: unknown}
	}
	return run{}
}

// ask reads many runs in one call.
func (r *Reaper) ask(ctx context.Context, ids []flowrun.ID) answers {
	a := answers{snapshots: map[flowrun.ID]flowrun.Snapshot{}, asked: map[flowrun.ID]bool{}, failed: map[flowrun.ID]error{}}
	r.read(ctx, ids, a)
	return a
}

// read asks, and asks in halves if the whole is refused, so that one run that
// Prefect cannot answer for spoils no other. An outage is not divided.
func (r *Reaper) read(ctx context.Context, ids []flowrun.ID, a answers) {
	if len(ids) == 0 {
		return
	}
	r.lastRead = time.Now()
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	snapshots, err := r.reporter.Snapshots(limited, ids)
	cancel()
	r.fares(err)
	if err != nil && len(ids) > 1 && !temporary(err) && ctx.Err() == nil {
		r.read(ctx, ids[:len(ids)/2], a)
		r.read(ctx, ids[len(ids)/2:], a)
		return
	}
	for _, id := range ids {
		s, ok := snapshots[id]
		switch {
		case ok && s.Err != nil:
			a.failed[id] = s.Err
		case ok:
			a.snapshots[id] = s
		case err != nil:
			a.failed[id] = err
		default:
			a.asked[id] = true
		}
	}
}

// temporary reports whether an error says that it may pass. One that says
// nothing is taken for an outage.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	if errors.As(err, &t) {
		return t.Temporary()
	}
	return true
}

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	// longestWait bounds what a server may ask for.
	longestWait = 30 * time.Second
)

// backOff is the pause after so many failures in a row.
func backOff(tries int) time.Duration {
	const steps = 6
	return min(firstRetry<<min(tries, steps), lastRetry)
}

// retry looks at a run again later because of a failure.
func (r *Reaper) retry(ctx context.Context, c *runCase, err error) {
	after := max(backOff(c.memory.misses), flowrun.Asked(err, longestWait))
	c.memory.misses++
	r.log.WarnContext(ctx, "flow run not handled, trying again", slog.String("flow_run_id", string(c.id)),
		slog.Int("attempt", c.memory.misses), slog.Duration("after", after), slog.Any("error", err))
	r.again(c, after)
}

func (r *Reaper) again(c *runCase, after time.Duration) {
	c.again = true
	r.watch.Again(string(c.id), after)
}

// settled looks at what became of a state that was written before. Written or
// not, the decision that follows rests on the history alone.
func (r *Reaper) settled(ctx context.Context, c *runCase) {
	m := c.memory
	if c.run.knowledge == unasked {
		return
	}
	m.misses = 0
	kind := m.written
	m.written = flowrun.Foreign
	if kind == flowrun.Foreign || c.run.knowledge == unknown {
		return
	}
	covered := c.run.folded && c.run.standing.Covered(c.run.snapshot.State.Type)
	if kind == flowrun.PutBack && !covered {
		return
	}
	if kind == flowrun.Verdict && c.run.final() {
		m.lost = 0
		return
	}
	m.notBefore = c.now.Add(backOff(m.lost))
	m.lost++
	r.log.WarnContext(ctx, "state written but not counting", slog.String("flow_run_id", string(c.id)), slog.Int("attempt", m.lost))
}
