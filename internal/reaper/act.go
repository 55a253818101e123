package reaper

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// parallel is how many runs are looked into, or Jobs deleted, at the same time.
const parallel = 8

// plan sorts what is to be done in one pass.
type plan struct {
	backs    []job // put-backs, written at once
	failures []job // runs to be failed
	tells    []job // lines that come without a state
	stops    []job
	deletes  []job
	pods     []job // Pods to be deleted
	rechecks []job
}

// job is an action and the run it belongs to.
type job struct {
	*runCase
	jobAction
}

func (p *plan) add(c *runCase, actions []jobAction) {
	fails := needs(actions, SetState)
	for _, a := range actions {
		item := job{runCase: c, jobAction: a}
		switch {
		case a.Kind == SetState && a.Write.Mark.Kind == flowrun.PutBack:
			if !slices.ContainsFunc(p.backs, func(b job) bool { return b.id == c.id }) { // once, not for each Job
				p.backs = append(p.backs, item)
			}
		case a.Kind == SetState:
			p.failures = append(p.failures, item)
		case a.Kind == ReportLog && !fails:
			p.tells = append(p.tells, item)
		case a.Kind == StopJob:
			p.stops = append(p.stops, item)
		case a.Kind == DeleteJob:
			p.deletes = append(p.deletes, item)
		case a.Kind == DeletePod:
			p.pods = append(p.pods, item)
		case a.Kind == Recheck:
			p.rechecks = append(p.rechecks, item)
		}
	}
}

// act carries a plan out. What fails is tried again later; nothing stops the rest.
func (r *Reaper) act(ctx context.Context, p *plan) {
	r.write(ctx, r.due(p.backs))
	r.tell(ctx, p.tells)
	r.fail(ctx, p.failures)
	r.stopAll(ctx, r.confirm(ctx, p.stops))
	r.deleteAll(ctx, r.confirm(ctx, p.deletes))
	r.deletePods(ctx, p.pods)
	for _, a := range p.rechecks {
		r.again(a.runCase, a.After)
	}
}

// fail reports endings: the evidence is gathered and the cluster asked once more,
// then the histories are read and the decision repeated on what is true now, then
// the lines and the states are written.
func (r *Reaper) fail(ctx context.Context, failures []job) {
	reports := r.investigate(ctx, r.due(failures))
	ids := make([]flowrun.ID, 0, len(reports))
	for _, rep := range reports {
		ids = append(ids, rep.id)
	}
	answers := r.ask(ctx, ids)
	var writes []job
	var told []*runCase
	for _, rep := range reports {
		if failure, failed := answers.failed[rep.id]; failed {
			r.retry(ctx, rep.runCase, failure)
			continue
		}
		rep.run = answers.of(rep.id)
		writes = append(writes, r.repeat(rep)...)
		told = append(told, rep.runCase)
	}
	r.flush(ctx, told)
	r.write(ctx, writes)
}

// due leaves out the runs whose last write came to nothing a moment ago.
func (r *Reaper) due(failures []job) []job {
	var due []job
	for _, item := range failures {
		if wait := item.memory.notBefore.Sub(item.now); wait > 0 {
			r.again(item.runCase, wait)
			continue
		}
		due = append(due, item)
	}
	return due
}

// repeat decides again, on the newest facts.
func (r *Reaper) repeat(rep *report) []job {
	var writes []job
	actions := r.decide(rep.runCase)
	failing := needs(actions, SetState)
	for _, a := range actions {
		switch a.Kind {
		case SetState:
			writes = append(writes, job{runCase: rep.runCase, jobAction: a})
		case ReportLog:
			if failing {
				r.note(rep.runCase, a, rep.log)
			}
		case Recheck:
			r.again(rep.runCase, a.After)
		case Ask, StopJob, DeleteJob, DeletePod:
		}
	}
	if !failing {
		// Somebody else was faster, or the Job is not what it seemed to be.
		r.again(rep.runCase, doubt)
	}
	return writes
}

// write sets states in one call. Those whose earlier write came to nothing go
// alone, so that they spoil no other.
func (r *Reaper) write(ctx context.Context, items []job) {
	var together []job
	for _, item := range items {
		if item.memory.lost > 0 {
			r.writeBatch(ctx, []job{item})
			continue
		}
		together = append(together, item)
	}
	r.writeBatch(ctx, together)
}

func (r *Reaper) writeBatch(ctx context.Context, items []job) {
	if len(items) == 0 {
		return
	}
	writes := make([]flowrun.Write, 0, len(items))
	for _, item := range items {
		writes = append(writes, item.Write)
	}
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	err := r.reporter.SetStates(limited, writes)
	cancel()
	r.fares(err)
	for _, item := range items {
		item.memory.written = item.Write.Mark.Kind
		r.logWrite(ctx, item, err)
		r.again(item.runCase, r.policy.Settle)
	}
}

func (r *Reaper) logWrite(ctx context.Context, item job, err error) {
	attrs := []slog.Attr{
		slog.String("flow_run_id", string(item.id)), slog.String("job", item.facts.job.Name),
		slog.String("verdict", item.facts.verdict.Kind.String()), slog.String("reason", item.facts.verdict.Reason),
	}
	switch {
	case err != nil:
		r.log.LogAttrs(ctx, slog.LevelWarn, "state not written for sure, reading it again", append(attrs, slog.Any("error", err))...)
	case item.Write.Mark.Kind == flowrun.PutBack:
		r.log.LogAttrs(ctx, slog.LevelInfo, "covered state put back", attrs...)
	default:
		r.log.LogAttrs(ctx, slog.LevelInfo, "flow run failed", attrs...)
	}
}

// tell notes lines that come without a state.
func (r *Reaper) tell(ctx context.Context, items []job) {
	for _, item := range items {
		if r.note(item.runCase, item.jobAction, "") {
			r.log.WarnContext(ctx, "job stuck", slog.String("flow_run_id", string(item.id)),
				slog.String("job", item.facts.job.Name), slog.String("reason", item.Cause))
		}
	}
}

// confirm leaves out the Jobs that go on and whose runs, read once more, do not say
// any longer that they shall not: a person may have started one again.
func (r *Reaper) confirm(ctx context.Context, items []job) []job {
	var ids []flowrun.ID
	for _, item := range items {
		if !item.facts.ended() {
			ids = append(ids, item.id)
		}
	}
	answers := r.ask(ctx, ids)
	return slices.DeleteFunc(items, func(item job) bool {
		if item.facts.ended() {
			return false
		}
		if failure, failed := answers.failed[item.id]; failed {
			r.retry(ctx, item.runCase, failure)
			return true
		}
		item.run = answers.of(item.id)
		still := slices.ContainsFunc(r.decide(item.runCase), func(a jobAction) bool {
			return a.Kind == item.Kind && a.facts.job.UID == item.facts.job.UID
		})
		if !still {
			r.again(item.runCase, doubt)
		}
		return !still
	})
}

// stopAll stops Jobs, each exactly as it was looked at.
func (r *Reaper) stopAll(ctx context.Context, items []job) {
	errs := r.each(ctx, items, func(ctx context.Context, item job) error {
		j := item.facts.job
		return r.cluster.Stop(ctx, j.Namespace, j.Name, j.UID, j.ResourceVersion)
	})
	for i, item := range items {
		if errs[i] != nil {
			r.keepStopping(ctx, item, fmt.Errorf("stop job %q: %w", item.facts.job.Name, errs[i]))
			continue
		}
		item.memory.undone = 0
		r.log.InfoContext(ctx, "job stopped", slog.String("flow_run_id", string(item.id)), slog.String("job", item.facts.job.Name),
			slog.String("reason", whyStopped(item)), slog.Duration("duration", item.now.Sub(item.facts.job.Created).Round(time.Second)))
	}
}

func whyStopped(item job) string {
	_, state := item.run.counting()
	if item.facts.over > 0 && item.run.final() {
		return string(state) + ", and the flow's container has ended: another container kept the pod"
	}
	return string(state)
}

// keepStopping tries again, or without the right deletes the Job instead.
func (r *Reaper) keepStopping(ctx context.Context, item job, err error) {
	if !r.lacks(ctx, "patch jobs", "jobs that shall not go on are deleted once they are five minutes old", err) {
		r.keepOn(ctx, item.runCase, err)
		return
	}
	item.memory.unstoppable = item.now.Add(keepRecheck)
	r.again(item.runCase, firstRetry)
}

// deleteAll deletes Jobs, each exactly as it was looked at.
func (r *Reaper) deleteAll(ctx context.Context, items []job) {
	errs := r.each(ctx, items, func(ctx context.Context, item job) error {
		j := item.facts.job
		return r.cluster.Delete(ctx, j.Namespace, j.Name, j.UID, j.ResourceVersion)
	})
	for i, item := range items {
		if errs[i] != nil {
			r.keepDeleting(ctx, item.runCase, "delete jobs", "finished jobs stay", fmt.Errorf("delete job %q: %w", item.facts.job.Name, errs[i]))
			continue
		}
		item.memory.deleted, item.memory.undone = len(item.jobs) == 1, 0
		attrs := []slog.Attr{
			slog.String("flow_run_id", string(item.id)), slog.String("job", item.facts.job.Name),
			slog.Duration("duration", item.now.Sub(item.facts.job.Created).Round(time.Second)),
		}
		if item.facts.ended() {
			r.log.LogAttrs(ctx, slog.LevelInfo, "finished job deleted", attrs...)
		} else {
			r.log.LogAttrs(ctx, slog.LevelInfo, "job that shall not go on deleted", attrs...)
		}
	}
}

// deletePods deletes Pods. Our own Role does not need the right to: only the
// Python agents left such Pods.
func (r *Reaper) deletePods(ctx context.Context, items []job) {
	errs := r.each(ctx, items, func(ctx context.Context, item job) error {
		return r.cluster.DeletePod(ctx, item.Pod.Namespace, item.Pod.Name, item.Pod.UID)
	})
	for i, item := range items {
		if errs[i] != nil {
			r.keepDeleting(ctx, item.runCase, "delete pods", "pods that outlived their job stay", fmt.Errorf("delete pod %q: %w", item.Pod.Name, errs[i]))
			continue
		}
		item.memory.undone = 0
		r.log.InfoContext(ctx, "pod without a job deleted", slog.String("flow_run_id", string(item.id)), slog.String("pod", item.Pod.Name))
	}
}

// keepDeleting tries a deletion again: rarely where the right is missing.
func (r *Reaper) keepDeleting(ctx context.Context, c *runCase, right, effect string, err error) {
	if r.lacks(ctx, right, effect, err) {
		r.again(c, keepRecheck)
		return
	}
	r.keepOn(ctx, c, err)
}

// keepOn tries to end something again, soon at first.
func (r *Reaper) keepOn(ctx context.Context, c *runCase, err error) {
	after := backOff(c.memory.undone)
	c.memory.undone++
	r.log.WarnContext(ctx, "not stopped or deleted, trying again", slog.String("flow_run_id", string(c.id)),
		slog.Int("attempt", c.memory.undone), slog.Duration("after", after), slog.Any("error", err))
	r.again(c, after)
}

// each does something for several items at once, each within the bound of a
// request. The errors are in the order of the items. A cluster that is slow is no
// loop that is stuck.
func (r *Reaper) each(ctx context.Context, items []job, do func(context.Context, job) error) []error {
	errs := make([]error, len(items))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, item := range items {
		g.Go(func() error {
			limited, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			errs[i] = do(limited, item)
			r.health.Wait(0)
			return nil
		})
	}
	_ = g.Wait() // each error has its own place
	return errs
}
