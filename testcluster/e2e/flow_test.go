package e2e_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTwoTasks takes the whole way: the real client registers a flow, the agent finds the run and makes a Job, the flow
// runs in a Pod and reports.
func TestTwoTasks(t *testing.T) {
	t.Parallel()
	for name, g := range generations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, g)
			s.startAgent("e2e")
			run := s.register("two-tasks", nil, "e2e")
			s.awaitState(run, "Success")
			if diff := cmp.Diff(map[string]string{"one": "Success", "inc": "Success"}, s.taskStates(t.Context(), run)); diff != "" {
				t.Errorf("task runs (-want +got):\n%s", diff)
			}
			if logs := s.logs(t.Context(), run); !strings.Contains(logs, "hello from one") {
				t.Errorf("the log line of the task is missing:\n%s", logs)
			}
			// The Pod reports Success some seconds before it ends.
			s.kubectl(t.Context(), "wait", "--for=condition=Complete", "--timeout=60s", "job",
				"--selector=prefect.io/flow_run_id="+run)
		})
	}
}
