package reaper

import (
	"slices"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// once reports whether the run was scheduled once only. Histories are cut off, so
// it must begin where the servers begin: 0.11.0 with Pending of version 0, both with
// Scheduled of version 1.
func (r run) once() bool {
	scheduled, whole := 0, false
	for _, row := range r.snapshot.History {
		whole = whole || row.Version <= 1
		if row.State.Mark.Kind == flowrun.Foreign && row.State.Type == flowrun.Scheduled {
			scheduled++
		}
	}
	return whole && scheduled == 1
}

// attempt is the start that the run is in: its Scheduled row's version, or where
// there is no history that of the state shown. It is 0 if nothing executes the run.
func (r run) attempt() int {
	version, state := r.counting()
	switch {
	case r.knowledge != known || !active(state):
		return 0
	case r.folded:
		return r.standing.Scheduled
	}
	return version
}

// uncertain is how long a report waits for a second look. A Job that somebody stopped
// must stay so. The Job of a Python agent must go on to be the newest one
// of its run. Nothing on it says which attempt it is: that agent writes Submitted
// first and makes the Job a moment later, so the Job of the attempt before would be
// taken for it. A run that was scheduled once has no such Job.
func (f facts) uncertain() time.Duration {
	switch {
	case f.verdict.Kind == diagnose.Stopped:
		return max(0, doubt-f.watched)
	case !f.job.Python || f.run.once():
		return 0
	}
	return max(0, doubt-f.same)
}

// pythonSpeaks reports whether the Job of a Python agent is the one that executes
// the run. It names no attempt, so either there was one only, or it was seen alive
// in this one; and no claim gave the run to us, nor to another place.
func (f facts) pythonSpeaks(p Policy) bool {
	s := f.run.standing
	if last := s.Last(); s.Holder != nil || last != nil && !last.State.Mark.Place.Is(p.Place) {
		return false
	}
	return f.run.once() || f.witnessed != 0 && f.witnessed == f.run.attempt()
}

// witness notes the attempt that a Job was first seen alive in: one that was there
// before a rerun is not that of the rerun.
func (m *memory) witness(f facts) {
	if _, noted := m.alive[nameOf(f.job)]; !noted && !f.ended() {
		m.alive[nameOf(f.job)] = f.run.attempt()
	}
}

// nameOf tells Jobs apart, and the Pods that stand for one.
func nameOf(j diagnose.Job) string { return j.UID + "/" + j.Name }

// decideOrphans is decide for Pods that outlived their Job. They are reported as
// a Job of a Python agent is: nothing says which attempt they were.
func (r *Reaper) decideOrphans(c *runCase, orphans []diagnose.Pod) []jobAction {
	f := facts{
		id: c.id, verdict: c.orphaned(orphans), newest: true, orphans: true, run: c.run, now: c.now,
		job:  diagnose.Job{Namespace: r.policy.Namespace, Name: orphans[0].Name, RunID: c.id, Python: true, Created: orphans[0].Created},
		busy: slices.ContainsFunc(c.pods, func(p diagnose.Pod) bool { return p.Live() && p.Started() }),
	}
	f.recall(c)
	return actionsOf(f, func(f facts) []Action { return append(decide(f, r.policy), f.clear(orphans, r.policy)...) })
}
