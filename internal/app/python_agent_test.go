package app_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// A Python agent beside ours is told of once, those that are gone are not.
func TestPythonAgentIsTold(t *testing.T) {
	t.Parallel()
	start := time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)
	python := map[string]string{flowrun.LabelIdentifier: "i", flowrun.LabelFlowRunID: "f"}
	python0 := map[string]string{flowrun.LabelIdentifier0: "i", flowrun.LabelFlowRunID0: "f"}
	ours := map[string]string{flowrun.LabelIdentifier: "i", flowrun.LabelFlowRunID: "f", flowrun.LabelManagedBy: flowrun.ManagedBy}
	for name, c := range map[string]struct {
		labels map[string]string
		age    time.Duration
		want   int
	}{
		"one that runs":        {python, time.Minute, 1},
		"one of 0.11.0":        {python0, time.Minute, 1},
		"one that is gone":     {python, -time.Minute, 0},
		"ours":                 {ours, time.Minute, 0},
		"a flow's own job":     {python, time.Minute, 0},
		"somebody else's jobs": {map[string]string{"app": "x"}, time.Minute, 0},
	} {
		var log bytes.Buffer
		job := "prefect-job-x"
		if name == "a flow's own job" {
			job = "etl-x"
		}
		look := app.Rival(t.Context(), start, slog.New(slog.NewTextHandler(&log, nil)))
		for range 3 {
			look(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: job, Labels: c.labels, CreationTimestamp: metav1.NewTime(start.Add(c.age))}})
		}
		if got := strings.Count(log.String(), "a python agent seems to run"); got != c.want {
			t.Errorf("%s: told %d times, want %d", name, got, c.want)
		}
	}
}
