package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// failed is the verdict on a Job that ended badly. The Pod tells the cause,
// except where the Job itself ended it.
func (f Facts) failed() Verdict {
	j := *f.Job
	end := j.Ended
	if end.Type == "" {
		end = j.Ending
	}
	if c, ok := jobEnds[end.Reason]; ok {
		return Verdict{
			Kind: Failed, Reason: end.Reason, Since: end.Since, Culprit: f.blame().culprit,
			Message: sentence(fmt.Sprintf("Job %q %s", j.Name, c.text), end.Message, c.mend),
		}
	}
	b := f.blame()
	if b.reason == "" {
		return f.failedWithoutPod(end)
	}
	v := Verdict{Kind: Failed, Reason: b.reason, Since: cmpTime(b.at, end.Since), Culprit: b.culprit, Message: b.message}
	if len(f.Pods) > 1 {
		v.Message += fmt.Sprintf(" (the last of %d pods)", len(f.Pods))
	}
	if j.Deleting {
		v.Message += "; the Job was being deleted"
	}
	return v
}

func (f Facts) failedWithoutPod(end Condition) Verdict {
	reason := cmp.Or(end.Reason, "Failed")
	return Verdict{
		Kind: Failed, Reason: reason, Since: end.Since,
		Message: sentence(fmt.Sprintf("Job %q failed (%s) and its pods are gone, so the cause is not known", f.Job.Name, reason), end.Message, ""),
	}
}

// blamed is the cause that a Pod tells.
type blamed struct {
	reason, message string
	at              time.Time
	culprit         Culprit
}

// blame asks the newest failed Pod.
func (f Facts) blame() blamed {
	i := slices.IndexFunc(f.Pods, func(p Pod) bool { return p.Phase == corev1.PodFailed })
	if i < 0 {
		return blamed{}
	}
	return f.Pods[i].blame()
}

func (p Pod) blame() blamed {
	worst, ended := p.worst()
	b := blamed{at: p.endedAt(), culprit: Culprit{Pod: p.Name, Node: p.Node}}
	if ended {
		b.culprit.Container = worst.Name
	}
	switch {
	case p.Reason != "":
		b.tellPod(p, p.Reason, p.Message)
	case ended && worst.Ended.Reason == "OOMKilled":
		b.tellContainer(p, worst)
	case p.Disruption.Reason != "":
		b.tellPod(p, p.Disruption.Reason, p.Disruption.Message)
	case ended:
		b.tellContainer(p, worst)
	default:
		b.tellPod(p, "PodFailed", p.Message)
		b.culprit.Container = p.mainContainer() // its log may tell what its status does not
	}
	return b
}

// mainContainer is the first container that is no init container.
func (p Pod) mainContainer() string {
	i := slices.IndexFunc(p.Containers, func(c Container) bool { return !c.Init })
	if i < 0 {
		return ""
	}
	return p.Containers[i].Name
}

// worst is the container whose end made the Pod fail: out of memory before
// anything else, then the first that ended badly.
func (p Pod) worst() (Container, bool) {
	var bad []Container
	for _, c := range p.Containers {
		if c.Ended != nil && (c.Ended.ExitCode != 0 || c.Ended.Signal != 0 || c.Ended.Reason == "OOMKilled") {
			bad = append(bad, c)
		}
	}
	if len(bad) == 0 {
		return Container{}, false
	}
	return slices.MinFunc(bad, func(a, b Container) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Ended.At.Compare(b.Ended.At))
	}), true
}

func rank(c Container) int {
	if c.Ended.Reason == "OOMKilled" {
		return 0
	}
	return 1
}

func (p Pod) endedAt() time.Time {
	var last time.Time
	for _, c := range p.Containers {
		if c.Ended != nil && c.Ended.At.After(last) {
			last = c.Ended.At
		}
	}
	return cmpTime(last, p.Disruption.Since)
}

func (b *blamed) tellPod(p Pod, reason, words string) {
	b.reason = reason
	c, ok := podEnds[reason]
	if !ok {
		c.text = "failed"
	}
	what := fmt.Sprintf("pod %q %s (%s%s)", p.Name, c.text, reason, onNode(p.Node))
	b.message = sentence(what, words, c.mend)
}

func (b *blamed) tellContainer(p Pod, c Container) {
	b.reason = cmp.Or(c.Ended.Reason, "Error")
	known, ok := containerEnds[b.reason]
	kind := "container"
	if c.Init {
		kind = "init container"
	}
	if !ok {
		known.text = "failed"
		if c.Ended.signal() != 0 {
			known.text = "was killed"
		}
	}
	what := fmt.Sprintf("%s %q of pod %q %s (%s)", kind, c.Name, p.Name, known.text, strings.Join(details(p, c), ", "))
	b.message = sentence(what, c.Ended.Message, known.mend)
}

// details are the facts about an end that go into the brackets behind it.
func details(p Pod, c Container) []string {
	d := []string{cmp.Or(c.Ended.Reason, "Error"), fmt.Sprintf("exit code %d", c.Ended.ExitCode)}
	if n := c.Ended.signal(); n != 0 {
		d = append(d, cmp.Or(signalNames[n], fmt.Sprintf("signal %d", int(n))))
	}
	if c.Ended.Reason == "OOMKilled" && c.Memory != "" {
		d = append(d, "memory limit "+c.Memory)
	}
	if p.Node != "" {
		d = append(d, fmt.Sprintf("node %q", p.Node))
	}
	return d
}

func onNode(node string) string {
	if node == "" {
		return ""
	}
	return fmt.Sprintf(", node %q", node)
}

// Bounds of the evidence, which becomes lines of a run's log.
const (
	maxEventLines     = 5
	maxContainerLines = 6
)

// evidence are the lines behind a verdict: the Job's own word, the containers of
// the culprit's Pod, the last events.
func (f Facts) evidence(v Verdict) []string {
	var lines []string
	if f.Job == nil {
		f.Job = &Job{}
	}
	if end := f.Job.Ended; end.Type == "Failed" {
		lines = append(lines, sentence(fmt.Sprintf("Job %q: %s (%s)", f.Job.Name, end.Type, end.Reason), end.Message, ""))
	}
	for _, p := range f.Pods {
		if p.Name == v.Culprit.Pod {
			lines = append(lines, p.lines()...)
		}
	}
	return append(lines, f.eventLines()...)
}

func (p Pod) lines() []string {
	lines := []string{fmt.Sprintf("pod %q: phase %s%s", p.Name, p.Phase, onNode(p.Node))}
	for _, c := range p.Containers[:min(len(p.Containers), maxContainerLines)] {
		lines = append(lines, fmt.Sprintf("container %q: %s", c.Name, c.line(p)))
	}
	return lines
}

func (c Container) line(p Pod) string {
	switch {
	case c.Ended != nil:
		return "ended (" + strings.Join(details(Pod{Name: p.Name}, c), ", ") + ")"
	case c.Running:
		return "running"
	case c.Waiting != "":
		return sentence("waiting ("+c.Waiting+")", c.WaitingMessage, "")
	}
	return "never started"
}

func (f Facts) eventLines() []string {
	mine := map[string]bool{f.Job.UID: f.Job.UID != ""}
	for _, p := range f.Pods {
		mine[p.UID] = true
	}
	events := slices.DeleteFunc(slices.Clone(f.Events), func(e Event) bool { return !mine[e.UID] })
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	events = events[max(0, len(events)-maxEventLines):]
	lines := make([]string, 0, len(events))
	for _, e := range events {
		lines = append(lines, sentence(fmt.Sprintf("event %s of %s %q at %s", e.Reason, strings.ToLower(e.Kind), e.Name, e.At.UTC().Format(time.RFC3339)), e.Message, ""))
	}
	return lines
}
