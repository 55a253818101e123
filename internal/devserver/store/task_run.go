package store

import (
	"context"
	"encoding/json"
)

// TaskRun is the short form of a task run that a flow process asks for.
type TaskRun struct {
	ID, State string
	Version   int64
	// Serialized is the JSON of the state.
	Serialized json.RawMessage
}

// GetOrCreateTaskRun finds the run of a task in a flow run by its map index (-1
// for a task that is not mapped), or creates it Pending.
func (s *Store) GetOrCreateTaskRun(ctx context.Context, flowRunID, taskID string, mapIndex int64) (TaskRun, error) {
	var run TaskRun
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		found, err := t.taskRun(ctx, &run, "flow_run_id = ? AND task_id = ? AND map_index = ?", flowRunID, taskID, mapIndex)
		if err != nil || found {
			return err
		}
		var tenantID string
		found, err = t.one(ctx, "SELECT r.tenant_id FROM flow_run r, task t WHERE r.id = ? AND t.id = ?", []any{flowRunID, taskID}, &tenantID)
		if err != nil {
			return err
		}
		if !found {
			return refuse("Invalid ID")
		}
		id, err := t.createTaskRun(ctx, tenantID, flowRunID, taskID, mapIndex)
		run = TaskRun{ID: id, State: string(Pending), Serialized: json.RawMessage(pendingTaskRun)}
		return err
	})
	return run, err
}

// TaskRun reads one task run; found is false if there is none.
func (s *Store) TaskRun(ctx context.Context, id string) (run TaskRun, found bool, err error) {
	err = s.view(ctx, func(ctx context.Context, t *tx) (err error) {
		found, err = t.taskRun(ctx, &run, "id = ?", id)
		return err
	})
	return run, found, err
}

func (t *tx) taskRun(ctx context.Context, run *TaskRun, where string, args ...any) (bool, error) {
	var raw string
	found, err := t.one(ctx, "SELECT id, coalesce(state, ''), version, coalesce(serialized_state, '{}') FROM task_run WHERE "+where,
		args, &run.ID, &run.State, &run.Version, &raw)
	run.Serialized = json.RawMessage(raw)
	return found, err
}

func (t *tx) createTaskRun(ctx context.Context, tenantID, flowRunID, taskID string, mapIndex int64) (string, error) {
	id, stateID, now := newID(), newID(), t.now()
	_, err := t.exec(ctx, `INSERT INTO task_run (id, created, updated, tenant_id, flow_run_id, task_id, map_index, version, cache_key,
		state_id, state, state_timestamp, serialized_state)
		SELECT ?, ?, ?, ?, ?, t.id, ?, 0, t.cache_key, ?, 'Pending', ?, ? FROM task t WHERE t.id = ?`,
		id, now, now, tenantID, flowRunID, mapIndex, stateID, now, pendingTaskRun, taskID)
	if err != nil {
		return "", err
	}
	return id, t.insert(ctx, "task_run_state", row{
		"id": stateID, "created": now, "updated": now, "tenant_id": tenantID, "task_run_id": id, "timestamp": now,
		"message": "Task run created", "state": "Pending", "version": 0, "serialized_state": pendingTaskRun,
	})
}

// MappedChildren sums up the runs of a mapped task beside its parent run.
type MappedChildren struct {
	// MinStart and MaxEnd are nil where no child has one.
	MinStart, MaxEnd *string
	Counts           map[string]int64
}

// MappedChildren counts the states of the mapped children of a task run.
func (s *Store) MappedChildren(ctx context.Context, taskRunID string) (MappedChildren, error) {
	out := MappedChildren{Counts: map[string]int64{}}
	err := s.view(ctx, func(ctx context.Context, t *tx) error {
		const of = ` FROM task_run c JOIN task_run p ON p.flow_run_id = c.flow_run_id AND p.task_id = c.task_id
			WHERE p.id = ? AND c.map_index >= 0`
		if _, err := t.one(ctx, "SELECT min(c.start_time), max(c.end_time)"+of, []any{taskRunID}, &out.MinStart, &out.MaxEnd); err != nil {
			return err
		}
		var text string
		_, err := t.one(ctx, "SELECT json_group_object(state, n) FROM (SELECT c.state AS state, count(*) AS n"+of+" GROUP BY c.state)",
			[]any{taskRunID}, &text)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &out.Counts)
	})
	return out, err
}
