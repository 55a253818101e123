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

// outcome is what a flow run shall come to.
type outcome struct {
	state string
	// tasks are the states by task; logs are texts in the run's log.
	tasks map[string]string
	logs  []string
}

// TestFlows takes the whole way: the real client registers a flow, the agent finds the run and makes a Job, the flow runs
// in a Pod and reports.
func TestFlows(t *testing.T) {
	t.Parallel()
	flows := map[string]outcome{
		"two-tasks": {"Success", map[string]string{"one": "Success", "inc": "Success"}, []string{"hello from one"}},
		"mapped":    {"Success", map[string]string{"inc": "Mapped Success Success Success"}, nil},
		"fail": {
			"Failed",
			map[string]string{"one": "Success", "boom": "Failed", "inc": "TriggerFailed"},
			[]string{"Traceback (most recent call last)", "ValueError: boom"},
		},
	}
	for version, g := range generations() {
		for flow, want := range flows {
			t.Run(flow+"/"+version, func(t *testing.T) {
				t.Parallel()
				newStage(t, g).runFlow(flow, want)
			})
		}
	}
}

func (s *stage) runFlow(flow string, want outcome) {
	s.t.Helper()
	s.startAgent()
	run := s.register(flowimage.Registration{Flow: flow})
	ended := s.awaitState(run, want.state)
	tasks := s.taskStates(s.t.Context(), run)
	for task, states := range want.tasks { // there are others: Prefect makes a task of a list
		if tasks[task] != states {
			s.t.Errorf("task runs of %s are %q, want %q", task, tasks[task], states)
		}
	}
	for _, text := range append(want.logs, "Submitted for execution: Job prefect-job-") {
		s.awaitLog(run, text)
	}
	// The Job's end says nothing new about the run, and it is too young to be deleted.
	if jobs := s.awaitFinished(); len(jobs) != 1 || jobs[0].run() != run {
		s.t.Errorf("jobs are %+v, want one of run %s", jobs, run)
	}
	if now := s.awaitState(run, want.state); now != ended {
		s.t.Errorf("after the end of the job the run's state is %v, want %v", now, ended)
	}
}

// TestRetryInNewProcess: a flow process does not wait eleven minutes for a retry. It leaves the run Running, and a second
// Job, named after the first, finishes it once the time has come.
func TestRetryInNewProcess(t *testing.T) {
	t.Parallel()
	for version, g := range generations() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, g)
			s.startAgent()
			run := s.register(flowimage.Registration{Flow: "retry-later"})
			s.awaitState(run, "Running")
			eventually(t, "the first job is complete", func(ctx context.Context) error {
				if jobs := jobs(ctx, t, s.namespace); len(jobs) != 1 || jobs[0].finished() != "Complete" {
					return fmt.Errorf("jobs are %+v", jobs)
				}
				return nil
			})
			tasks := s.taskRuns(t.Context(), run)
			if state, err := s.state(t.Context(), run); err != nil || state.State != "Running" || len(tasks) != 1 || tasks[0].State != "Retrying" {
				t.Fatalf("run is %v, %v with task runs %+v, want Running with one Retrying", state, err, tasks)
			}
			task := tasks[0]
			task.Serialized["start_time"] = time.Now().UTC().Format(time.RFC3339Nano)
			mutate[any](s, "set_task_run_states", "states{status}", map[string]any{"states": []any{
				map[string]any{"task_run_id": task.ID, "version": task.Version, "state": task.Serialized},
			}})
			s.awaitState(run, "Success")
			both := s.awaitFinished()
			if len(both) != 2 || both[1].attempt() != both[0].Metadata.UID || both[0].Metadata.Name == both[1].Metadata.Name {
				t.Errorf("jobs are %+v, want two, the second with the UID of the first as its attempt", both)
			}
		})
	}
}

// TestLabels: a flow run with a label that the agent lacks is left alone.
func TestLabels(t *testing.T) {
	t.Parallel()
	g := generations()["1.4.1"]
	s := newStage(t, g)
	s.startAgent("--label", "more")
	// Another flow each: a new version of a flow cancels the runs of the one before.
	foreign := s.register(flowimage.Registration{Flow: "mapped", Labels: []string{label, "elsewhere"}})
	none := s.register(flowimage.Registration{Flow: "fail", Labels: []string{}})
	ours := s.register(flowimage.Registration{Flow: "two-tasks", Labels: []string{"more"}})
	s.awaitState(ours, "Success")
	for _, run := range []string{foreign, none} {
		if got, err := s.state(t.Context(), run); err != nil || got.State != "Scheduled" {
			t.Errorf("flow run %s is %v, %v, want Scheduled", run, got, err)
		}
	}
	if jobs := jobs(t.Context(), t, s.namespace); len(jobs) != 1 {
		t.Errorf("jobs are %+v, want one", jobs)
	}
}

// TestCancel: the flow process of a cancelled run ends itself, and the run stays Cancelled.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := newStage(t, generations()["1.4.1"])
	s.startAgent("--env", "PREFECT__CLOUD__CHECK_CANCELLATION_INTERVAL=1")
	run := s.register(flowimage.Registration{Flow: "heartbeat", Parameters: map[string]any{"seconds": 600}})
	s.awaitState(run, "Running")
	eventually(t, "the task runs", func(ctx context.Context) error {
		if got := s.taskStates(ctx, run); got["slow"] != "Running" {
			return fmt.Errorf("tasks are %v", got)
		}
		return nil
	})
	mutate[any](s, "cancel_flow_run", "state", map[string]any{"flow_run_id": run})
	s.awaitState(run, "Cancelled")
	s.awaitFinished()
	if pods := s.kubectl(t.Context(), "get", "pods", "--output=jsonpath={.items[*].status.phase}"); strings.Contains(pods, "Running") {
		t.Errorf("pods are %s, want them to have ended", pods)
	}
	s.awaitState(run, "Cancelled")
}

// TestScheduled: a run is read before its time and started at it, although no further poll could offer it.
func TestScheduled(t *testing.T) {
	t.Parallel()
	for version, g := range generations() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s, q := newStageWithoutPods(t, g, shared.binary), &queue{}
			a := s.launch(agentOptions{api: proxy(t, s.url, q.serve), args: []string{"--max-poll-interval", "30s"}})
			a.awaitReady()
			flow := s.createFlow()
			// Creation timestamps have whole seconds.
			due := time.Now().Add(9 * time.Second).Truncate(time.Second)
			run := mutate[created](s, "create_flow_run", "id", map[string]any{"flow_id": flow, "scheduled_start_time": due.UTC().Format(time.RFC3339)}).ID
			q.polls.Store(1)
			if err := healthy(t.Context(), a.url+"/api/poke"); err != nil {
				t.Fatal(err)
			}
			late := a.awaitSubmitted(run).Sub(due)
			t.Logf("submitted %v after its time", late)
			if late < 0 || late > 5*time.Second {
				t.Errorf("submitted %v after its time, want 0 to 5 s", late)
			}
			if jobs := jobs(t.Context(), t, s.namespace); len(jobs) != 1 || jobs[0].Metadata.CreationTimestamp.Before(due) {
				t.Errorf("jobs are %+v, want one that is not made before %v", jobs, due)
			}
		})
	}
}

// awaitSubmitted waits until the agent says that the run's Job is there, and returns when it was.
func (a agent) awaitSubmitted(run string) time.Time {
	a.t.Helper()
	var at time.Time
	a.await("the agent says that the job is there", func(context.Context) error {
		for _, l := range a.lines() {
			if l.FlowRunID == run && l.Phase == "submitted" {
				at = l.Time
				return nil
			}
		}
		return errors.New("not yet")
	})
	return at
}
