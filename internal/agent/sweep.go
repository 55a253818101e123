package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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
	// claimPages and mostSuspects bound one sweep; the next goes on behind.
	claimPages, mostSuspects = 20, 1000
	// together is how many runs are looked at in one request.
	together = 50
	// partWithin bounds the requests for them, so that one bad answer delays the others
	// and stops none.
	partWithin = time.Minute
	// doubt is for how long a put-back is looked after: it may land late itself, and
	// cover what came meanwhile.
	doubt = 2 * time.Minute
)

// sweeper looks for what the queue does not show: runs that were claimed for this
// place and have no Job, states that a late write covers, and runs that the queue
// should have returned for some time.
type sweeper struct {
	a      *Agent
	health Health
	// claims are the runs seen as Submitted, by their version, absent those of them that
	// had nothing in the cluster.
	claims, absent sightings
	// unreadable are the runs that were complained about, by the reason.
	unreadable sightings
	// behind is where the list of claims goes on.
	behind flowrun.ID
}

// run sweeps until ctx ends.
func (s *sweeper) run(ctx context.Context) {
	for last := ""; ; {
		err, text := errors.Join(s.refresh(ctx), s.repair(ctx), s.widen(ctx)), ""
		if err != nil {
			text = err.Error()
			s.health.Fail(text)
		} else {
			s.health.Progress()
		}
		if text != "" && text != last && ctx.Err() == nil {
			s.a.c.Logger.WarnContext(ctx, "looking for forgotten flow runs did not work, trying again", slog.String("error", text))
		}
		pause := max(jitter(sweepPause), flowrun.Asked(err, sweepsWait))
		s.health.Wait(pause)
		if last = text; !wait(ctx, pause, nil) {
			return
		}
	}
}

// refresh makes good what the start or a server's change of mind left open.
func (s *sweeper) refresh(ctx context.Context) error {
	if err := s.a.api.Refresh(ctx, s.a.c.Registration); err != nil {
		return err
	}
	s.a.supply(s.a.api.Settings())
	return nil
}

// widen passes on what the queue keeps back (D-21).
func (s *sweeper) widen(ctx context.Context) error {
	return s.a.widen(ctx, time.Now().Add(-overdue))
}

// repair adopts claims without a Job, and puts covered states back.
func (s *sweeper) repair(ctx context.Context) error {
	fresh, known, err := s.suspects(ctx)
	if err != nil {
		return err
	}
	fresh = append(fresh, s.a.launch.restored.since(time.Now().Add(-doubt))...)
	err = s.inParts(ctx, fresh, func(ctx context.Context, ids []flowrun.ID) error {
		claimed, err := s.classify(ctx, ids)
		known = append(known, claimed...)
		return err
	})
	// A Job or Pod that lives, if only in a copy that lags, is no reason to look.
	known = slices.DeleteFunc(known, func(id flowrun.ID) bool { return s.a.local.Lives(string(id)) })
	return errors.Join(err, s.inParts(ctx, known, s.adopt))
}

// inParts does something for some ids after the others, each part within its time.
func (s *sweeper) inParts(ctx context.Context, ids []flowrun.ID, do func(context.Context, []flowrun.ID) error) error {
	for len(ids) > 0 {
		some := ids[:min(together, len(ids))]
		ids = ids[len(some):]
		limited, cancel := context.WithTimeout(ctx, partWithin)
		err := do(limited, some)
		cancel()
		if err != nil {
			return err
		}
		s.health.Progress()
	}
	return nil
}

// suspects are the runs that have been Submitted for some time and that nobody of
// this process starts: fresh ones, whose history was not read yet, and those known
// to be claimed for this place.
func (s *sweeper) suspects(ctx context.Context) (fresh, known []flowrun.ID, err error) {
	for page := 0; page < claimPages && len(fresh)+len(known) < mostSuspects; page++ {
		read := time.Now()
		claims, err := s.a.api.Claims(ctx, s.behind)
		if err != nil {
			return nil, nil, err
		}
		s.health.Progress()
		if len(claims) == 0 {
			s.behind = ""
			break
		}
		for _, claim := range claims {
			s.behind = claim.ID
			as := strconv.Itoa(claim.Version)
			seen := s.claims.see(claim.ID, as, read)
			switch {
			case read.Sub(seen.since) < adoptAge || s.a.starts.InFlight(claim.ID) || seen.whose == others:
			case seen.whose == ours:
				known = append(known, claim.ID)
			default:
				fresh = append(fresh, claim.ID)
			}
		}
	}
	return fresh, known, nil
}

// classify reads histories once for each version, puts back what a late write
// covers, and returns the runs that are claimed for this place.
func (s *sweeper) classify(ctx context.Context, ids []flowrun.ID) (claimed []flowrun.ID, err error) {
	read := time.Now()
	snapshots, err := s.a.api.Snapshots(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		snapshot, ok := snapshots[id]
		if !ok || !s.readable(ctx, snapshot, read) || s.a.launch.putBack(ctx, snapshot) {
			continue
		}
		counting, as := snapshot.Standing().Counting.State, strconv.Itoa(snapshot.Version)
		if counting.Mark.Kind != flowrun.Claim || !counting.Mark.Place.Is(s.a.c.Place) || counting.Type != snapshot.State.Type {
			s.claims.mark(id, as, others)
			continue
		}
		s.claims.mark(id, as, ours)
		claimed = append(claimed, id)
	}
	return claimed, nil
}

// readable says of a run that is not why, once for each reason.
func (s *sweeper) readable(ctx context.Context, snapshot flowrun.Snapshot, read time.Time) bool {
	if snapshot.Err == nil {
		return true
	}
	if why := snapshot.Err.Error(); !s.unreadable.known(snapshot.ID, why) {
		s.unreadable.see(snapshot.ID, why, read)
		s.a.c.Logger.ErrorContext(ctx, "claimed flow run not readable, left alone", slog.String("flow_run_id", string(snapshot.ID)), slog.Any("error", snapshot.Err))
	}
	return false
}

// adopt looks at the cluster first and reads the histories then.
func (s *sweeper) adopt(ctx context.Context, ids []flowrun.ID) error {
	read := time.Now()
	limited, cancel := context.WithDeadline(ctx, read.Add(dispatch.ClaimWithin))
	defer cancel()
	here, err := s.a.look(limited, ids)
	if err != nil {
		return err
	}
	runs, err := s.a.api.FlowRunsByID(limited, ids)
	if err != nil {
		return err
	}
	offers, err := s.a.startable(limited, s.adoptable(ctx, runs, here, read))
	if err != nil {
		return err
	}
	var hopeless []dispatch.Outcome[Run]
	offers = slices.DeleteFunc(offers, func(o Offer) bool {
		done := read.Sub(s.absent.see(o.ID, strconv.Itoa(o.Run.Version), read).since) >= adoptLimit
		if done {
			hopeless = append(hopeless, dispatch.Outcome[Run]{Offer: o, Phase: dispatch.Aborted, Err: s.a.launch.noJob(o)})
		}
		return done
	})
	s.a.starts.Start(ctx, offers)
	if len(hopeless) > 0 {
		s.a.launch.Report(limited, hopeless)
	}
	return nil
}

// adoptable decides about runs that were looked at.
func (s *sweeper) adoptable(ctx context.Context, runs []prefect1.FlowRun, here map[flowrun.ID]objects, read time.Time) []Offer {
	var offers []Offer
	for _, run := range runs {
		as := strconv.Itoa(run.Version)
		if !s.readable(ctx, run.Snapshot, read) || !s.claims.known(run.ID, as) {
			continue // something was written since the list of claims was read: the next sweep sees it
		}
		v := view{
			run: run, stand: run.Standing(), agent: s.a.c.ID, place: s.a.c.Place, fits: run.Takes(s.a.c.Labels),
			here: here[run.ID], since: s.claims.runs[run.ID].since, read: read,
		}
		o, why := adopt(v)
		if why == skipLabels {
			s.claims.mark(run.ID, as, others)
		}
		if why != "" {
			s.a.skipped(ctx, v, why)
			continue
		}
		s.a.c.Logger.InfoContext(ctx, "claim without a job found, making it", slog.String("flow_run_id", string(o.ID)), slog.String("attempt", o.Attempt))
		offers = append(offers, o)
	}
	return offers
}
