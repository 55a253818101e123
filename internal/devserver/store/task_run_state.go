package store

import (
	"context"
	"database/sql"
	"encoding/json"
)

// SetTaskRunStates sets states of task runs one by one, like SetFlowRunStates.
// A Running state is refused unless the flow run is Running.
func (s *Store) SetTaskRunStates(ctx context.Context, in []StateInput) ([]StateResult, error) {
	out := make([]StateResult, len(in))
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		for i, one := range in {
			err := t.setTaskRunState(ctx, one)
			if err != nil && !isAnswer(err) {
				return err
			}
			out[i] = resultOf(one.RunID, err)
		}
		return nil
	})
	return out, err
}

type taskRunHead struct {
	id, tenantID, flowRunID, flowState string
	old                                string
	version                            int64
	locking                            bool
}

func (t *tx) taskRunHead(ctx context.Context, id string) (taskRunHead, error) {
	h := taskRunHead{id: id}
	found, err := t.one(ctx, `SELECT t.tenant_id, t.flow_run_id, coalesce(r.state, ''), coalesce(t.serialized_state, '{}'), t.version,
		coalesce(json_extract(g.settings, '$.version_locking_enabled'), 0) = 1
		FROM task_run t JOIN flow_run r ON r.id = t.flow_run_id
		JOIN flow f ON f.id = r.flow_id JOIN flow_group g ON g.id = f.flow_group_id WHERE t.id = ?`,
		[]any{id}, &h.tenantID, &h.flowRunID, &h.flowState, &h.old, &h.version, &h.locking)
	if err == nil && !found {
		err = refuse("State update failed for task run ID %s", id)
	}
	return h, err
}

func (t *tx) setTaskRunState(ctx context.Context, in StateInput) error {
	st, err := ParseState(in.State, t.s.sizes.state, t.s.opts.Generation, t.s.opts.Now())
	if err != nil {
		return err
	}
	head, err := t.taskRunHead(ctx, in.RunID)
	if err != nil {
		return err
	}
	if head.locking && in.Version != nil && *in.Version != head.version {
		return &Error{Code: CodeVersionLocking, Message: "State update failed for task run ID " + in.RunID}
	}
	if st.Type == Running && head.flowState != string(Running) {
		return refuse("State update failed for task run ID %s: provided a running state but associated flow run %s is not in a running state.",
			in.RunID, head.flowRunID)
	}
	if st.Type == Running && t.s.opts.Queue != nil && t.s.opts.Queue(ctx, "task_run", in.RunID) {
		return errQueued
	}
	return t.insertTaskRunState(ctx, head, st)
}

func (t *tx) insertTaskRunState(ctx context.Context, head taskRunHead, st State) error {
	raw := carryCachedInputs(json.RawMessage(head.old), st.Raw)
	now := t.now()
	id := newID()
	version := head.version + 1
	err := t.insert(ctx, "task_run_state", row{
		"id": id, "created": now, "updated": now, "tenant_id": head.tenantID, "task_run_id": head.id, "timestamp": now,
		"message": st.Message, "result": nullJSON(st.Result), "start_time": nullTime(st.Start),
		"state": string(st.Type), "version": version, "serialized_state": string(raw),
	})
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE task_run SET updated = ?1, version = ?2, state_id = ?3, state = ?4, state_timestamp = ?1,
		state_message = ?5, state_result = ?6, state_start_time = ?7, serialized_state = ?8,
		start_time = CASE WHEN ?9 THEN coalesce(start_time, ?1) ELSE start_time END,
		end_time = CASE WHEN ?10 THEN ?1 ELSE end_time END,
		heartbeat = CASE WHEN ?9 THEN ?1 ELSE heartbeat END
		WHERE id = ?11 AND version <= ?2`,
		now, version, id, string(st.Type), st.Message, nullJSON(st.Result), nullTime(st.Start), string(raw),
		st.Type == Running, st.Type.endsRun(), head.id)
	return err
}

// carryCachedInputs keeps the cached inputs of the old state if the new one has
// none. The new state is otherwise left as it is, byte by byte.
func carryCachedInputs(old, raw json.RawMessage) json.RawMessage {
	type cached struct {
		Inputs map[string]json.RawMessage `json:"cached_inputs"`
	}
	var before, after cached
	if json.Unmarshal(old, &before) != nil || len(before.Inputs) == 0 {
		return raw
	}
	if json.Unmarshal(raw, &after) != nil || len(after.Inputs) > 0 {
		return raw
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(raw, &doc) != nil {
		return raw
	}
	doc["cached_inputs"] = mustJSON(before.Inputs)
	return mustJSON(doc)
}

// cancelTaskRuns gives every unfinished task run of a cancelled flow run the
// same state.
func (t *tx) cancelTaskRuns(ctx context.Context, flowRunID string, st State) error {
	var unfinished []string
	err := t.each(ctx, "SELECT id, coalesce(state, '') FROM task_run WHERE flow_run_id = ? ORDER BY rowid", []any{flowRunID}, func(r *sql.Rows) error {
		var id, state string
		if err := r.Scan(&id, &state); err != nil {
			return err
		}
		if !StateType(state).IsFinished() {
			unfinished = append(unfinished, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range unfinished {
		head, err := t.taskRunHead(ctx, id)
		if err != nil {
			return err
		}
		if err := t.insertTaskRunState(ctx, head, st); err != nil {
			return err
		}
	}
	return nil
}
