package agent

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

const (
	sweepPause = 15 * time.Second
	// overdue is how late a run must be before it is looked for beside the queue.
	overdue = 15 * time.Second
	// claimPages bounds the requests of one sweep; the next goes on behind.
	claimPages = 20
	// together is how many runs are looked at in one request.
	together = 50
)

// sweeper looks for what the queue does not show: runs that were claimed for this
// place and have no Job, states that a late write of this place covers, and runs
// that the queue should have returned for some time.
type sweeper struct {
	a *Agent
	// claims are the runs seen as Submitted, uncovered those of them whose history
	// was read and which are what they show.
	claims, uncovered sightings
	// behind is where the list of claims goes on.
	behind flowrun.ID
}

// doubt is for how long a put-back is looked after: it may land late itself, and
// cover what came meanwhile.
const doubt = 2 * time.Minute

// run sweeps until ctx ends.
func (s *sweeper) run(ctx context.Context) {
	for last := ""; ; {
		text := ""
		if err := errors.Join(s.repair(ctx), s.widen(ctx)); err != nil {
			text = err.Error()
		}
		if text != "" && text != last && ctx.Err() == nil {
			s.a.c.Logger.WarnContext(ctx, "looking for forgotten flow runs did not work, trying again", slog.String("error", text))
		}
		if last = text; !wait(ctx, jitter(sweepPause), nil) {
			return
		}
	}
}

// widen passes on what the queue keeps back (D-21).
func (s *sweeper) widen(ctx context.Context) error {
	ids, err := s.a.api.Overdue(ctx, time.Now().Add(-overdue), s.a.c.Labels)
	if err != nil {
		return err
	}
	s.a.late.put(ids)
	return nil
}

// repair adopts claims without a Job, and puts covered states back.
func (s *sweeper) repair(ctx context.Context) error {
	orphans, held, err := s.suspects(ctx)
	if err != nil {
		return err
	}
	held = append(held, s.a.launch.restored.since(time.Now().Add(-doubt))...)
	return errors.Join(inParts(ctx, orphans, s.adopt), inParts(ctx, held, s.uncover))
}

// inParts does something for some ids after the others.
func inParts(ctx context.Context, ids []flowrun.ID, do func(context.Context, []flowrun.ID) error) error {
	for len(ids) > 0 {
		some := ids[:min(together, len(ids))]
		ids = ids[len(some):]
		if err := do(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// suspects are the runs that have been Submitted for some time and that nobody of
// this process starts: orphans have no Job or Pod in the local copy, held ones have,
// but nobody knows yet whether Submitted is what counts.
func (s *sweeper) suspects(ctx context.Context) (orphans, held []flowrun.ID, err error) {
	for range claimPages {
		read := time.Now()
		page, err := s.a.api.Claims(ctx, s.behind)
		if err != nil {
			return nil, nil, err
		}
		if len(page) == 0 {
			s.behind = ""
			break
		}
		for _, claim := range page {
			s.behind = claim.ID
			as := strconv.Itoa(claim.Version)
			since := s.claims.see(claim.ID, as, read)
			switch {
			case read.Sub(since) < adoptAge || s.a.starts.InFlight(claim.ID):
			case !s.a.local.Holds(string(claim.ID)):
				orphans = append(orphans, claim.ID)
			case !s.uncovered.known(claim.ID, as):
				held = append(held, claim.ID)
			}
		}
	}
	return orphans, held, nil
}

// adopt looks at the cluster first and reads the histories then.
func (s *sweeper) adopt(ctx context.Context, ids []flowrun.ID) error {
	read := time.Now()
	ctx, cancel := context.WithDeadline(ctx, read.Add(dispatch.ClaimWithin))
	defer cancel()
	here, err := s.a.look(ctx, ids)
	if err != nil {
		return err
	}
	runs, err := s.a.api.FlowRunsByID(ctx, ids)
	if err != nil {
		return err
	}
	var offers []Offer
	var hopeless []dispatch.Outcome[Run]
	for _, v := range s.views(runs, here, read) {
		o, why := adopt(v)
		switch {
		case why == skipCovered:
			s.a.launch.putBack(ctx, v.run.Snapshot)
		case why != "":
			s.a.skipped(ctx, v, why)
		case v.age() >= adoptLimit:
			hopeless = append(hopeless, dispatch.Outcome[Run]{Offer: o, Phase: dispatch.Aborted, Err: errNoJob})
		default:
			offers = append(offers, o)
		}
	}
	if offers, err = s.a.startable(ctx, offers); err != nil {
		return err
	}
	s.a.starts.Start(ctx, offers)
	if len(hopeless) > 0 {
		s.a.launch.Report(ctx, hopeless)
	}
	return nil
}

func (s *sweeper) views(runs []prefect1.FlowRun, here map[flowrun.ID]objects, read time.Time) []view {
	var views []view
	for _, run := range runs {
		if run.Err != nil { // the next sweep reads it again
			continue
		}
		since := read // unless nothing was written since the list of claims was read
		if s.claims.known(run.ID, strconv.Itoa(run.Version)) {
			since = s.claims.runs[run.ID].since
		}
		views = append(views, view{
			run: run, stand: run.Standing(), agent: s.a.c.ID, place: s.a.c.Place, here: here[run.ID], since: since, read: read,
		})
	}
	return views
}

// uncover puts back what a late claim of this place covers.
func (s *sweeper) uncover(ctx context.Context, ids []flowrun.ID) error {
	read := time.Now()
	snapshots, err := s.a.api.Snapshots(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		snapshot, ok := snapshots[id]
		if !ok || snapshot.Err != nil || s.a.launch.putBack(ctx, snapshot) {
			continue
		}
		s.uncovered.see(id, strconv.Itoa(snapshot.Version), read)
	}
	return nil
}
