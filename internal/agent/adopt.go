package agent

import (
	"errors"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

const (
	// adoptAge is how long this process must have seen a claim before it makes the
	// Job that the claim promised: whoever wrote it is about to.
	adoptAge = 10 * time.Second
	// adoptLimit is how long it goes on trying from when it first could. Then a person
	// must see it.
	adoptLimit = 10 * time.Minute
)

// errNoJob is the ending of a run whose claim led to nothing for adoptLimit.
var errNoJob = errors.New("no Job: it was never created, or it was deleted before the flow run began. Start the flow run again")

// adopt decides about a run that is Submitted, and of which the place held neither
// the Job that its claim promised nor a live Pod. The history was read after that:
// a flow process sets Running before it runs anything, so a run that is still
// Submitted then has executed nothing (D-16). Agents of one place may differ in their
// labels, and in what they make of a run: one adopts what it would be offered.
func adopt(v view) (Offer, skip) {
	claim, attempt := v.stand.Counting.State.Mark, flowrun.Attempt(v.stand.Scheduled)
	promised := func(j batchv1.Job) bool { return j.Annotations[flowrun.AnnotationAttempt] == attempt }
	switch {
	case v.stand.Counting.State.Type != v.run.State.Type:
		return Offer{}, skipCovered
	case claim.Kind != flowrun.Claim:
		return Offer{}, skipState
	case !claim.Place.Is(v.place):
		return Offer{}, skipElsewhere
	case !v.fits:
		return Offer{}, skipLabels
	case v.age() < adoptAge:
		return Offer{}, skipRecent
	case slices.ContainsFunc(v.here.jobs, promised):
		return Offer{}, skipPromised
	}
	if why := v.mayStart(); why != "" {
		return Offer{}, why
	}
	o := v.offer(attempt)
	o.Run.Claimant = claim.Agent
	// A claim that came late, and so holds a later attempt than it was made for,
	// promised another's Job.
	if strings.HasSuffix(claim.Job, "-"+flowrun.Identifier(v.run.ID, attempt)) {
		o.Run.Job = claim.Job
	}
	return o, ""
}
