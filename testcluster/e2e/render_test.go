package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestRender: what render shows of a flow run is the Job that the agent then makes, and what the API server makes of it
// is shown too.
func TestRender(t *testing.T) {
	t.Parallel()
	for version, g := range generations() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newStageWithoutPods(t, g, shared.binary)
			run := mutate[created](s, "create_flow_run", "id", map[string]any{"flow_id": s.createFlow()}).ID
			job, notes := s.render(run, "--server", "--env", "A=1")
			for _, want := range []string{"kind: Job\n", "  namespace: " + s.namespace + "\n", "prefect.io/flow_run_id: " + run + "\n"} {
				if !strings.Contains(job, want) {
					t.Errorf("no %q in\n%s", want, job)
				}
			}
			if !strings.Contains(notes, "\n+  completions: 1\n") {
				t.Errorf("no default of the API server in\n%s", notes)
			}
			s.startAgent()
			eventually(t, "the job is there", func(ctx context.Context) error {
				if made := jobs(ctx, t, s.namespace); len(made) != 1 || !strings.Contains(job, "  name: "+made[0].Metadata.Name+"\n") {
					return fmt.Errorf("jobs are %+v", made)
				}
				return nil
			})
			// The name is taken now, and the answer is still there.
			if _, again := s.render(run, "--server"); !strings.Contains(again, "\n+  completions: 1\n") {
				t.Errorf("with the job in the cluster: no default of the API server in\n%s", again)
			}
		})
	}
}

// render returns standard output and standard error.
func (s *stage) render(run string, args ...string) (job, notes string) {
	s.t.Helper()
	command := exec.CommandContext(s.t.Context(), shared.binary, append([]string{"render", run, "--api", s.url, "--namespace", s.namespace}, args...)...)
	command.Env = environment(s.dir)
	var out, err bytes.Buffer
	command.Stdout, command.Stderr = &out, &err
	if failed := command.Run(); failed != nil {
		s.t.Fatalf("render: %v: %s", failed, err.String())
	}
	return out.String(), err.String()
}
