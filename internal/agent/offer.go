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
	place string
	// here holds the objects of the run; only looked at where needsLook says so.
	here objects
	// unseen is how long this process has seen the run without any Job of it.
	unseen time.Duration
	read   time.Time
}

// skip says why a run that the queue returned is not started now. Empty means an offer.
type skip string

const (
	skipCovered   skip = "the state shown is not the state that counts"
	skipState     skip = "its state cannot be started"
	skipLivePod   skip = "a pod of this flow run is still alive"
	skipLiveJob   skip = "a job of this flow run is still alive"
	skipElsewhere skip = "another place holds this flow run"
	skipEarly     skip = "its start time is further away than was asked for"
	skipYoung     skip = "no job seen yet, waiting until none can be under way"
)

// needsLook reports whether the cluster must be asked before the run may be
// offered: only runs that somebody had before. Most have nobody and cost nothing.
func needsLook(run prefect1.FlowRun, stand flowrun.Standing) bool {
	unknown := len(run.History) == 0 && run.Version > 1 // a server without histories
	if run.State.Type == flowrun.Running || stand.Claimed || unknown {
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

// offerScheduled: the rest of the checks before a claim, waiting out creates of
// earlier attempts and giving the last holder's place a head start, belongs here.
func offerScheduled(v view) (Offer, skip) {
	attempt := flowrun.Attempt(v.stand.Scheduled)
	older := func(j batchv1.Job) bool { return liveJob(j) && j.Annotations[flowrun.AnnotationAttempt] != attempt }
	switch {
	case v.stand.Counting.State.Start.After(v.read.Add(2 * lookAhead)):
		return Offer{}, skipEarly
	case livePod(v.here.pods):
		return Offer{}, skipLivePod
	case slices.ContainsFunc(v.here.jobs, older):
		return Offer{}, skipLiveJob
	}
	return Offer{
		ID: v.run.ID, Name: v.run.Name, NeedsClaim: true,
		Attempt: attempt,
		Start:   v.stand.Counting.State.Start, Read: v.read,
		Run: Run{FlowRun: v.run, Scheduled: v.stand.Scheduled},
	}, ""
}

// offerRetry takes a Running run whose task runs wait for a retry and whose
// process has ended (D-26). It writes no claim, so it belongs to its holder's
// place alone; a run that no claim of ours names belongs to the place that has a
// Job of it.
func offerRetry(v view) (Offer, skip) {
	last := v.stand.Last()
	newest := newestJob(v.here.jobs)
	switch {
	case last != nil && last.State.Mark.Place != v.place, last == nil && newest == nil:
		return Offer{}, skipElsewhere
	case livePod(v.here.pods):
		return Offer{}, skipLivePod
	case slices.ContainsFunc(v.here.jobs, liveJob):
		return Offer{}, skipLiveJob
	case newest == nil && v.unseen < flowrun.Fence:
		return Offer{}, skipYoung
	}
	attempt := "none"
	if newest != nil {
		attempt = string(newest.UID)
	}
	return Offer{
		ID: v.run.ID, Name: v.run.Name, Attempt: attempt, Read: v.read,
		Run: Run{FlowRun: v.run, Scheduled: v.stand.Scheduled},
	}, ""
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

// liveJob: its conditions say nothing of an end yet, or its pods are still going.
func liveJob(j batchv1.Job) bool {
	return j.DeletionTimestamp != nil || !slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

func livePod(pods []corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(p corev1.Pod) bool {
		return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
	})
}
