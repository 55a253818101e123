package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// scribe keeps what is written into run logs.
type scribe struct {
	*throttled
	lines []flowrun.Log
}

func (s *scribe) WriteLogs(_ context.Context, logs []flowrun.Log) error {
	s.lines = append(s.lines, logs...)
	return nil
}

func (s *scribe) Snapshots(context.Context, []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error) {
	return map[flowrun.ID]flowrun.Snapshot{}, nil
}

// TestTheRunsLogTells: what a template has without effect, once, and which of our
// own changes a refusal is about.
func TestTheRunsLogTells(t *testing.T) {
	t.Parallel()
	s := &scribe{throttled: &throttled{}}
	c := Config{SendLogs: true, Logger: slog.New(slog.DiscardHandler)}
	// A loopback address is said at the start, and not in each run.
	l := launcher{a: &Agent{api: s, c: c}, make: newMaker(c, jobspec.Settings{API: "http://localhost:4200"}, func() string { return "" })}
	run := prefect1.FlowRun{
		Snapshot: flowrun.Snapshot{ID: "11111111-1111-4111-8111-111111111111"}, Flow: prefect1.Flow{Storage: json.RawMessage(`{"type":"Module"}`)},
		RunConfig: json.RawMessage(`{"type":"KubernetesRun","job_template":{"spec":{"template":{"spec":{"tolerashuns":[]}}},"metadata":{"uid":"u"}}}`),
	}
	offer := Offer{ID: run.ID, Attempt: "v1", Run: Run{FlowRun: run}}
	_, notes, err := l.Build(t.Context(), offer)
	if err != nil {
		t.Fatal(err)
	}
	l.Report(t.Context(), []dispatch.Outcome[Run]{
		{Offer: offer, Phase: dispatch.Submitted, Job: "etl-1", Notes: notes},
		{Offer: offer, Phase: dispatch.Aborted, Err: errors.New(`Forbidden: seccomp may not be set`)},
	})
	want := []struct {
		level flowrun.Level
		text  string
	}{
		{flowrun.LevelWarning, "Job: job template has metadata.uid, which are left out"},
		{flowrun.LevelWarning, "Job: spec.template.spec.tolerashuns is an unknown key, which Kubernetes drops; did you mean tolerations?"},
		{flowrun.LevelInfo, "etl-1"},
		{flowrun.LevelError, "--keep pod-security leaves it out"},
	}
	if len(s.lines) != len(want) {
		t.Fatalf("%d lines, want %d: %v", len(s.lines), len(want), s.lines)
	}
	for i, w := range want {
		if s.lines[i].Level != w.level || !strings.Contains(s.lines[i].Message, w.text) {
			t.Errorf("line %d is %s %q, want %s with %q", i, s.lines[i].Level, s.lines[i].Message, w.level, w.text)
		}
	}
}
