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
	// misses counts requests that failed in a row.
	misses int
	// deleted says that we deleted the run's last Job ourselves, succeeded that its
	// newest Job ended well: neither is missed when it is gone.
	deleted, succeeded bool
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
	c := &runCase{id: id, now: now}
	c.jobs, c.pods = r.watch.Group(group)
	m, ok := r.runs[id]
	if !ok {
		m = &memory{told: map[string]bool{}, stuck: map[string]seen{}}
		r.runs[id] = m
	}
	c.memory = m
	return c, true
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

// waits reports whether a Job of ours waits for longer than is usual.
func (c *runCase) waits() bool {
	for _, job := range c.jobs {
		v := c.verdict(job, nil)
		if job.Managed && v.Unexplained() && c.now.Sub(job.Created) >= podWait {
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
		if err != nil {
			r.log.WarnContext(ctx, "events not read, so jobs without a pod stay unexplained", slog.Any("error", err))
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
		v := c.verdict(job, c.eventsOf(job))
		before, ok := c.memory.stuck[job.UID]
		if !ok || before.kind != v.Kind || v.Kind == diagnose.Stuck && class(before.reason) != class(v.Reason) {
			c.memory.stuck[job.UID] = seen{kind: v.Kind, reason: v.Reason, since: c.now}
		}
	}
	if newest := c.newest(); newest.UID != "" {
		c.memory.succeeded = c.memory.stuck[newest.UID].kind == diagnose.Succeeded
	}
	if len(c.jobs) > 0 || c.alive("") {
		c.memory.deleted = false
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
		Job: &job, Pods: c.podsOf(job.UID), Events: events, Seen: c.memory.stuck[job.UID].since, Now: c.now,
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

// newest is the newest Job of ours. A Job whose attempt is the UID of another one
// is newer than that, whatever the clock says.
func (c *runCase) newest() diagnose.Job {
	var newest diagnose.Job
	for _, job := range c.jobs {
		if job.Managed && (newest.UID == "" || compareAge(job, newest) > 0) {
			newest = job
		}
	}
	return newest
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
	if newest.UID == "" {
		return r.decideGone(c)
	}
	var all []jobAction
	for _, job := range c.jobs {
		f := c.factsOf(job, newest)
		for _, a := range decide(f, r.policy) {
			all = append(all, jobAction{Action: a, facts: f})
		}
	}
	return all
}

func (c *runCase) factsOf(job, newest diagnose.Job) facts {
	pods := c.podsOf(job.UID)
	f := facts{
		id: c.id, job: job, verdict: c.verdict(job, c.eventsOf(job)), newest: job.UID == newest.UID, busy: c.alive(job.UID),
		started: slices.ContainsFunc(pods, diagnose.Pod.Started), occupied: slices.ContainsFunc(pods, diagnose.Pod.Live),
		run: c.run, now: c.now,
	}
	if s := c.memory.stuck[job.UID]; !s.since.IsZero() {
		f.watched = c.now.Sub(s.since)
	}
	f.doubted = c.doubted(c.run.knowledge == unknown)
	return f
}

// doubted is how long something has been missing.
func (c *runCase) doubted(missing bool) time.Duration {
	switch {
	case !missing:
		if c.run.knowledge == known && len(c.jobs) > 0 {
			c.memory.missing = time.Time{}
		}
		return 0
	case c.memory.missing.IsZero():
		c.memory.missing = c.now
	}
	return c.now.Sub(c.memory.missing)
}

// decideGone is decide for a run without any Job of ours.
func (r *Reaper) decideGone(c *runCase) []jobAction {
	if len(c.jobs) > 0 || c.alive("") || c.memory.deleted || c.memory.succeeded {
		return nil
	}
	f := facts{id: c.id, verdict: diagnose.Diagnose(diagnose.Facts{Now: c.now}), run: c.run, now: c.now, doubted: c.doubted(true)}
	all := make([]jobAction, 0, 1)
	for _, a := range gone(f, r.policy) {
		all = append(all, jobAction{Action: a, facts: f})
	}
	return all
}
