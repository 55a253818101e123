package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// refusals are what the cluster said last of Jobs that it does not take. Its methods
// are safe for concurrent use; the zero value is empty.
type refusals struct {
	mu   sync.Mutex
	runs map[flowrun.ID]refused
}

type refused struct {
	attempt, text string
	told          bool
	at            time.Time
}

// note remembers a refusal, and reports whether it is to be told: each attempt is told
// once, since texts may differ in what nobody cares for.
func (r *refusals) note(o Offer, text string, tell bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(r.runs, func(_ flowrun.ID, last refused) bool { return now.Sub(last.at) > forgetAfter })
	if r.runs == nil {
		r.runs = map[flowrun.ID]refused{}
	}
	last := r.runs[o.ID]
	if last.attempt != o.Attempt {
		last = refused{attempt: o.Attempt}
	}
	first := tell && !last.told
	last.text, last.told, last.at = text, last.told || tell, now
	r.runs[o.ID] = last
	return first
}

func (r *refusals) forget(id flowrun.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.runs, id)
}

// last is what was said last of an offer's Job, empty if nothing was.
func (r *refusals) last(o Offer) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.runs[o.ID]; last.attempt == o.Attempt {
		return last.text
	}
	return ""
}

// tellWithin bounds the line that says why a Job is not there yet: the next try waits.
const tellWithin = 5 * time.Second

// Refused tells the owner of a run why it has no Job yet. It is best effort.
func (l *launcher) Refused(ctx context.Context, o Offer, err error) {
	text := l.explained(err).Error()
	if !l.refusals.note(o, text, true) {
		return
	}
	l.a.c.Logger.WarnContext(ctx, "job refused again and again, trying on", slog.String("flow_run_id", string(o.ID)), slog.Any("error", err))
	if !l.a.c.SendLogs {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	line := flowrun.Log{FlowRunID: o.ID, Name: l.a.c.Name, Level: flowrun.LevelWarning, Message: "No Job yet, trying again: " + text}
	if err := l.a.api.WriteLogs(ctx, []flowrun.Log{line}); err != nil {
		l.a.c.Logger.WarnContext(ctx, "run log lines not written", slog.Any("error", err))
	}
}

// noJob is the ending of a run whose claim led to nothing for adoptLimit.
func (l *launcher) noJob(o Offer) error {
	if last := l.refusals.last(o); last != "" {
		return fmt.Errorf("no Job after %d minutes: %s. Mend that, then start the flow run again", int(adoptLimit.Minutes()), last)
	}
	return errNoJob
}
