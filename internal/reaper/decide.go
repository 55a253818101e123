package reaper

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// Policy is what an operator may choose, and who we are.
type Policy struct {
	// Agent is unique per process; it stands in every state we write.
	Agent string
	// Place is the namespace, as claims name it.
	Place flowrun.Place
	// Namespace holds the Jobs.
	Namespace string
	// LogName is the logger's name in run logs: the agent's name.
	LogName string
	// Grace is how long a Job may be stuck for a reason that does not heal by
	// itself before its run is failed.
	Grace time.Duration
	// DeleteFinished lets finished Jobs be deleted once they are old enough.
	DeleteFinished bool
	// SendLogs lets lines be written to run logs. Without it the cause stands in
	// the state's message only.
	SendLogs bool
	// Settle is how long after a write its effect is looked at; see "Delivery" in
	// ARCHITECTURE.md.
	Settle time.Duration
	// Standby is how long a process that starts no runs leaves each report to those
	// that do. It tells of endings only: of mere trouble nothing is left by which it
	// could see that another told it.
	Standby time.Duration
	// Hint says which of our own changes a refusal of Pods is about; nil says nothing.
	Hint func(refusal string) string
}

const (
	// podWait is how long a Job may be without a Pod, and a Pod without a running
	// container, before the events are read for the reason.
	podWait = 5 * time.Second
	// keepRecheck is how often a finished Job that is kept for its unfinished run is
	// looked at: nothing in the cluster tells when the run ends.
	keepRecheck = 5 * time.Minute
	// liveRecheck is how often a Job that goes on is looked at: nothing in the cluster
	// tells that its run was cancelled or started again. Another place waits two
	// minutes for us to end what still runs here.
	liveRecheck = time.Minute
	// longestHold is how long a Job may be stopped before its run began. It is what a
	// claim may be without a Job, see the agent's adoption.
	longestHold = 10 * time.Minute
	// doubt is the time between two looks before something is believed that is
	// not there: a run that Prefect does not know, a Job that is gone.
	doubt = 30 * time.Second
	// others is how long a replica that does not hold the claim leaves a report to
	// the one that does, and spread is added to it by run and replica, also where
	// nobody holds a claim: then a Python agent started the run.
	others, spread = 2 * time.Second, 2 * time.Second
	// slack is added to an age, since clocks are compared in whole seconds.
	slack = time.Second
)

// knowledge is what is known of a flow run.
type knowledge uint8

// unasked: Prefect was not asked. unknown: Prefect does not know the run. known.
const (
	unasked knowledge = iota
	unknown
	known
)

// run is what Prefect says of a flow run.
type run struct {
	knowledge
	snapshot flowrun.Snapshot
	standing flowrun.Standing
	// folded says that the server offers the history. Without it there is only
	// the state shown.
	folded bool
}

func runOf(s flowrun.Snapshot) run {
	return run{knowledge: known, snapshot: s, standing: s.Standing(), folded: len(s.History) > 0}
}

// counting is the state that every decision rests on.
func (r run) counting() (version int, state flowrun.StateType) {
	if r.folded {
		return r.standing.Counting.Version, r.standing.Counting.State.Type
	}
	return r.snapshot.Version, r.snapshot.State.Type
}

func (r run) final() bool {
	_, state := r.counting()
	return r.knowledge == known && state.IsFinished()
}

// facts are everything a decision about one Job rests on.
type facts struct {
	id      flowrun.ID
	job     diagnose.Job
	verdict diagnose.Verdict
	// newest says that no other Job of ours for this run is newer.
	newest bool
	// busy says that a Pod of the run lives that is not one of this Job which
	// never started.
	busy bool
	// started says that a Pod of this Job ever started, occupied that one lives.
	started, occupied bool
	// over is how long the flow's container has ended in a Pod that lives on, 0 if it
	// did not.
	over time.Duration
	// orphans says that the Job is gone and these are Pods that outlived it.
	orphans bool
	// unstoppable says that the right to stop the Job is missing.
	unstoppable bool
	run         run
	// witnessed is the attempt that the run was in when this process first read it
	// while the Job had not ended, 0 if it never did.
	witnessed int
	// watched is how long this process has known the verdict, doubted how long it
	// has found the run unknown or the Job gone, same how long it has found the
	// run in the state that it is in.
	watched, doubted, same time.Duration
	now                    time.Time
}

// ActionKind is what is to be done about a Job.
type ActionKind uint8

// Ask: read the run from Prefect and decide again. ReportLog: write a line to the
// run's log. SetState: fail the run, or put the counting state back. StopJob: end its
// Pods and keep it. DeleteJob. DeletePod: delete a Pod whose Job is gone. Recheck: look
// again after a while.
const (
	Ask ActionKind = iota
	ReportLog
	SetState
	StopJob
	DeleteJob
	DeletePod
	Recheck
)

// Action is one thing to be done about a Job.
type Action struct {
	Kind ActionKind
	// After belongs to Recheck.
	After time.Duration
	// Cause and Level belong to ReportLog: a cause is told once. Full asks for the
	// evidence and the end of the container's log with it.
	Cause string
	Level flowrun.Level
	Full  bool
	// Write belongs to SetState.
	Write flowrun.Write
	// Pod belongs to DeletePod.
	Pod diagnose.Pod
}

// decide says what is to be done about one Job. It never touches a Job of
// another program, never ends one that may still run unless its run was cancelled,
// started anew, or ended before the Job could start, and never writes over a final
// state. A Pod whose flow has ended is no flow that runs. In doubt it waits. Jobs of
// Python agents are reported like ours, and ended and deleted if their name says, beside
// their labels, whose they are.
func decide(f facts, p Policy) []Action {
	if !mine(f.job) || f.job.RunID != f.id {
		return nil
	}
	if back, ok := f.putBack(p); ok {
		return []Action{back}
	}
	actions := f.report(p)
	if slices.ContainsFunc(actions, func(a Action) bool { return a.Kind == Ask || a.Kind == SetState }) {
		return actions
	}
	return append(actions, f.end(p)...)
}

// mine reports whether a Job is ours or a Python agent's.
func mine(j diagnose.Job) bool { return j.Managed || j.Python }

// report tells the run's owner of an ending or of trouble.
func (f facts) report(p Policy) []Action {
	rest, fatal := f.patience(p)
	switch {
	case f.verdict.Unexplained():
		return []Action{{Kind: Recheck, After: f.nextLook(p)}}
	case f.verdict.Kind == diagnose.Succeeded:
		return f.reportUnbegun(p)
	case f.verdict.Kind != diagnose.Failed && f.verdict.Kind != diagnose.Stuck && f.verdict.Kind != diagnose.Stopped:
		return nil
	case rest > 0:
		return []Action{{Kind: Recheck, After: rest}}
	case f.run.knowledge == unasked:
		return []Action{{Kind: Ask}}
	case f.run.knowledge == unknown, f.run.final(), !f.speaks(p), f.busy:
		return nil
	case f.held() > 0:
		return []Action{{Kind: Recheck, After: f.held()}}
	case !fatal && p.Standby > 0:
		return f.nextPatience(p)
	case !fatal:
		return append([]Action{{Kind: ReportLog, Cause: f.verdict.Reason, Level: flowrun.LevelWarning}}, f.nextPatience(p)...)
	}
	if wait := max(f.leave(p), f.uncertain()); wait > 0 {
		return []Action{{Kind: Recheck, After: wait}}
	}
	return f.fail(p)
}

// reportUnbegun tells that a Job ended well while its run is still Submitted: a flow
// process sets Running before it does anything, so none was there. An environment
// that starts a Job of its own leaves the run so, and what a Python agent started may.
func (f facts) reportUnbegun(p Policy) []Action {
	_, state := f.run.counting()
	wait := max(p.Grace-f.watched, f.leave(p))
	switch {
	case f.job.HandsOver || !f.job.Managed || !f.newest || f.busy:
		return nil
	case p.Grace > f.watched:
		return []Action{{Kind: Recheck, After: p.Grace - f.watched}}
	case f.run.knowledge == unasked:
		return []Action{{Kind: Ask}}
	case f.run.knowledge == unknown || state != flowrun.Submitted || !f.speaks(p):
		return nil
	case wait > 0:
		return []Action{{Kind: Recheck, After: wait}}
	}
	return f.fail(p)
}

// held is how long a Job that somebody keeps from beginning may be kept so.
func (f facts) held() time.Duration {
	_, state := f.run.counting()
	if f.verdict.Kind != diagnose.Stopped || state != flowrun.Submitted {
		return 0
	}
	return max(0, longestHold-f.watched)
}

// nextLook is when a Job that waits without a word is looked at again: its reason
// comes as an event, which changes nothing on the Job.
func (f facts) nextLook(p Policy) time.Duration {
	if age := f.now.Sub(f.job.Created); age < podWait {
		return podWait - age + slack
	}
	return min(max(p.Grace/4, podWait), doubt)
}

// fail is the report of an ending: why, then the state.
func (f facts) fail(p Policy) []Action {
	version, state := f.run.counting()
	return []Action{
		{Kind: ReportLog, Cause: f.verdict.Reason, Level: flowrun.LevelError, Full: true},
		{Kind: SetState, Write: flowrun.Write{
			FlowRunID: f.id, Version: f.run.snapshot.Version, Type: flowrun.Failed, Message: message(f.verdict),
			Mark: flowrun.Mark{
				Kind: flowrun.Verdict, Agent: p.Agent, Place: p.Place, Namespace: f.job.Namespace, Job: f.job.Name,
				On: version, OnType: state,
			},
		}},
	}
}

const maxMessage = 2048

// message is the message of the Failed state. It starts as that of Prefect 1.4.1
// does (agent/kubernetes/agent.py, manage_jobs).
func message(v diagnose.Verdict) string {
	return plain.Text("Kubernetes Error: "+v.Message, maxMessage)
}

// patience is how long to wait before anything is said, and whether the run is
// failed then.
func (f facts) patience(p Policy) (rest time.Duration, fatal bool) {
	if f.verdict.Kind != diagnose.Stuck {
		return 0, true
	}
	stuck := f.now.Sub(f.verdict.Since)
	if stuck < p.Grace {
		return p.Grace - stuck, false
	}
	limit := time.Duration(f.verdict.Patience) * p.Grace
	return 0, limit > 0 && stuck >= limit
}

// nextPatience is when trouble that was told becomes an ending.
func (f facts) nextPatience(p Policy) []Action {
	if f.verdict.Patience == 0 {
		return nil
	}
	limit := time.Duration(f.verdict.Patience) * p.Grace
	return []Action{{Kind: Recheck, After: limit - f.now.Sub(f.verdict.Since)}}
}

// leave is how long this replica leaves the report to the one that holds the
// claim, or to the one whose turn comes first. It saves effort and lines in the
// log only: who comes second finds the run final.
func (f facts) leave(p Policy) time.Duration {
	last := f.run.standing.Last()
	if last != nil && last.State.Mark.Agent == p.Agent {
		return 0
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(p.Agent + "\x00" + string(f.id)))
	wait := p.Standby + time.Duration(sum.Sum32())%spread
	if last != nil {
		wait += others
	}
	return max(0, wait-f.watched)
}

// speaks reports whether the Job's ending is the ending of the run: it belongs to
// the attempt that counts, in this place, and no newer Job took over.
func (f facts) speaks(p Policy) bool {
	_, state := f.run.counting()
	if !f.newest || !active(state) {
		return false
	}
	if f.job.Python {
		return f.pythonSpeaks(p)
	}
	if !f.run.folded {
		// The claim is the row right behind the one that was claimed.
		return state != flowrun.Submitted || f.job.Attempt == flowrun.Attempt(f.run.snapshot.Version-1)
	}
	s := f.run.standing
	last := s.Last()
	if last != nil && !last.State.Mark.Place.Is(p.Place) {
		return false
	}
	if f.job.Attempt == flowrun.Attempt(s.Scheduled) {
		return true
	}
	if state == flowrun.Submitted || last == nil {
		return false
	}
	// A Running run: the Job is one that retries due task runs and is named after
	// the Job before, or its process was faster than a rerun that nobody claimed.
	return f.retries() || s.Holder == nil && last.State.Mark.Job == f.job.Name
}

// retries reports whether the Job was started for task runs due for retry: its
// attempt is the UID of the Job before, or none.
func (f facts) retries() bool {
	const none, version = "none", 'v'
	return f.job.Attempt == none || f.job.Attempt != "" && f.job.Attempt[0] != version
}

// active reports whether a run in this state has a Job that executes it.
func active(t flowrun.StateType) bool {
	return t == flowrun.Submitted || t == flowrun.Running || t == flowrun.Cancelling
}

// putBack uncovers the counting state if a late write of this place hides it.
func (f facts) putBack(p Policy) (Action, bool) {
	if f.run.knowledge != known {
		return Action{}, false
	}
	write, ok := f.run.snapshot.PutBack(p.Agent, p.Place)
	return Action{Kind: SetState, Write: write}, ok
}

// gone says what is to be done about a run of which neither a Job nor a Pod that
// tells more is left. One that nobody started yet is adopted elsewhere; one that was
// running has lost its Job.
func gone(f facts, p Policy) []Action {
	if f.run.knowledge == unasked {
		return []Action{{Kind: Ask}}
	}
	if back, ok := f.putBack(p); ok {
		return []Action{back}
	}
	_, state := f.run.counting()
	if f.run.knowledge != known || state == flowrun.Submitted || !active(state) || !f.lost(p) {
		return nil
	}
	if f.doubted < doubt {
		return []Action{{Kind: Recheck, After: doubt - f.doubted}}
	}
	f.watched = f.doubted - doubt
	if wait := f.leave(p); wait > 0 {
		return []Action{{Kind: Recheck, After: wait}}
	}
	if last := f.run.standing.Last(); last != nil {
		f.job.Name = cmp.Or(f.job.Name, last.State.Mark.Job)
	}
	f.job.Namespace = cmp.Or(f.job.Namespace, p.Namespace)
	return f.fail(p)
}

// lost reports whether the Job that is missing was one of this place: our claim
// names it, or it was seen here while it was a Python agent's.
func (f facts) lost(p Policy) bool {
	last := f.run.standing.Last()
	if f.job.Python && f.run.standing.Holder == nil {
		return f.pythonSpeaks(p)
	}
	return last != nil && last.State.Mark.Place.Is(p.Place)
}
