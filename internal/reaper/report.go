package reaper

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// Bounds of what is written about one run.
const (
	maxLines  = 20
	tailLines = 100
	tailBytes = 64 << 10
	// maxUnsent is how many bytes of lines are kept through an outage, over all runs.
	maxUnsent = 8 << 20
)

// report is a run whose ending is about to be told.
type report struct {
	*runCase
	// log is the end of the culprit's log, ready to be shown.
	log string
	err error
}

// investigate reads by quorum what the local copy may not know yet, and gathers
// the evidence, for many runs at once. Runs that could not be read are left out.
func (r *Reaper) investigate(ctx context.Context, failures []job) []*report {
	reports := make([]*report, len(failures))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, item := range failures {
		g.Go(func() error {
			limited, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			reports[i] = r.inspect(limited, item)
			r.fares(reports[i].err)
			return nil
		})
	}
	_ = g.Wait() // each error has its own place
	kept := reports[:0]
	for _, rep := range reports {
		if rep.err != nil {
			r.retry(ctx, rep.runCase, rep.err)
			continue
		}
		kept = append(kept, rep)
	}
	return kept
}

// inspect looks into one run. Only the run's own memory is touched.
func (r *Reaper) inspect(ctx context.Context, item job) *report {
	rep := &report{runCase: item.runCase}
	var jobs []diagnose.Job
	var pods []diagnose.Pod
	others := ""
	for _, label := range item.labels() {
		selector := label + "=" + string(item.id) + others
		foundJobs, err := r.cluster.Jobs(ctx, r.policy.Namespace, selector)
		if err != nil {
			return &report{runCase: item.runCase, err: err}
		}
		foundPods, err := r.cluster.Pods(ctx, r.policy.Namespace, selector)
		if err != nil {
			return &report{runCase: item.runCase, err: err}
		}
		for i := range foundJobs {
			jobs = append(jobs, diagnose.JobFacts(&foundJobs[i]))
		}
		for i := range foundPods {
			pods = append(pods, diagnose.PodFacts(&foundPods[i]))
		}
		others += ",!" + label
	}
	rep.take(jobs, pods)
	r.gather(ctx, rep, item)
	return rep
}

// labels are the keys under which the run's objects are looked for: those of 0.11.0
// only where a Python agent had the run.
func (c *runCase) labels() []string {
	python := slices.ContainsFunc(c.jobs, func(j diagnose.Job) bool { return j.Python }) ||
		slices.ContainsFunc(c.pods, func(p diagnose.Pod) bool { return p.Python }) || c.memory.python.Python
	if python {
		return flowrun.RunLabels()
	}
	return []string{flowrun.LabelFlowRunID}
}

// gather reads events and log. Missing evidence stops no report.
func (r *Reaper) gather(ctx context.Context, rep *report, item job) {
	culprit := item.facts.verdict.Culprit
	byUID := map[string][]diagnose.Event{}
	for _, name := range []string{item.facts.job.Name, culprit.Pod} {
		if name == "" {
			continue
		}
		events, err := r.witness.Events(ctx, r.policy.Namespace, name)
		if err != nil && !r.lacks(ctx, "list events", "reports come without them", err) {
			r.log.DebugContext(ctx, "events not read", slog.String("flow_run_id", string(item.id)), slog.Any("error", err))
		}
		add(byUID, events)
	}
	rep.events = byUID
	if culprit.Pod == "" || culprit.Container == "" || item.facts.verdict.Kind == diagnose.Stuck || !r.policy.SendLogs {
		return
	}
	text, err := r.witness.PodLog(ctx, r.policy.Namespace, culprit.Pod, culprit.Container, culprit.Restarted, tailLines, tailBytes)
	r.lacks(ctx, "get pods/log", "reports come without the end of the log", err)
	rep.log = logText(culprit, text, err)
}

func add(byUID map[string][]diagnose.Event, events []corev1.Event) {
	for i := range events {
		e := diagnose.EventFacts(&events[i])
		byUID[e.UID] = append(byUID[e.UID], e)
	}
}

func logText(culprit diagnose.Culprit, text string, err error) string {
	text = strings.TrimRight(text, "\n")
	head := fmt.Sprintf("container %q of pod %q", culprit.Container, culprit.Pod)
	switch {
	case err != nil:
		return fmt.Sprintf("The log of %s cannot be read: %v", head, err)
	case text == "":
		return fmt.Sprintf("The log of %s is empty", head)
	}
	return fmt.Sprintf("The last lines of the log of %s:\n%s", head, text)
}

// note prepares the run log lines of a report and reports whether the cause is
// new to this process.
func (r *Reaper) note(c *runCase, a jobAction, log string) bool {
	m := c.memory
	key := a.facts.job.UID + "/" + string(a.Level) + "/" + class(a.Cause)
	if m.told[key] {
		return false
	}
	m.told[key] = true
	if !r.policy.SendLogs {
		return true
	}
	texts := bounded(a, log, maxLines-m.lines)
	m.lines += len(texts)
	for i, text := range texts {
		// Equal times would leave the order to the reader.
		at := c.now.Add(time.Duration(i) * time.Millisecond)
		m.unsent = append(m.unsent, flowrun.Log{FlowRunID: c.id, Time: at, Name: r.policy.LogName, Level: a.Level, Message: text})
	}
	return true
}

// bounded are the texts of a report within the room that is left: the cause, the
// evidence, and last the end of the log, which outranks the evidence.
func bounded(a jobAction, log string, room int) []string {
	if room <= 0 {
		return nil
	}
	if !a.Full {
		return []string{a.facts.verdict.Message}
	}
	texts := append([]string{message(a.facts.verdict)}, a.facts.verdict.Evidence...)
	if log == "" {
		return texts[:min(len(texts), room)]
	}
	return append(texts[:min(len(texts), room-1)], log)
}

// flush delivers the lines of many runs in one call; if Prefect refuses that, each
// run's on their own. What cannot be delivered is kept, within a bound.
func (r *Reaper) flush(ctx context.Context, cases []*runCase) {
	var waiting []*runCase
	for _, c := range cases {
		if len(c.memory.unsent) > 0 && !c.held {
			waiting = append(waiting, c)
		}
	}
	if len(waiting) == 0 {
		return
	}
	err := r.deliver(ctx, waiting)
	if err != nil && len(waiting) > 1 && !temporary(err) {
		for _, c := range waiting {
			r.flush(ctx, []*runCase{c})
		}
		return
	}
	for _, c := range waiting {
		if err == nil {
			c.memory.unsent = nil
			continue
		}
		r.keep(ctx, c, err)
	}
}

func (r *Reaper) deliver(ctx context.Context, cases []*runCase) error {
	var logs []flowrun.Log
	for _, c := range cases {
		logs = append(logs, c.memory.unsent...)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := r.reporter.WriteLogs(ctx, logs)
	r.fares(err)
	return err
}

// keep holds a run's lines for the next time, unless Prefect refuses them or too
// many are kept already.
func (r *Reaper) keep(ctx context.Context, c *runCase, err error) {
	kept := 0
	for _, m := range r.runs {
		kept += weight(m.unsent)
	}
	attrs := []slog.Attr{slog.String("flow_run_id", string(c.id)), slog.Any("error", err)}
	if !temporary(err) || kept > maxUnsent {
		c.memory.unsent = nil
		r.log.LogAttrs(ctx, slog.LevelError, "run log lines given up", attrs...)
		return
	}
	c.held = true
	c.memory.misses++
	r.log.LogAttrs(ctx, slog.LevelWarn, "run log lines not delivered, keeping them", attrs...)
	r.again(c, backOff(c.memory.misses))
}

func weight(logs []flowrun.Log) int {
	bytes := 0
	for _, line := range logs {
		bytes += len(line.Message)
	}
	return bytes
}
