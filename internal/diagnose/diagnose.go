package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Kind is what has become of a Job.
type Kind uint8

// Pending: no Pod, or none with a node. Starting: on a node, not running yet.
// Running. Succeeded: ended well. Failed: ended badly, for good. Stuck: cannot go
// on, for the reason and since the time that the verdict names. Gone: deleted.
// Stopped: its parallelism was set to 0 and its Pods were ended for that.
const (
	Pending Kind = iota
	Starting
	Running
	Succeeded
	Failed
	Stuck
	Gone
	Stopped
)

func (k Kind) String() string {
	switch k {
	case Pending:
		return "pending"
	case Starting:
		return "starting"
	case Running:
		return "running"
	case Succeeded:
		return "succeeded"
	case Failed:
		return "failed"
	case Stuck:
		return "stuck"
	case Gone:
		return "gone"
	case Stopped:
		return "stopped"
	}
	return "unknown"
}

// Facts are everything a verdict rests on.
type Facts struct {
	// Job is nil if it does not exist.
	Job *Job
	// Pods are those that the Job controls, or that outlived it.
	Pods []Pod
	// Events are about the Job or its Pods, in any order; none is fine, but a Job
	// without a Pod tells its reason only there.
	Events []Event
	// Seen is when the observer first saw the Job stuck as it is now; zero means
	// now. Kubernetes keeps no time for most of what a Pod waits for.
	Seen time.Time
	Now  time.Time
	// Hint says what else may be done about a refusal; nil if nobody knows more.
	Hint func(refusal string) string
}

// Culprit is what a verdict is about.
type Culprit struct {
	Pod, Container, Node string
	// Restarted says that the log of the run before the restart is the telling one.
	Restarted bool
}

// Verdict is what has become of a Job.
type Verdict struct {
	Kind Kind
	// Reason is Kubernetes' own word where there is one, such as OOMKilled.
	Reason string
	// Since is when it came to this.
	Since   time.Time
	Culprit Culprit
	// Message is one sentence for the owner of the run, empty unless Failed, Stuck, Gone
	// or Stopped. Of a Job that Succeeded it is what to say if the flow never began.
	Message string
	// Patience is how many times the grace period a stuck Job may go on; 0 means
	// for ever.
	Patience int
	// Evidence are further lines, in the order in which they matter.
	Evidence []string
}

// NoPod is the reason of a pending Job without a Pod.
const NoPod = "NoPod"

// Unexplained reports whether the Job waits for something that may be told in
// events only, which change neither the Job nor its Pods.
func (v Verdict) Unexplained() bool {
	return v.Kind == Starting || v.Kind == Pending && v.Reason == NoPod
}

// Diagnose gives the verdict on one Job. Pods are asked first: a Job's own
// conditions come seconds to minutes later (kubernetes#121990).
func Diagnose(f Facts) Verdict {
	f.Pods = slices.Clone(f.Pods)
	newestFirst(f.Pods)
	v := f.verdict()
	if v.Since.IsZero() {
		v.Since = cmpTime(f.Seen, f.Now)
	}
	if v.Kind == Failed || v.Kind == Stuck || v.Kind == Succeeded {
		v.Evidence = f.evidence(v)
	}
	return v
}

func (f Facts) verdict() Verdict {
	if f.Job == nil {
		return f.orphaned()
	}
	j := *f.Job
	switch {
	case j.Ended.Type == "Complete" || j.Ending.Type == "SuccessCriteriaMet":
		return f.succeeded(cmpTime(j.Ended.Since, j.Ending.Since))
	case j.Ended.Type == "Failed" || j.Ending.Type == "FailureTarget":
		return f.failed()
	case f.stopped():
		return Verdict{Kind: Stopped, Reason: "JobStopped", Message: fmt.Sprintf("Job %q was stopped (parallelism 0)", j.Name)}
	}
	if i := slices.IndexFunc(f.Pods, func(p Pod) bool { return p.Phase == corev1.PodSucceeded }); i >= 0 {
		return f.succeeded(f.Pods[i].endedAt())
	}
	if i := slices.IndexFunc(f.Pods, Pod.Live); i >= 0 {
		return f.live(f.Pods[i])
	}
	if len(f.Pods) == 0 {
		return f.podless()
	}
	if j.mayTryAgain(len(f.Pods)) {
		return Verdict{Kind: Pending, Reason: "Retry"}
	}
	return f.failed()
}

// NeverBegan is the reason of a Job that ended well, should its flow not have begun.
const NeverBegan = "NeverBegan"

// succeeded is the verdict on a Job that ended well. Only Prefect knows whether the
// flow did, or ever began.
func (f Facts) succeeded(since time.Time) Verdict {
	const mend = "The container did not run the flow: let its command and args end in those that the agent gives, or leave both out of the job template."
	v := Verdict{Kind: Succeeded, Reason: NeverBegan, Since: since, Message: sentence(fmt.Sprintf("Job %q ended well and the flow never began", f.Job.Name), "", mend)}
	if i := slices.IndexFunc(f.Pods, func(p Pod) bool { return p.Phase == corev1.PodSucceeded }); i >= 0 {
		p := f.Pods[i]
		v.Culprit = Culprit{Pod: p.Name, Node: p.Node, Container: p.mainContainer()}
		v.Message = sentence(fmt.Sprintf("container %q of pod %q ended with exit code 0 and the flow never began", v.Culprit.Container, p.Name), "", mend)
	}
	return v
}

// stopped reports whether the Job makes no Pod any more and its last one was ended
// for that. On Kubernetes 1.34.4 the Job controller deletes the Pods at once and counts
// none of them: the Job never gets a condition, and its status loses what was active.
// A process that ignores SIGTERM is killed at the end of its Pod's grace period. In the
// second before it vanishes such a Pod shows Failed with 143 or 137, ContainerStatusUnknown
// where nothing ran, or Succeeded, and says nothing of the flow.
func (f Facts) stopped() bool {
	return f.Job.Parallelism == 0 && !f.Job.Deleting && !slices.ContainsFunc(f.Pods, Pod.Live) &&
		(len(f.Pods) == 0 || f.Pods[0].Deleting)
}

// orphaned is the verdict on Pods whose Job was deleted without them: nobody makes
// another one.
func (f Facts) orphaned() Verdict {
	if i := slices.IndexFunc(f.Pods, Pod.Live); i >= 0 {
		return f.live(f.Pods[i])
	}
	if len(f.Pods) == 0 {
		return Verdict{Kind: Gone, Reason: "JobDeleted", Message: "the Job was deleted"}
	}
	if f.Pods[0].Phase == corev1.PodSucceeded {
		return Verdict{Kind: Succeeded, Since: f.Pods[0].endedAt()}
	}
	b := f.blame()
	return Verdict{Kind: Failed, Reason: b.reason, Since: b.at, Culprit: b.culprit, Message: b.message + "; the Job was deleted"}
}

// mayTryAgain reports whether the Job controller may still make a Pod after so
// many failed ones. With a failure policy only the controller knows.
func (j Job) mayTryAgain(failedPods int) bool {
	if j.Deleting || j.Parallelism == 0 {
		return false
	}
	return j.FailurePolicy || int64(max(int(j.Failed), failedPods)) <= int64(j.BackoffLimit)
}

// podless is the verdict on a Job that has no Pod and no ending.
func (f Facts) podless() Verdict {
	switch {
	case f.Job.Deleting:
		return Verdict{Kind: Gone, Reason: "JobDeleted", Message: fmt.Sprintf("Job %q was deleted", f.Job.Name)}
	case f.Job.Suspended:
		return Verdict{Kind: Pending, Reason: "Suspended"}
	}
	e, ok := f.lastEvent(f.Job.UID, func(e Event) bool { return e.Reason == "FailedCreate" })
	if !ok {
		return Verdict{Kind: Pending, Reason: NoPod, Since: f.Job.Created}
	}
	reason, c := refusal(e.Message)
	mend := c.mend
	if f.Hint != nil && !f.Job.Python {
		mend = strings.TrimSpace(mend + " " + f.Hint(e.Message))
	}
	return Verdict{
		Kind: Stuck, Reason: reason, Patience: c.patience,
		Message: sentence(fmt.Sprintf("Job %q gets no pod: %s", f.Job.Name, c.text), e.Message, mend),
	}
}

// live is the verdict on a Job whose newest living Pod is p.
func (f Facts) live(p Pod) Verdict {
	culprit := Culprit{Pod: p.Name, Node: p.Node}
	c, w, held := p.heldBack()
	switch {
	case p.Phase == corev1.PodUnknown:
		return Verdict{
			Kind: Stuck, Reason: string(p.Phase), Culprit: culprit,
			Message: sentence(fmt.Sprintf("pod %q entered an unknown state: its node does not answer", p.Name), p.Message, ""),
		}
	case p.Started() || p.Phase == corev1.PodRunning:
		// A sidecar that cannot start keeps no flow from running.
		return Verdict{Kind: Running, Reason: c.Waiting, Culprit: culprit}
	case held:
		culprit.Container, culprit.Restarted = c.Name, c.Before != nil
		return Verdict{
			Kind: Stuck, Reason: c.Waiting, Culprit: culprit, Patience: w.patience,
			Message: sentence(fmt.Sprintf("container %q of pod %q does not start: %s (%s)", c.Name, p.Name, w.text, c.Waiting), c.WaitingMessage, w.mend),
		}
	case p.Unscheduled.Reason == unschedulable:
		return Verdict{
			Kind: Stuck, Reason: unschedulable, Since: p.Unscheduled.Since, Culprit: culprit, Patience: noNode.patience,
			Message: sentence(fmt.Sprintf("pod %q waits: %s", p.Name, noNode.text), p.Unscheduled.Message, noNode.mend),
		}
	case p.Unscheduled.Reason == gated || p.Node == "":
		return Verdict{Kind: Pending, Reason: p.Unscheduled.Reason, Since: p.Created, Culprit: culprit}
	}
	return f.starting(p, culprit)
}

// heldBack is the first container whose waiting reason is in the catalogue.
func (p Pod) heldBack() (Container, cause, bool) {
	for _, c := range p.Containers {
		if w, ok := waits[c.Waiting]; ok {
			return c, w, true
		}
	}
	return Container{}, cause{}, false
}

func (f Facts) starting(p Pod, culprit Culprit) Verdict {
	e, ok := f.lastEvent(p.UID, func(e Event) bool { _, ok := mounts[e.Reason]; return ok })
	if !ok {
		return Verdict{Kind: Starting, Since: p.Created, Culprit: culprit}
	}
	c := mounts[e.Reason]
	return Verdict{
		Kind: Stuck, Reason: e.Reason, Culprit: culprit, Patience: c.patience,
		Message: sentence(fmt.Sprintf("pod %q does not start: %s", p.Name, c.text), e.Message, c.mend),
	}
}

// lastEvent is the newest event about an object that fits.
func (f Facts) lastEvent(uid string, fits func(Event) bool) (Event, bool) {
	var last Event
	found := false
	for _, e := range f.Events {
		if e.UID == uid && fits(e) && (!found || e.At.After(last.At)) {
			last, found = e, true
		}
	}
	return last, found
}

func newestFirst(pods []Pod) {
	slices.SortStableFunc(pods, func(a, b Pod) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Name, b.Name)) })
}

func cmpTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// sentence joins what happened, Kubernetes' own words and what to do.
func sentence(what, words, mend string) string {
	if words != "" {
		what += ": " + words
	}
	if mend == "" {
		return what
	}
	if last := what[len(what)-1]; last != '.' && last != '!' {
		what += "."
	}
	return what + " " + mend
}
