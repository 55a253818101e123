package reaper

import (
	"strconv"
	"strings"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// ended reports whether the Job will not go on.
func (f facts) ended() bool {
	switch f.verdict.Kind {
	case diagnose.Pending, diagnose.Starting, diagnose.Running, diagnose.Stuck:
		return f.job.Finished()
	case diagnose.Succeeded, diagnose.Failed, diagnose.Gone, diagnose.Stopped:
	}
	return true
}

// stop ends a Job that goes on although it shall not. Its name stays taken until it is
// old enough to be deleted, so it can be stopped at any age. Nothing in the cluster tells
// of the cause, and the run is read again right before, see confirm.
func (f facts) stop(p Policy) []Action {
	age := f.now.Sub(f.job.Created)
	switch {
	case f.job.Parallelism == 0: // it ends
		return nil
	case f.run.knowledge == unasked && age < liveRecheck:
		return []Action{{Kind: Recheck, After: liveRecheck + slack - age}}
	case f.run.knowledge == unasked:
		return []Action{{Kind: Ask}}
	case f.run.knowledge == unknown:
		return []Action{{Kind: Recheck, After: keepRecheck}}
	}
	wait, unwanted := f.unwanted(p)
	switch {
	case !unwanted:
		return []Action{{Kind: Recheck, After: liveRecheck}}
	case wait > 0:
		return []Action{{Kind: Recheck, After: wait}}
	case f.unstoppable:
		return f.deleteLive(p)
	}
	return []Action{{Kind: StopJob}}
}

// unwanted reports whether the Job shall not go on, and how long it may all the same.
func (f facts) unwanted(p Policy) (wait time.Duration, yes bool) {
	_, state := f.run.counting()
	switch {
	case f.superseded(p) && f.newest && f.started && !f.run.standing.PreviousRan:
		// It is about to set Running, and would set it on the new attempt as it dies.
		return max(p.Settle, p.Grace) - f.same, true
	case f.superseded(p) && f.newest:
		// A row of a slower writer may come yet that says otherwise.
		return p.Settle - f.same, true
	case f.superseded(p):
		return 0, true
	case f.verdict.Kind == diagnose.Stuck && !f.started && f.run.final():
		return 0, true
	case f.over > 0 && f.run.final():
		// A sidecar does not know that the flow has ended, and keeps the Pod.
		return p.Grace - f.over, true
	case f.newest && state == flowrun.Cancelled:
		// The process does not obey, or its Prefect is too old to be asked to (D-61).
		return p.Grace - f.same, true
	}
	return 0, false
}

// deleteLive is stop without the right to patch, which Roles of ours from before do not
// grant. It frees the name, which does no harm once no create of it can be under way: a
// run that is final or superseded starts again as another attempt only.
func (f facts) deleteLive(p Policy) []Action {
	if !p.DeleteFinished { // the right may come
		return []Action{{Kind: Recheck, After: keepRecheck}}
	}
	if wait := f.young(); wait > 0 {
		return []Action{{Kind: Recheck, After: wait}}
	}
	return []Action{{Kind: DeleteJob}}
}

// superseded reports whether the run waits to be started anew, or was, while this is a
// Job of ours from before: the newer one waits for its Pods, or is in another place.
// Only a history says so, and only one that nothing covers. A Job that retries a run is
// named after another Job: while it was made, the run was Running, and it is not Submitted
// again without being scheduled first.
func (f facts) superseded(p Policy) bool {
	s, state := f.run.standing, f.run.standing.Counting.State.Type
	waits := state == flowrun.Scheduled || state == flowrun.Submitted
	elsewhere := s.Holder != nil && !s.Holder.State.Mark.Place.Is(p.Place)
	switch {
	case !f.job.Managed, f.run.knowledge != known, !f.run.folded, s.Covered(f.run.snapshot.State.Type):
		return false
	case f.retries():
		return waits
	}
	version, err := strconv.Atoi(strings.TrimPrefix(f.job.Attempt, "v"))
	return err == nil && version < s.Scheduled && (waits || elsewhere)
}
