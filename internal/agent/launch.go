package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// The reference's own words (prefect/agent/agent.py of 0.11.0 to 1.4.1).
const (
	messageSubmitted = "Submitted for execution"
	messageJob       = "Submitted for execution: Job %s"
)

// launcher is what dispatch needs to know of Prefect 0.x and 1.x.
type launcher struct {
	a    *Agent
	make *maker
	// restored are the runs that a state was put back of.
	restored restored
	refusals refusals
}

// Build makes the Job of an offer. Its notes are what the run's author should know
// of it.
func (l *launcher) Build(ctx context.Context, o Offer) (*batchv1.Job, []string, error) {
	job, warnings, err := l.make.build(ctx, o)
	var notes []string
	for _, w := range warnings {
		if !w.OfAgent { // that was said when the agent started
			notes = append(notes, "Job: "+w.String())
		}
	}
	return job, notes, err
}

// BuildJob makes the Job of a flow run's attempt, under the name that was promised
// if there is one.
func BuildJob(run prefect1.FlowRun, settings jobspec.Settings, attempt, promised string) (*batchv1.Job, []jobspec.Warning, error) {
	return jobspec.JobAs(SpecRun(run), settings, attempt, promised)
}

// SpecRun is what package jobspec needs to know of a flow run.
func SpecRun(run prefect1.FlowRun) jobspec.FlowRun {
	return jobspec.FlowRun{
		ID: run.ID, Name: run.Name, FlowID: run.Flow.ID, FlowName: run.Flow.Name, CoreVersion: run.Flow.CoreVersion,
		RunConfig: run.RunConfig, Environment: run.Flow.Environment, Storage: run.Flow.Storage,
	}
}

// Refresh reads offers again.
func (l *launcher) Refresh(ctx context.Context, offers []Offer) ([]Offer, error) {
	return l.a.refresh(ctx, offers)
}

// Claim writes Submitted for all of them in one call, each with our mark.
func (l *launcher) Claim(ctx context.Context, offers []Offer, jobs []string) error {
	writes := make([]flowrun.Write, len(offers))
	for i, o := range offers {
		job := jobs[i]
		if job == "" { // not buildable: it is claimed and failed, so that a person sees why
			job = flowrun.JobName("", o.ID, o.Attempt)
		}
		writes[i] = flowrun.Write{
			FlowRunID: o.ID, Version: o.Run.Version, Type: flowrun.Submitted, Message: messageSubmitted, Inner: o.Run.State.Data,
			Mark: flowrun.Mark{
				Kind: flowrun.Claim, Agent: l.a.c.ID, Place: l.a.c.Place, Namespace: l.a.c.Namespace, Job: job, On: o.Run.Scheduled,
			},
		}
	}
	return l.a.api.SetStates(ctx, writes)
}

// Verify reads whose claim counts. A run that is missing in the answer is not ours.
func (l *launcher) Verify(ctx context.Context, offers []Offer) (map[flowrun.ID]bool, error) {
	snapshots, err := l.a.api.Snapshots(ctx, ids(offers))
	if err != nil {
		return nil, err
	}
	holds := make(map[flowrun.ID]bool, len(offers))
	for _, o := range offers {
		if s, ok := snapshots[o.ID]; ok && s.Err == nil {
			holds[o.ID] = s.Standing().Holds(o.Run.Claimant, o.Run.Scheduled)
			l.putBack(ctx, s)
		}
	}
	return holds, nil
}

// putBack writes the counting state again where a late write of this place covers
// it, and reports whether that was so. Sweeps repeat it until both agree.
func (l *launcher) putBack(ctx context.Context, s flowrun.Snapshot) bool {
	write, ok := s.PutBack(l.a.c.ID, l.a.c.Place)
	if !ok {
		return false
	}
	l.restored.add(s.ID, time.Now())
	err := l.a.api.SetStates(ctx, []flowrun.Write{write})
	attrs := []slog.Attr{slog.String("flow_run_id", string(s.ID)), slog.String("reason", string(write.Type))}
	if err != nil {
		l.a.c.Logger.LogAttrs(ctx, slog.LevelWarn, "covered state not put back for sure", append(attrs, slog.Any("error", err))...)
		return true
	}
	l.a.c.Logger.LogAttrs(ctx, slog.LevelInfo, "covered state put back", attrs...)
	return true
}

// Report writes the run log line of each start, and fails the runs that could not
// be started. Log lines are best effort (D-19).
func (l *launcher) Report(ctx context.Context, outcomes []dispatch.Outcome[Run]) {
	var logs []flowrun.Log
	var aborted []dispatch.Outcome[Run]
	for _, o := range outcomes {
		if o.Phase == dispatch.Dropped {
			l.refusals.note(o.Offer, l.explained(o.Err).Error(), false)
			continue
		}
		l.refusals.forget(o.Offer.ID)
		line := flowrun.Log{FlowRunID: o.Offer.ID, Name: l.a.c.Name, Level: flowrun.LevelWarning}
		for _, note := range o.Notes {
			line.Message = note
			logs = append(logs, line)
			l.a.c.Logger.WarnContext(ctx, "flow run has a warning", slog.String("flow_run_id", string(o.Offer.ID)), slog.String("reason", note))
		}
		line.Level, line.Message = flowrun.LevelInfo, fmt.Sprintf(messageJob, o.Job)
		if o.Phase == dispatch.Aborted {
			o.Err = l.explained(o.Err)
			aborted = append(aborted, o)
			line.Level, line.Message = flowrun.LevelError, o.Err.Error()
		}
		logs = append(logs, line)
	}
	if l.a.c.SendLogs && len(logs) > 0 {
		if err := l.a.api.WriteLogs(ctx, logs); err != nil {
			l.a.c.Logger.WarnContext(ctx, "run log lines not written", slog.Any("error", err))
		}
	}
	l.fail(ctx, aborted)
}

// explained says which of our own changes a refusal is about.
func (l *launcher) explained(err error) error {
	if hint := jobspec.RefusalHint(err.Error(), l.make.job.Keep); hint != "" {
		return fmt.Errorf("%w. %s", err, hint)
	}
	return err
}

// fail tries until the runs are told or the context ends: a run that is claimed
// and not failed would wait for ever.
func (l *launcher) fail(ctx context.Context, aborted []dispatch.Outcome[Run]) {
	for pause := time.Second; len(aborted) > 0; pause = min(2*pause, time.Minute) {
		rest, err := l.failOnce(ctx, aborted)
		if err == nil {
			return
		}
		aborted = rest
		l.a.c.Logger.ErrorContext(ctx, "failed starts not reported, trying again", slog.Any("error", err))
		if !sleep(ctx, pause) {
			return
		}
	}
}

// failOnce reads right before it writes, and leaves alone what is no longer ours.
// It returns those that could not be told.
func (l *launcher) failOnce(ctx context.Context, aborted []dispatch.Outcome[Run]) ([]dispatch.Outcome[Run], error) {
	offers := make([]Offer, len(aborted))
	for i, o := range aborted {
		offers[i] = o.Offer
	}
	snapshots, err := l.a.api.Snapshots(ctx, ids(offers))
	if err != nil {
		return aborted, err
	}
	var left []dispatch.Outcome[Run]
	var errs []error
	for _, o := range aborted {
		s := snapshots[o.Offer.ID]
		write, ok := l.verdict(o, s)
		if s.Err != nil {
			left, errs = append(left, o), append(errs, s.Err)
		}
		if s.Err != nil || !ok {
			continue
		}
		if err := l.a.api.SetStates(ctx, []flowrun.Write{write}); err != nil {
			left, errs = append(left, o), append(errs, err)
		}
	}
	return left, errors.Join(errs...)
}

// verdict is the Failed state of a start that did not work. It names the state it
// was decided on, so that it is void once that state no longer counts.
func (l *launcher) verdict(o dispatch.Outcome[Run], s flowrun.Snapshot) (flowrun.Write, bool) {
	stand := s.Standing()
	counting := stand.Counting
	ours := stand.Holds(o.Offer.Run.Claimant, o.Offer.Run.Scheduled)
	if o.Offer.Run.Claimant == "" {
		ours = counting.State.Type == flowrun.Running
	}
	return flowrun.Write{
		FlowRunID: o.Offer.ID, Version: s.Version, Type: flowrun.Failed, Message: o.Err.Error(),
		Mark: flowrun.Mark{
			Kind: flowrun.Verdict, Agent: l.a.c.ID, Place: l.a.c.Place, On: counting.Version, OnType: counting.State.Type,
		},
	}, ours
}

func ids(offers []Offer) []flowrun.ID {
	out := make([]flowrun.ID, len(offers))
	for i, o := range offers {
		out[i] = o.ID
	}
	return out
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
