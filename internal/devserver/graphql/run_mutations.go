package graphql

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

func runMutations() map[string]mutation {
	return map[string]mutation{
		"create_flow_run":     makes(createFlowRun),
		"set_flow_run_states": setFlowRunStates,
		"set_task_run_states": setTaskRunStates,
		"get_runs_in_queue":   runsInQueue,
		"cancel_flow_run": func(ctx context.Context, r *run, in fields) (any, error) {
			state, err := r.store.CancelFlowRun(ctx, text(in, "flow_run_id"))
			return payload{"state": state}, err
		},
		"get_or_create_task_run":      getOrCreateTaskRun,
		"get_or_create_task_run_info": getOrCreateTaskRun,
		"schedule_flow_runs": func(ctx context.Context, r *run, _ fields) (any, error) {
			_, err := r.store.ScheduleFlowRuns(ctx)
			return []payload{}, err
		},
		"delete_flow_run": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteFlowRun(ctx, text(in, "flow_run_id"))
		}),
		"update_flow_run_heartbeat": does(func(ctx context.Context, s *store.Store, in fields) error {
			return s.Heartbeat(ctx, text(in, "flow_run_id"))
		}),
		"update_task_run_heartbeat": does(func(ctx context.Context, s *store.Store, in fields) error {
			return s.TaskHeartbeat(ctx, text(in, "task_run_id"))
		}),
		"set_flow_run_name": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.SetFlowRunName(ctx, text(in, "flow_run_id"), text(in, "name"))
		}),
		"set_task_run_name": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.SetTaskRunName(ctx, text(in, "task_run_id"), text(in, "name"))
		}),
		"set_flow_run_labels": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.SetFlowRunLabels(ctx, text(in, "flow_run_id"), labelsOf(in))
		}),
	}
}

func createFlowRun(ctx context.Context, s *store.Store, in fields) (string, error) {
	parameters, err := jsonObject(in, "parameters")
	if err != nil {
		return "", err
	}
	runContext, err := jsonObject(in, "context")
	if err != nil {
		return "", err
	}
	return s.CreateFlowRun(ctx, store.FlowRunInput{
		FlowID: text(in, "flow_id"), VersionGroupID: text(in, "version_group_id"), Name: text(in, "flow_run_name"),
		Parameters: parameters, Context: runContext, Labels: labelsOf(in), RunConfig: raw(in, "run_config"),
		Start: timeOf(in.get("scheduled_start_time")), IdempotencyKey: text(in, "idempotency_key"),
	})
}

func jsonObject(in fields, name string) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage
	value := raw(in, name)
	if value == nil {
		return nil, nil
	}
	if err := json.Unmarshal(value, &out); err != nil {
		return nil, input("%s: want a JSON object", name)
	}
	return out, nil
}

func getOrCreateTaskRun(ctx context.Context, r *run, in fields) (any, error) {
	index, ok := in.get("map_index").(int64)
	if !ok {
		index = -1
	}
	run, err := r.store.GetOrCreateTaskRun(ctx, text(in, "flow_run_id"), text(in, "task_id"), index)
	return taskRunPayload(run), err
}

func runsInQueue(ctx context.Context, r *run, in fields) (any, error) {
	ids, err := r.store.RunsInQueue(ctx, store.QueueInput{
		TenantID: text(in, "tenant_id"), Before: timeOf(in.get("before")), Labels: labelsOf(in), AgentID: r.request.AgentID,
	})
	return payload{"flow_run_ids": ids}, err
}

// maxStates bounds the states of one mutation, which is one transaction.
const maxStates = 1000

func stateInputs(r *run, in fields, id string) ([]store.StateInput, error) {
	var out []store.StateInput
	list := inputs(in, "states")
	if len(list) > maxStates {
		return nil, input("more than %d states in one mutation", maxStates)
	}
	for _, one := range list {
		s := store.StateInput{RunID: text(one, id), State: raw(one, "state"), AgentID: r.request.AgentID}
		if v, ok := one.get("version").(int64); ok {
			s.Version = &v
		}
		out = append(out, s)
	}
	return out, nil
}

func setFlowRunStates(ctx context.Context, r *run, in fields) (any, error) {
	states, err := stateInputs(r, in, "flow_run_id")
	if err != nil {
		return nil, err
	}
	results, err := r.store.SetFlowRunStates(ctx, states)
	if err != nil {
		return nil, err
	}
	return r.statesPayload(results)
}

func setTaskRunStates(ctx context.Context, r *run, in fields) (any, error) {
	states, err := stateInputs(r, in, "task_run_id")
	if err != nil {
		return nil, err
	}
	results, err := r.store.SetTaskRunStates(ctx, states)
	if err != nil {
		return nil, err
	}
	return r.statesPayload(results)
}

// statesPayload answers states. In Server1 the first failure fails the whole
// mutation, though the other states are set; in Server0 it fails the id of its
// state. A version conflict always fails the mutation, as at the hosted service.
func (r *run) statesPayload(results []store.StateResult) (any, error) {
	list := make([]payload, len(results))
	for i, res := range results {
		if e, ok := errors.AsType[*store.Error](res.Err); ok && (r.store.Generation() == store.Server1 || e.Code != "") {
			return nil, e
		}
		var id, message any = res.ID, nil
		if res.Message != "" {
			message = res.Message
		}
		if res.Err != nil {
			id = res.Err
		}
		list[i] = payload{"id": id, "status": res.Status, "message": message}
	}
	return payload{"states": list}, nil
}

func recordMutations() map[string]mutation {
	return map[string]mutation{
		"write_run_logs": func(ctx context.Context, r *run, in fields) (any, error) {
			var logs []store.LogInput
			for _, l := range inputs(in, "logs") {
				logs = append(logs, store.LogInput{
					FlowRunID: text(l, "flow_run_id"), TaskRunID: text(l, "task_run_id"), Time: timeOf(l.get("timestamp")),
					Name: optionalText(l, "name"), Level: optionalText(l, "level"), Message: optionalText(l, "message"), Info: raw(l, "info"),
				})
			}
			return payload{"success": true}, r.store.WriteLogs(ctx, logs)
		},
		"register_agent": func(ctx context.Context, r *run, in fields) (any, error) {
			tenant := text(in, "tenant_id")
			if r.store.Generation() == store.Server0 {
				tenant = r.store.TenantID()
			}
			id, err := r.store.RegisterAgent(ctx, store.AgentInput{
				TenantID: tenant, ConfigID: text(in, "agent_config_id"), Name: text(in, "name"), Type: text(in, "type"),
				CoreVersion: r.request.CoreVersion, Labels: labelsOf(in),
			})
			return payload{"id": id}, err
		},
		"delete_agent": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteAgent(ctx, text(in, "agent_id"))
		}),
		"create_agent_config": makes(func(ctx context.Context, s *store.Store, in fields) (string, error) {
			return s.CreateAgentConfig(ctx, text(in, "tenant_id"), optionalText(in, "name"), raw(in, "settings"))
		}),
		"create_project": makes(func(ctx context.Context, s *store.Store, in fields) (string, error) {
			return s.CreateProject(ctx, text(in, "tenant_id"), text(in, "name"), optionalText(in, "description"))
		}),
		"delete_project": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteProject(ctx, text(in, "project_id"))
		}),
		"create_tenant": makes(func(ctx context.Context, s *store.Store, in fields) (string, error) {
			return s.CreateTenant(ctx, text(in, "name"), text(in, "slug"))
		}),
		"create_task_run_artifact": makes(func(ctx context.Context, s *store.Store, in fields) (string, error) {
			return s.CreateArtifact(ctx, text(in, "task_run_id"), text(in, "kind"), raw(in, "data"))
		}),
		"update_task_run_artifact": does(func(ctx context.Context, s *store.Store, in fields) error {
			return s.UpdateArtifact(ctx, text(in, "task_run_artifact_id"), raw(in, "data"))
		}),
		"delete_task_run_artifact": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteArtifact(ctx, text(in, "task_run_artifact_id"))
		}),
	}
}
