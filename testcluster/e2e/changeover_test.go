package e2e_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

// pythonAgent starts the real agent of the stage's version.
func (s *stage) pythonAgent(name string) *process {
	s.t.Helper()
	agent, err := shared.builder.Agent(s.t.Context(), s.generation.version)
	if err != nil {
		s.t.Fatal(err)
	}
	// Not the test's context: the process ends with the test, or when it is killed.
	p := startCommand(s.t, s.dir, name, agent.Start(context.WithoutCancel(s.t.Context()), s.url, shared.target.Kubeconfig, s.dir, s.namespace, label))
	p.exits = -1 // it does not handle SIGTERM (D-13)
	p.await("the Python agent polls", func(context.Context) error {
		if !strings.Contains(p.output(), "Waiting for flow runs") {
			return errors.New("not yet")
		}
		return nil
	})
	return p
}

// kill ends a process as a node that dies does.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.done
}

// TestChangeover: a real Python agent starts runs and dies, ours takes over, and back again. Nothing is lost, nothing is
// started twice, and what the dead one would have reported is reported.
func TestChangeover(t *testing.T) {
	t.Parallel()
	for version, g := range generations() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, g)
			old := s.pythonAgent("python-1")
			long := s.register(flowimage.Registration{Flow: "heartbeat", Parameters: map[string]any{"seconds": 20}})
			s.awaitState(long, "Running")
			stuck := s.register(flowimage.Registration{Flow: "mapped", Image: "localhost:1/no-such:image"})
			s.awaitState(stuck, "Submitted")
			s.awaitJobOf(stuck)
			old.kill()

			fresh := s.register(flowimage.Registration{Flow: "two-tasks"})
			ours := s.launch(agentOptions{args: []string{"--grace", "5s"}})
			ours.awaitReady()
			s.awaitState(fresh, "Success")
			if got := s.awaitState(stuck, "Failed"); !strings.Contains(got.Message, "no-such:image") {
				t.Errorf("the stuck run's message is %q, want its image in it", got.Message)
			}
			s.awaitState(long, "Success")
			if found := jobs(t.Context(), t, s.namespace); len(found) != 3 {
				t.Errorf("jobs are %+v, want one for each of three runs", found)
			}
			ours.stop()

			s.pythonAgent("python-2")
			again := s.register(flowimage.Registration{Flow: "fail"})
			s.awaitState(again, "Failed")
			for _, run := range []string{long, fresh, again} {
				s.started(run, 1)
			}
		})
	}
}

func (s *stage) awaitJobOf(run string) {
	s.t.Helper()
	eventually(s.t, "the run has a job", func(ctx context.Context) error {
		if !slices.ContainsFunc(jobs(ctx, s.t, s.namespace), func(j job) bool { return j.run() == run || j.Metadata.Labels["flow_run_id"] == run }) {
			return errors.New("not yet")
		}
		return nil
	})
}

// started: a run was Submitted so many times, and Running.
func (s *stage) started(run string, times int) {
	s.t.Helper()
	type answer struct {
		Runs []struct{ States []struct{ State string } } `json:"flow_run"`
	}
	got, err := ask[answer](s.t.Context(), s, `query($id: uuid){flow_run(where: {id: {_eq: $id}}){states(order_by: {version: asc}){state}}}`, map[string]any{"id": run})
	if err != nil || len(got.Runs) != 1 {
		s.t.Fatalf("states of run %s: %+v, %v", run, got, err)
	}
	count := map[string]int{}
	for _, row := range got.Runs[0].States {
		count[row.State]++
	}
	if count["Submitted"] != times || count["Running"] != times {
		s.t.Errorf("states of run %s are %v, want it Submitted and Running %d times", run, got.Runs[0].States, times)
	}
}
