package agent

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// Offer is an offer of Prefect 0.x and 1.x.
type Offer = dispatch.Offer[Run]

// Run is what is remembered of an offered flow run between its read and its Job.
type Run struct {
	prefect1.FlowRun
	// Scheduled is the version of the Scheduled row that the attempt rests on.
	Scheduled int
	// Claimant is the agent whose claim the start rests on: this one, or the one that
	// it is adopted from. It is empty for a retry, which needs no claim.
	Claimant string
	// Job is the name that an adopted claim promised, empty if it promised none.
	Job string
	// since is when this process first saw the run as it was offered.
	since time.Time
}

// objects are what this place holds of one flow run.
type objects struct {
	jobs []batchv1.Job
	pods []corev1.Pod
}

// view is everything that the decision about one flow run rests on.
type view struct {
	run   prefect1.FlowRun
	stand flowrun.Standing
	// agent and place are ours.
	agent string
	place flowrun.Place
	// fits is whether the run has labels that we take; it matters where no queue
	// compared them.
	fits bool
	// here holds the objects of the run; only looked at where needsLook says so.
	here objects
	// since is when this process first saw the run as it is now.
	since, read time.Time
}

// age is how long this process has seen the run as it is now. No clock of a server
// is compared.
func (v view) age() time.Duration { return v.read.Sub(v.since) }

// skip says why a run that the queue returned is not started now. Empty means an offer.
type skip string

const (
	skipCovered   skip = "the state shown is not the state that counts"
	skipState     skip = "its state cannot be started"
	skipLivePod   skip = "a pod of this flow run is still alive"
	skipLiveJob   skip = "a job of this flow run is still alive"
	skipElsewhere skip = "another place holds this flow run"
	skipEarly     skip = "its start time is further away than was asked for"
	skipYoung     skip = "waiting until no create of an earlier start can be under way"
	skipHome      skip = "the place that held it before has the first turn"
	skipRecent    skip = "it was claimed a moment ago"
	skipPromised  skip = "the job of its claim is there"
	skipLabels    skip = "it has labels that this agent does not take"
)

// headStart is what the place that held a run before gets on top of the fence to
// stop what it still runs, or to take the run itself.
const headStart = 2 * time.Minute

// needsLook reports whether the cluster must be asked before the run may be
// offered: only runs that somebody had before. Most have nobody and cost nothing.
func needsLook(run prefect1.FlowRun, stand flowrun.Standing) bool {
	if run.State.Type == flowrun.Running || stand.Claimed || run.Blind() {
		return true
	}
	return slices.ContainsFunc(run.History, func(r flowrun.Row) bool {
		return r.State.Type != flowrun.Scheduled && r.State.Type != flowrun.Pending
	})
}

// offer decides whether a run may be started now, and as which attempt.
func offer(v view) (Offer, skip) {
	counting := v.stand.Counting.State.Type
	switch {
	case counting != v.run.State.Type:
		return Offer{}, skipCovered // put-back writes the counting state again
	case counting == flowrun.Scheduled:
		return offerScheduled(v)
	case counting == flowrun.Running:
		return offerRetry(v)
	}
	return Offer{}, skipState
}

func offerScheduled(v view) (Offer, skip) {
	if v.stand.Counting.State.Start.After(v.read.Add(2 * lookAhead)) {
		return Offer{}, skipEarly
	}
	if why := v.mayStart(); why != "" {
		return Offer{}, why
	}
	o := v.offer(flowrun.Attempt(v.stand.Scheduled))
	o.NeedsClaim, o.Start = true, v.stand.Counting.State.Start
	o.Run.Claimant = v.agent
	return o, ""
}

// mayStart says why the attempt that counts may not be started now, in this place.
func (v view) mayStart() skip {
	attempt := flowrun.Attempt(v.stand.Scheduled)
	older := func(j batchv1.Job) bool { return liveJob(j) && j.Annotations[flowrun.AnnotationAttempt] != attempt }
	switch {
	case livePod(v.here.pods):
		return skipLivePod
	case slices.ContainsFunc(v.here.jobs, older):
		return skipLiveJob
	}
	return v.previous()
}

// previous waits for what the holder of the attempt before may still do: create a
// Job that nobody has seen, for a fence, and in another place stop one that we
// cannot see. A server without histories does not say whether there was one.
func (v view) previous() skip {
	wait, why := time.Duration(0), skipYoung
	switch previous := v.stand.Previous; {
	case previous == nil && v.run.Blind():
		wait = flowrun.Fence
	case previous == nil:
		return ""
	default:
		attempt := flowrun.Attempt(v.stand.PreviousScheduled)
		there := slices.ContainsFunc(v.here.jobs, func(j batchv1.Job) bool { return j.Annotations[flowrun.AnnotationAttempt] == attempt })
		if !there && !v.stand.PreviousRan {
			wait = flowrun.Fence
		}
		if !previous.State.Mark.Place.Is(v.place) {
			wait, why = wait+headStart, skipHome
		}
	}
	if v.age() < wait {
		return why
	}
	return ""
}

func (v view) offer(attempt string) Offer {
	return Offer{
		ID: v.run.ID, Name: v.run.Name, Attempt: attempt, Read: v.read,
		Run: Run{FlowRun: v.run, Scheduled: v.stand.Scheduled, since: v.since},
	}
}

// offerRetry takes a Running run whose task runs wait for a retry and whose
// process has ended (D-26). It writes no claim, so it belongs to its holder's
// place alone; a run that no claim of ours names belongs to the place that has a
// Job of it.
func offerRetry(v view) (Offer, skip) {
	last := v.stand.Last()
	newest := newestJob(v.here.jobs)
	switch {
	case last != nil && !last.State.Mark.Place.Is(v.place), last == nil && newest == nil:
		return Offer{}, skipElsewhere
	case livePod(v.here.pods):
		return Offer{}, skipLivePod
	case slices.ContainsFunc(v.here.jobs, liveJob):
		return Offer{}, skipLiveJob
	case newest == nil && v.age() < flowrun.Fence:
		return Offer{}, skipYoung
	}
	attempt := "none"
	if newest != nil {
		attempt = string(newest.UID)
	}
	return v.offer(attempt), ""
}

func newestJob(jobs []batchv1.Job) *batchv1.Job {
	var newest *batchv1.Job
	for i := range jobs {
		if newest == nil || newest.CreationTimestamp.Before(&jobs[i].CreationTimestamp) {
			newest = &jobs[i]
		}
	}
	return newest
}

// liveJob: its conditions say nothing of an end yet, or its pods are still going. One
// that was stopped never gets a condition, and makes no pod any more.
func liveJob(j batchv1.Job) bool {
	stopped := j.Spec.Parallelism != nil && *j.Spec.Parallelism == 0
	return j.DeletionTimestamp != nil || !stopped && !slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

func livePod(pods []corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(p corev1.Pod) bool {
		return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
	})
}
