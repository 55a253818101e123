package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// FlowRunInput is a flow run to be created.
type FlowRunInput struct {
	// FlowID or VersionGroupID names the flow; the group means its newest
	// unarchived version.
	FlowID, VersionGroupID string
	Name                   string
	Parameters, Context    map[string]json.RawMessage
	// Labels are nil if not given; an empty list is a choice.
	Labels    []string
	RunConfig json.RawMessage
	// Start is when the run is due; nil means now.
	Start *time.Time
	// IdempotencyKey makes a second call return the first run of the flow.
	IdempotencyKey string
	autoScheduled  bool
}

// runFlow is what a new run takes from its flow and flow group.
type runFlow struct {
	id, tenantID                       string
	archived                           bool
	environment, runConfig, parameters string
	groupLabels, groupRunConfig        string
	groupParameters                    string
}

// CreateFlowRun creates a run in state Scheduled, version 1, together with one
// Pending task run per task, and returns its id.
func (s *Store) CreateFlowRun(ctx context.Context, in FlowRunInput) (string, error) {
	var id string
	err := s.update(ctx, func(ctx context.Context, t *tx) (err error) {
		id, _, err = t.createFlowRun(ctx, in)
		return err
	})
	return id, err
}

func (t *tx) createFlowRun(ctx context.Context, in FlowRunInput) (id string, created bool, err error) {
	flow, err := t.runFlow(ctx, in)
	if err != nil {
		return "", false, err
	}
	if in.IdempotencyKey != "" {
		found, err := t.one(ctx, "SELECT id FROM flow_run WHERE flow_id = ? AND idempotency_key = ?", []any{flow.id, in.IdempotencyKey}, &id)
		if err != nil || found {
			return id, false, err
		}
	}
	parameters, err := runParameters(t.s.opts.Generation, flow, in.Parameters)
	if err != nil {
		return "", false, err
	}
	id = newID()
	if err := t.insertFlowRun(ctx, id, flow, in, parameters); err != nil {
		return "", false, err
	}
	return id, true, t.createTaskRuns(ctx, id, flow)
}

func (t *tx) runFlow(ctx context.Context, in FlowRunInput) (runFlow, error) {
	where, arg := "f.id = ?", in.FlowID
	if in.FlowID == "" {
		where, arg = "f.version_group_id = ? AND f.archived = 0", in.VersionGroupID
	}
	if arg == "" {
		return runFlow{}, refuse("One of flow_id or version_group_id must be provided.")
	}
	var f runFlow
	found, err := t.one(ctx, `SELECT f.id, f.tenant_id, f.archived, coalesce(f.environment, ''), coalesce(f.run_config, ''), f.parameters,
		coalesce(g.labels, ''), coalesce(g.run_config, ''), g.default_parameters
		FROM flow f JOIN flow_group g ON g.id = f.flow_group_id WHERE `+where+` ORDER BY f.version DESC LIMIT 1`,
		[]any{arg}, &f.id, &f.tenantID, &f.archived, &f.environment, &f.runConfig, &f.parameters, &f.groupLabels, &f.groupRunConfig, &f.groupParameters)
	switch {
	case err != nil:
		return f, err
	case !found && in.FlowID != "":
		return f, refuse("Flow %s not found", in.FlowID)
	case !found:
		return f, refuse("Version group %s has no unarchived flows.", in.VersionGroupID)
	case f.archived:
		return f, refuse("Flow %s is archived.", f.id)
	}
	return f, nil
}

// runParameters are the truthy defaults of the flow, those of the flow group
// and the given ones, later ones winning. Missing required ones are an error,
// and so are unknown ones in Server0.
func runParameters(gen Generation, flow runFlow, given map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	var known []parameter
	if err := json.Unmarshal([]byte(flow.parameters), &known); err != nil {
		return nil, refuse("Invalid parameters of flow %s: %v", flow.id, err)
	}
	all := map[string]json.RawMessage{}
	for _, p := range known {
		if truthy(p.Default) {
			all[p.Name] = p.Default
		}
	}
	var group map[string]json.RawMessage
	if err := json.Unmarshal([]byte(flow.groupParameters), &group); err == nil {
		maps.Copy(all, group)
	}
	maps.Copy(all, given)
	var missing []string
	for _, p := range known {
		if _, ok := all[p.Name]; p.Required && !ok {
			missing = append(missing, p.Name)
		}
	}
	if len(missing) > 0 {
		return nil, refuse("Required parameters were not supplied: %s", strings.Join(missing, ", "))
	}
	if gen == Server0 {
		return all, extraParameters(known, given)
	}
	return all, nil
}

func extraParameters(known []parameter, given map[string]json.RawMessage) error {
	var extra []string
	for name := range given {
		if !slices.ContainsFunc(known, func(p parameter) bool { return p.Name == name }) {
			extra = append(extra, name)
		}
	}
	if len(extra) == 0 {
		return nil
	}
	slices.Sort(extra)
	return refuse("Extra parameters were supplied: %s", strings.Join(extra, ", "))
}

// truthy is Python's bool of a JSON value.
func truthy(raw json.RawMessage) bool {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return false
	}
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return false
}

// runLabels follows the order of prefect_server/api/runs.py: given labels, given
// run config, flow group labels, its run config, the flow's run config, the
// environment. Server0 knows only the environment.
func runLabels(gen Generation, flow runFlow, in FlowRunInput) []string {
	if gen == Server0 {
		return labelsOf(flow.environment)
	}
	labels := []string{}
	switch {
	case in.Labels != nil:
		labels = slices.Clone(in.Labels)
	case nullJSON(in.RunConfig) != nil:
		labels = labelsOf(string(in.RunConfig))
	case flow.groupLabels != "":
		_ = json.Unmarshal([]byte(flow.groupLabels), &labels)
	case flow.groupRunConfig != "":
		labels = labelsOf(flow.groupRunConfig)
	case flow.runConfig != "":
		labels = labelsOf(flow.runConfig)
	case flow.environment != "":
		labels = labelsOf(flow.environment)
	}
	slices.Sort(labels)
	return labels
}

// labelsOf reads the labels of a run config or an environment; what is no list
// of texts counts as none.
func labelsOf(doc string) []string {
	var c struct {
		Labels []string `json:"labels"`
	}
	if doc == "" || json.Unmarshal([]byte(doc), &c) != nil || c.Labels == nil {
		return []string{}
	}
	return c.Labels
}

func (t *tx) insertFlowRun(ctx context.Context, id string, flow runFlow, in FlowRunInput, parameters map[string]json.RawMessage) error {
	start := t.s.opts.Now()
	if in.Start != nil {
		start = *in.Start
	}
	runConfig := nullJSON(in.RunConfig)
	for _, inherited := range []string{flow.groupRunConfig, flow.runConfig} {
		if runConfig == nil && inherited != "" {
			runConfig = inherited
		}
	}
	name := in.Name
	if name == "" {
		name = randomName()
	}
	runContext := in.Context
	if runContext == nil {
		runContext = map[string]json.RawMessage{}
	}
	err := t.insert(ctx, "flow_run", row{
		"id": id, "tenant_id": flow.tenantID, "flow_id": flow.id, "name": name, "parameters": string(mustJSON(parameters)),
		"context": string(mustJSON(runContext)), "labels": string(mustJSON(runLabels(t.s.opts.Generation, flow, in))),
		"run_config": runConfig, "scheduled_start_time": FormatTime(start), "auto_scheduled": in.autoScheduled,
		"idempotency_key": emptyNull(in.IdempotencyKey),
	})
	if err != nil {
		return fmt.Errorf("insert flow run: %w", err)
	}
	return t.setOwnState(ctx, id, newState(Scheduled, "Flow run scheduled.", t.s.clientVersion(), map[string]any{"start_time": FormatTime(start)}))
}

// createTaskRuns adds one Pending task run per task, as the database trigger of
// both servers does.
func (t *tx) createTaskRuns(ctx context.Context, flowRunID string, flow runFlow) error {
	tasks, err := t.strings(ctx, "SELECT id FROM task WHERE flow_id = ? ORDER BY rowid", flow.id)
	if err != nil {
		return err
	}
	for _, task := range tasks {
		if _, err := t.createTaskRun(ctx, flow.tenantID, flowRunID, task, -1); err != nil {
			return err
		}
	}
	return nil
}

// DeleteFlowRun deletes a run with its task runs, states and logs, and reports
// whether it existed.
func (s *Store) DeleteFlowRun(ctx context.Context, id string) (bool, error) {
	return s.touch(ctx, "DELETE FROM flow_run WHERE id = ?", id)
}

// Heartbeat notes that a flow run is alive.
func (s *Store) Heartbeat(ctx context.Context, flowRunID string) error {
	return s.mustTouch(ctx, "Invalid flow run ID", "UPDATE flow_run SET heartbeat = ?1, updated = ?1 WHERE id = ?2", s.stamp(), flowRunID)
}

// TaskHeartbeat notes that a task run is alive.
func (s *Store) TaskHeartbeat(ctx context.Context, taskRunID string) error {
	return s.mustTouch(ctx, "Invalid task run ID", "UPDATE task_run SET heartbeat = ?1, updated = ?1 WHERE id = ?2", s.stamp(), taskRunID)
}

// SetFlowRunName renames a flow run.
func (s *Store) SetFlowRunName(ctx context.Context, id, name string) (bool, error) {
	return s.touch(ctx, "UPDATE flow_run SET name = ?, updated = ? WHERE id = ?", name, s.stamp(), id)
}

// SetTaskRunName renames a task run.
func (s *Store) SetTaskRunName(ctx context.Context, id, name string) (bool, error) {
	return s.touch(ctx, "UPDATE task_run SET name = ?, updated = ? WHERE id = ?", name, s.stamp(), id)
}

// SetFlowRunLabels replaces the labels of a flow run.
func (s *Store) SetFlowRunLabels(ctx context.Context, id string, labels []string) (bool, error) {
	labels = slices.Sorted(slices.Values(labels))
	if labels == nil {
		labels = []string{}
	}
	return s.touch(ctx, "UPDATE flow_run SET labels = ?, updated = ? WHERE id = ?", string(mustJSON(labels)), s.stamp(), id)
}

func (s *Store) stamp() string { return FormatTime(s.tick()) }

// touch runs one writing statement and reports whether it changed a row.
func (s *Store) touch(ctx context.Context, query string, args ...any) (bool, error) {
	var n int64
	err := s.update(ctx, func(ctx context.Context, t *tx) (err error) {
		n, err = t.exec(ctx, query, args...)
		return err
	})
	return n > 0, err
}

func (s *Store) mustTouch(ctx context.Context, refusal, query string, args ...any) error {
	ok, err := s.touch(ctx, query, args...)
	if err == nil && !ok {
		err = refuse("%s", refusal)
	}
	return err
}
