package app_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// A Job is created once for each start, and never taken for that of another.
func TestDeployFlow(t *testing.T) {
	t.Parallel()
	cfg, err := config.ResolveAgent(config.Core1, config.Sources{Env: []string{"PREFECT__BACKEND=server"}})
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(&recorder{}, clusterState{})
	run := `{"id": "11111111-1111-4111-8111-111111111111", "version": 3, "serialized_state": {"type": "Scheduled"}, "flow": {"id": "f", "storage": {"type": "Local"}}}`
	deploy := func() (string, error) { return app.DeployFlowOver(t.Context(), cfg, []byte(run), c) }
	first, err := deploy()
	if names := c.names("jobs"); err != nil || len(names) != 1 || first != "Job "+names[0] {
		t.Fatalf("got %q, %v and jobs %q", first, err, names)
	}
	if again, err := deploy(); err != nil || again != first || len(c.names("jobs")) != 1 {
		t.Errorf("a second time: got %q, %v", again, err)
	}
	for kind, key := range map[string]string{"annotations": flowrun.AnnotationAttempt, "labels": flowrun.LabelFlowRunID} {
		values := metadata(c.objects["jobs"]["default/"+strings.TrimPrefix(first, "Job ")])[kind].(map[string]any)
		right := values[key]
		values[key] = "other"
		if got, err := deploy(); got != "" || !taken(err) {
			t.Errorf("another's %s: got %q, %v", key, got, err)
		}
		values[key] = right
	}
}

func taken(err error) bool {
	_, ok := errors.AsType[*app.TakenError](err)
	return ok
}
