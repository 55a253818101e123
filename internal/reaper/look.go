package reaper

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// memory is what this process remembers of a run. All of it may be lost: it
// keeps work from being done twice, never from being done.
type memory struct {
	// told are the causes that were written to the run's log, lines their number
	// of lines.
	told  map[string]bool
	lines int
	// unsent are lines not delivered yet.
	unsent []flowrun.Log
	// stuck is what each Job was first seen with, and when on the server's clock.
	stuck map[string]seen
	// missing is when the run was first unknown to Prefect, or without a Job.
	missing time.Time
	// written is the kind of a state whose effect was not seen yet, Foreign if
	// there is none.
	written flowrun.MarkKind
	// lost counts writes that came to nothing, notBefore keeps the next one back.
	lost      int
	notBefore time.Time
	// misses counts reads that failed in a row, undone stops and deletions.
	misses, undone int
	// unstoppable is until when the right to stop a Job of the run is taken for missing.
	unstoppable time.Time
	// deleted says that we deleted the run's last Job ourselves, succeeded that its
	// newest Job ended well: neither is missed when it is gone.
	deleted, succeeded bool
	// python is the newest Job of a Python agent that was seen unfinished.
	python diagnose.Job
	// alive is the attempt that the run was in when it was first read while a Job, or
	// a Pod that outlived its own, had not ended.
	alive map[string]int
	// state is what the run was first read in, together with its newest Job, and
	// when.
	state asRead
}

// asRead is a state of a run, by its version, while a Job was its newest.
type asRead struct {
	version int
	job     string
	since   time.Time
}

type seen struct {
	kind   diagnose.Kind
	reason string
	since  time.Time
}

// runCase is one run in one pass.
type runCase struct {
	id     flowrun.ID
	jobs   []diagnose.Job
	pods   []diagnose.Pod
	events map[string][]diagnose.Event
	run    run
	memory *memory
	// again says that the run will be looked at again by timer.
	again bool
	// held says that its lines could not be delivered in this pass.
	held bool
	now  time.Time
	hint func(refusal string) string
}

// jobAction is an action with what it is about. The Job is empty where none is left.
type jobAction struct {
	Action
	facts facts
}

// look reads the local copy. The reasons of Jobs that get no Pod stand only in
// events, which are read once for all.
func (r *Reaper) look(ctx context.Context, groups []string) []*runCase {
	now := r.cluster.ServerNow()
	var cases []*runCase
	var waiting []*runCase
	for _, group := range groups {
		c, ok := r.open(group, now)
		if !ok {
			continue
		}
		cases = append(cases, c)
		if c.waits() {
			waiting = append(waiting, c)
		}
	}
	if len(waiting) > 0 {
		r.explain(ctx, waiting)
	}
	for _, c := range cases {
		c.observe()
	}
	return cases
}

func (r *Reaper) open(group string, now time.Time) (*runCase, bool) {
	id := flowrun.ID(group)
	if !valid(id) {
		return nil, false
	}
	c := &runCase{id: id, now: now, hint: r.policy.Hint}
	c.take(r.watch.Group(group))
	m, ok := r.runs[id]
	if !ok {
		m = &memory{told: map[string]bool{}, stuck: map[string]seen{}, alive: map[string]int{}}
		r.runs[id] = m
	}
	c.memory = m
	return c, true
}

// take keeps what belongs to the run: the labels of 0.11.0 are common words, which
// other programs put on objects of theirs.
func (c *runCase) take(jobs []diagnose.Job, pods []diagnose.Pod) {
	c.jobs = slices.DeleteFunc(jobs, func(j diagnose.Job) bool { return j.RunID != c.id })
	c.pods = slices.DeleteFunc(pods, func(p diagnose.Pod) bool { return p.RunID != c.id })
}

// valid reports whether the text is a UUID. Anybody may set the label; one value
// that Prefect refuses would spoil the read of a whole batch.
func valid(id flowrun.ID) bool {
	const size = 36
	if len(id) != size {
		return false
	}
	for i, c := range []byte(id) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// waits reports whether a Job waits for longer than is usual.
func (c *runCase) waits() bool {
	for _, job := range c.jobs {
		v := c.verdict(job, nil)
		if mine(job) && v.Unexplained() && c.now.Sub(job.Created) >= podWait {
			return true
		}
	}
	return false
}

// explain gives each waiting run the events about its Jobs and Pods.
func (r *Reaper) explain(ctx context.Context, waiting []*runCase) {
	if time.Since(r.warned.at) >= podWait {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		events, err := r.witness.Warnings(ctx, r.policy.Namespace)
		r.warned.at = time.Now()
		if err != nil {
			if !r.lacks(ctx, "list events", "jobs without a pod stay unexplained", err) {
				r.log.WarnContext(ctx, "events not read, so jobs without a pod stay unexplained", slog.Any("error", err))
			}
			return
		}
		r.warned = warnings{at: time.Now(), byUID: map[string][]diagnose.Event{}}
		for i := range events {
			e := diagnose.EventFacts(&events[i])
			r.warned.byUID[e.UID] = append(r.warned.byUID[e.UID], e)
		}
	}
	for _, c := range waiting {
		c.events = r.warned.byUID
	}
}

// warnings are the events of the namespace, kept for a moment because many Jobs
// wait at once if one does.
type warnings struct {
	at    time.Time
	byUID map[string][]diagnose.Event
}

// observe notes what is seen for the first time.
func (c *runCase) observe() {
	for _, job := range c.jobs {
		c.memory.see(job.UID, c.verdict(job, c.eventsOf(job)), c.now)
	}
	newest := c.newest()
	if orphans := c.orphans(); newest.UID == "" && len(orphans) > 0 {
		v := c.orphaned(orphans)
		c.memory.see("", v, c.now)
		if v.Kind == diagnose.Succeeded {
			c.memory.succeeded, c.memory.python = true, diagnose.Job{}
		}
	}
	if newest.UID != "" {
		c.memory.succeeded = c.memory.stuck[newest.UID].kind == diagnose.Succeeded
		c.memory.python = diagnose.Job{}
		if newest.Python && !newest.Finished() && !newest.Deleting {
			c.memory.python = newest
		}
	}
	if len(c.jobs) > 0 || c.alive("") {
		c.memory.deleted = false
	}
}

// see notes the verdict on a Job unless it is the one that was seen before. The
// Pods of a Job that is gone have no UID of theirs.
func (m *memory) see(uid string, v diagnose.Verdict, now time.Time) {
	before, ok := m.stuck[uid]
	if !ok || before.kind != v.Kind || v.Kind == diagnose.Stuck && class(before.reason) != class(v.Reason) {
		m.stuck[uid] = seen{kind: v.Kind, reason: v.Reason, since: now}
	}
}

// class makes one of the two words between which the kubelet alternates while an
// image cannot be pulled.
func class(reason string) string {
	if reason == "ErrImagePull" {
		return "ImagePullBackOff"
	}
	return reason
}

func (c *runCase) verdict(job diagnose.Job, events []diagnose.Event) diagnose.Verdict {
	return diagnose.Diagnose(diagnose.Facts{
		Job: &job, Pods: c.podsOf(job.UID), Events: events, Seen: c.memory.stuck[job.UID].since, Now: c.now, Hint: c.hint,
	})
}

func (c *runCase) podsOf(jobUID string) []diagnose.Pod {
	return slices.DeleteFunc(slices.Clone(c.pods), func(p diagnose.Pod) bool { return p.JobUID != jobUID })
}

func (c *runCase) eventsOf(job diagnose.Job) []diagnose.Event {
	events := c.events[job.UID]
	for _, p := range c.podsOf(job.UID) {
		events = append(slices.Clip(events), c.events[p.UID]...)
	}
	return events
}

// alive reports whether a Pod of the run lives that is not one of the given Job
// which never started.
func (c *runCase) alive(except string) bool {
	return slices.ContainsFunc(c.pods, func(p diagnose.Pod) bool {
		return p.Live() && (p.Started() || p.JobUID != except || except == "")
	})
}

// orphans are the Pods, newest first, whose Job is gone and which nothing owns. A
// flow may make Pods with the labels of its own: those have other names.
func (c *runCase) orphans() []diagnose.Pod {
	pods := slices.DeleteFunc(slices.Clone(c.pods), func(p diagnose.Pod) bool {
		return p.Owned || !p.Managed && (!p.Python || !flowrun.Prefixed(p.Name))
	})
	slices.SortStableFunc(pods, func(a, b diagnose.Pod) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Name, b.Name)) })
	return pods
}

func (c *runCase) orphaned(orphans []diagnose.Pod) diagnose.Verdict {
	return diagnose.Diagnose(diagnose.Facts{Pods: orphans, Seen: c.memory.stuck[""].since, Now: c.now})
}

// newest is the newest Job of ours or a Python agent's, of those that rank highest.
// A Job whose attempt is the UID of another one is newer than that, whatever the
// clock says.
func (c *runCase) newest() diagnose.Job {
	var newest diagnose.Job
	for _, job := range c.jobs {
		if mine(job) && (newest.UID == "" || cmp.Or(cmp.Compare(c.rank(job), c.rank(newest)), compareAge(job, newest)) > 0) {
			newest = job
		}
	}
	return newest
}

// rank puts our Jobs first where a claim of ours holds the run, and last what a
// flow may have made itself, with the labels of its own Job.
func (c *runCase) rank(j diagnose.Job) int {
	switch {
	case j.Managed && c.run.standing.Holder != nil:
		return 2
	case j.Managed || flowrun.Prefixed(j.Name):
		return 1
	}
	return 0
}

func compareAge(a, b diagnose.Job) int {
	switch {
	case a.Attempt != "" && a.Attempt == b.UID:
		return 1
	case b.Attempt != "" && b.Attempt == a.UID:
		return -1
	}
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}

// decide collects what is to be done about each Job of the run.
func (r *Reaper) decide(c *runCase) []jobAction {
	newest := c.newest()
	orphans := c.orphans()
	switch {
	case newest.UID != "":
	case len(orphans) > 0 && flowrun.Prefixed(orphans[0].Name) && c.run.standing.Holder == nil:
		return r.decideOrphans(c, orphans)
	default:
		return r.decideGone(c, orphans)
	}
	all := actionsOf(facts{id: c.id, run: c.run, now: c.now}, func(f facts) []Action { return f.clear(orphans, r.policy) })
	for _, job := range c.jobs {
		all = append(all, actionsOf(c.factsOf(job, newest), func(f facts) []Action { return decide(f, r.policy) })...)
	}
	return all
}

func actionsOf(f facts, decision func(facts) []Action) []jobAction {
	actions := decision(f)
	all := make([]jobAction, 0, len(actions))
	for _, a := range actions {
		all = append(all, jobAction{Action: a, facts: f})
	}
	return all
}

func (c *runCase) factsOf(job, newest diagnose.Job) facts {
	pods := c.podsOf(job.UID)
	f := facts{
		id: c.id, job: job, verdict: c.verdict(job, c.eventsOf(job)), newest: job.UID == newest.UID, busy: c.alive(job.UID),
		started: slices.ContainsFunc(pods, diagnose.Pod.Started), occupied: slices.ContainsFunc(pods, diagnose.Pod.Live),
		run: c.run, now: c.now, unstoppable: c.now.Before(c.memory.unstoppable),
	}
	for _, p := range pods {
		if ended := p.FlowEnded(); !ended.IsZero() {
			f.over = c.now.Sub(ended)
		}
	}
	f.recall(c)
	return f
}

// recall adds how long things have been as they are.
func (f *facts) recall(c *runCase) {
	if s := c.memory.stuck[f.job.UID]; !s.since.IsZero() {
		f.watched = c.now.Sub(s.since)
	}
	f.doubted = c.doubted(c.run.knowledge == unknown)
	if version, _ := f.run.counting(); f.newest && f.run.knowledge == known {
		if m := &c.memory.state; m.since.IsZero() || m.version != version || m.job != f.job.UID {
			*m = asRead{version: version, job: f.job.UID, since: c.now}
		}
		f.same = c.now.Sub(c.memory.state.since)
		c.memory.witness(*f)
	}
	f.witnessed = c.memory.alive[nameOf(f.job)]
}

// doubted is how long something has been missing.
func (c *runCase) doubted(missing bool) time.Duration {
	switch {
	case !missing:
		if c.run.knowledge == known && len(c.jobs)+len(c.orphans()) > 0 {
			c.memory.missing = time.Time{}
		}
		return 0
	case c.memory.missing.IsZero():
		c.memory.missing = c.now
	}
	return c.now.Sub(c.memory.missing)
}

// decideGone is decide for a run whose Job is gone, with the Pods that outlived it
// as the cause if there are any.
func (r *Reaper) decideGone(c *runCase, orphans []diagnose.Pod) []jobAction {
	f := facts{
		id: c.id, job: c.memory.python, verdict: c.orphaned(orphans), orphans: true, run: c.run, now: c.now,
		witnessed: c.memory.alive[nameOf(c.memory.python)],
	}
	clears := actionsOf(f, func(f facts) []Action { return f.clear(orphans, r.policy) })
	if len(c.jobs) > 0 || c.alive("") || c.memory.deleted || c.memory.succeeded {
		return clears
	}
	f.doubted = c.doubted(true)
	return append(actionsOf(f, func(f facts) []Action { return gone(f, r.policy) }), clears...)
}
