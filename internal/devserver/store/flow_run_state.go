package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"
)

// Statuses of a state answer.
const (
	StatusSuccess = "SUCCESS"
	StatusQueued  = "QUEUED"
	StatusError   = "ERROR"
)

const (
	queuedMessage = "Queued by concurrency limit"
	submittedLock = 30 * time.Second
)

// StateInput is one new state of a flow run or a task run.
type StateInput struct {
	RunID string
	// Version is the version the client believes the run to have; nil if it does
	// not say. It counts only where version locking is on.
	Version *int64
	State   json.RawMessage
	// AgentID is the agent that sends the state, empty if none does.
	AgentID string
}

// StateResult is the answer to one state.
type StateResult struct {
	ID, Status, Message string
	Err                 error
}

func resultOf(id string, err error) StateResult {
	switch {
	case errors.Is(err, errQueued):
		return StateResult{ID: id, Status: StatusQueued, Message: queuedMessage}
	case err != nil:
		return StateResult{ID: id, Status: StatusError, Message: err.Error(), Err: err}
	}
	return StateResult{ID: id, Status: StatusSuccess}
}

var errQueued = errors.New("queued")

// SetFlowRunStates sets states of flow runs one by one. Each stands for itself:
// a refused one undoes none of the others. The error is one of the database.
func (s *Store) SetFlowRunStates(ctx context.Context, in []StateInput) ([]StateResult, error) {
	out := make([]StateResult, len(in))
	if s.opts.BetweenReadAndInsert == nil {
		err := s.update(ctx, func(ctx context.Context, t *tx) error {
			for i, one := range in {
				err := t.setFlowRunState(ctx, one)
				if err != nil && !isAnswer(err) {
					return err
				}
				out[i] = resultOf(one.RunID, err)
			}
			return nil
		})
		return out, err
	}
	for i, one := range in {
		err := s.setFlowRunStateInTwoSteps(ctx, one)
		if err != nil && !isAnswer(err) {
			return nil, err
		}
		out[i] = resultOf(one.RunID, err)
	}
	return out, nil
}

func isAnswer(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok || errors.Is(err, errQueued)
}

// flowRunHead is what both servers read of a run before they insert a state.
type flowRunHead struct {
	id, tenantID, flowID, state string
	version                     int64
	locking                     bool
}

func (t *tx) setFlowRunState(ctx context.Context, in StateInput) error {
	head, st, err := t.acceptFlowRunState(ctx, in)
	if err != nil {
		return err
	}
	return t.insertFlowRunState(ctx, head, st, in.AgentID)
}

func (s *Store) setFlowRunStateInTwoSteps(ctx context.Context, in StateInput) error {
	var head flowRunHead
	var st State
	err := s.view(ctx, func(ctx context.Context, t *tx) (err error) {
		head, st, err = t.acceptFlowRunState(ctx, in)
		return err
	})
	if err != nil {
		return err
	}
	s.opts.BetweenReadAndInsert(ctx, in.RunID)
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		return t.insertFlowRunState(ctx, head, st, in.AgentID)
	})
}

// acceptFlowRunState reads the run and decides whether the state may be set. No
// transition is ever refused: a finished run can be set back to anything.
func (t *tx) acceptFlowRunState(ctx context.Context, in StateInput) (flowRunHead, State, error) {
	st, err := ParseState(in.State, t.s.sizes.state, t.s.opts.Generation, t.s.opts.Now())
	if err != nil {
		return flowRunHead{}, st, err
	}
	head, err := t.flowRunHead(ctx, in.RunID)
	if err != nil {
		return head, st, err
	}
	if head.locking && in.Version != nil && *in.Version != head.version {
		return head, st, &Error{Code: CodeVersionLocking, Message: "State update failed for flow run ID " + in.RunID}
	}
	if st.Type == Running && t.s.opts.Queue != nil && t.s.opts.Queue(ctx, "flow_run", in.RunID) {
		return head, st, errQueued
	}
	if st.Type == Submitted && t.s.opts.Generation == Server1 && !t.s.locks.take(in.RunID, t.s.opts.Now()) {
		return head, st, refuse("State update failed: this run has already been submitted.")
	}
	return head, st, nil
}

func (t *tx) flowRunHead(ctx context.Context, id string) (flowRunHead, error) {
	h := flowRunHead{id: id}
	found, err := t.one(ctx, `SELECT r.tenant_id, r.flow_id, coalesce(r.state, ''), r.version,
		coalesce(json_extract(g.settings, '$.version_locking_enabled'), 0) = 1
		FROM flow_run r JOIN flow f ON f.id = r.flow_id JOIN flow_group g ON g.id = f.flow_group_id WHERE r.id = ?`,
		[]any{id}, &h.tenantID, &h.flowID, &h.state, &h.version, &h.locking)
	if err == nil && !found {
		err = refuse("State update failed for flow run ID %s", id)
	}
	return h, err
}

func (t *tx) insertFlowRunState(ctx context.Context, head flowRunHead, st State, agentID string) error {
	if st.Type == Cancelled {
		if err := t.cancelTaskRuns(ctx, head.id, st); err != nil {
			return err
		}
	}
	now := t.now()
	id := newID()
	version := head.version + 1
	err := t.insert(ctx, "flow_run_state", row{
		"id": id, "created": now, "updated": now, "tenant_id": head.tenantID, "flow_run_id": head.id, "timestamp": now,
		"message": st.Message, "result": nullJSON(st.Result), "start_time": nullTime(st.Start),
		"state": string(st.Type), "version": version, "serialized_state": string(st.Raw),
	})
	if err != nil {
		return err
	}
	// The database trigger of both servers: rows older than the run's version do
	// not update it.
	_, err = t.exec(ctx, `UPDATE flow_run SET updated = ?1, version = ?2, state_id = ?3, state = ?4, state_timestamp = ?1,
		state_message = ?5, state_result = ?6, state_start_time = ?7, serialized_state = ?8,
		start_time = CASE WHEN ?9 THEN coalesce(start_time, ?1) ELSE start_time END,
		end_time = CASE WHEN ?10 THEN ?1 ELSE end_time END,
		heartbeat = CASE WHEN ?11 THEN ?1 ELSE heartbeat END,
		agent_id = CASE WHEN ?12 THEN coalesce((SELECT id FROM agent WHERE id = ?13), agent_id) ELSE agent_id END
		WHERE id = ?14 AND version <= ?2`,
		now, version, id, string(st.Type), st.Message, nullJSON(st.Result), nullTime(st.Start), string(st.Raw),
		st.Type == Running, st.Type.endsRun(), st.Type == Running || st.Type == Cancelling || st.Type == Submitted,
		st.Type == Submitted && agentID != "", agentID, head.id)
	return err
}

func nullTime(t *time.Time) any {
	if t == nil {
		return nil
	}
	return FormatTime(*t)
}

func nullJSON(raw json.RawMessage) any {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return string(raw)
}

// CancelFlowRun cancels a run and returns the state it has then: Cancelling if
// it was running, Cancelled if it had not started; a finished run stays.
func (s *Store) CancelFlowRun(ctx context.Context, id string) (string, error) {
	var state StateType
	err := s.update(ctx, func(ctx context.Context, t *tx) (err error) {
		state, err = t.cancelFlowRun(ctx, id, "Flow run is cancelled")
		return err
	})
	return string(state), err
}

func (t *tx) cancelFlowRun(ctx context.Context, id, message string) (StateType, error) {
	head, err := t.flowRunHead(ctx, id)
	if _, ok := errors.AsType[*Error](err); ok {
		return "", refuse("Invalid flow run ID: %s.", id)
	}
	if err != nil {
		return "", err
	}
	now := StateType(head.state)
	if now.IsFinished() {
		return now, nil
	}
	next := Cancelled
	if now == Running || now == Cancelling {
		next = Cancelling
	}
	return next, t.setOwnState(ctx, id, newState(next, message, t.s.clientVersion(), nil))
}

// setOwnState sets a state made by the server.
func (t *tx) setOwnState(ctx context.Context, id string, raw json.RawMessage) error {
	head, err := t.flowRunHead(ctx, id)
	if err != nil {
		return err
	}
	st, err := ParseState(raw, len(raw), t.s.opts.Generation, t.s.opts.Now())
	if err != nil {
		return err
	}
	return t.insertFlowRunState(ctx, head, st, "")
}

// submittedLocks refuse a second Submitted state of one run for 30 seconds
// (prefect_server/api/states.py, servers from 2021.10.21).
type submittedLocks struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (l *submittedLocks) take(runID string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := strings.ToLower(runID)
	if until, ok := l.until[key]; ok && now.Before(until) {
		return false
	}
	if l.until == nil {
		l.until = map[string]time.Time{}
	}
	if len(l.until) >= 1024 {
		for k, until := range l.until {
			if !now.Before(until) {
				delete(l.until, k)
			}
		}
	}
	l.until[key] = now.Add(submittedLock)
	return true
}
