package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

// TestStop: a process that obeys nobody is ended, within the grace period of its Pod, when its run is cancelled or
// started anew. Its Job keeps its name, and the new start comes after it.
func TestStop(t *testing.T) {
	t.Parallel()
	for state, more := range map[string]int{"Cancelled": 0, "Scheduled": 1} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, generations()["1.4.1"])
			a := s.launch(agentOptions{args: []string{"--grace", "5s", "--max-poll-interval", "1s"}})
			run := s.register(stubborn())
			old := s.awaitPod(run, "")
			s.setState(run, "Running")
			s.setState(run, state)
			a.awaitLine(`"job stopped"`)
			stopped := time.Now()
			eventually(t, "the pod is gone", func(ctx context.Context) error {
				if pods := s.kubectl(ctx, "get", "pods", "--output=name"); strings.Contains(pods, old) {
					return errors.New(pods)
				}
				return nil
			})
			t.Logf("its pod was gone %v after the stop", time.Since(stopped).Round(time.Second))
			if more > 0 {
				s.awaitPod(run, old)
			}
			found := jobs(t.Context(), t, s.namespace)
			if len(found) != 1+more || found[0].Spec.Parallelism != 0 || found[0].finished() != "" || !strings.HasPrefix(old, found[0].Metadata.Name) {
				t.Errorf("jobs are %+v, want that of pod %s stopped, and %d more", found, old, more)
			}
			if now, err := s.state(t.Context(), run); err != nil || now.State == "Failed" || more == 0 && now.State != state {
				t.Errorf("the run is %v, %v", now, err)
			}
		})
	}
}

// stubborn makes a flow process that ignores SIGTERM and never speaks to Prefect.
func stubborn() flowimage.Registration {
	return flowimage.Registration{Flow: "two-tasks", RunConfig: map[string]any{
		"job_template": map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"terminationGracePeriodSeconds": 5,
			"containers":                    []any{map[string]any{"name": "flow", "command": []string{"sh", "-c", "trap '' TERM; while :; do sleep 1; done"}}},
		}}}},
	}}
}

// awaitPod waits until a Pod of the run runs, another than the given one, and returns its name.
func (s *stage) awaitPod(run, other string) string {
	s.t.Helper()
	var name string
	eventually(s.t, "a pod runs", func(ctx context.Context) error {
		pods := s.kubectl(ctx, "get", "pods", "--selector=prefect.io/flow_run_id="+run, "--field-selector=status.phase=Running", "--output=jsonpath={.items[*].metadata.name}")
		for name = range strings.FieldsSeq(pods) {
			if name != other {
				return nil
			}
		}
		return fmt.Errorf("running are %q", pods)
	})
	return name
}

// setState writes a state of the run as a person's client does.
func (s *stage) setState(run, state string) {
	s.t.Helper()
	if err := s.trySetState(s.t.Context(), run, state); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) trySetState(ctx context.Context, run, state string) error {
	const text = "mutation($input: set_flow_run_states_input!){set_flow_run_states(input: $input){states{status}}}"
	_, err := s.query(ctx, text, map[string]any{"input": map[string]any{"states": []any{
		map[string]any{"flow_run_id": run, "state": map[string]any{"type": state, "message": "by the test", "__version__": s.generation.version}},
	}}})
	return err
}
