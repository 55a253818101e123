package prefect1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// historyRows is how many of the newest states are read with a run. Where no
// Scheduled is among them, a second read asks for moreRows.
const (
	historyRows = 20
	moreRows    = 500
)

// retryGrace keeps task runs out that their own flow process is about to run:
// the agent of every release asks for those due for three seconds (agent/agent.py).
const retryGrace = 3 * time.Second

// layout is Python's isoformat with microseconds and offset.
const layout = "2006-01-02T15:04:05.000000-07:00"

// RunsInQueue asks which flow runs with these labels may be started until the
// given time. The server returns at most 25 and marks nothing.
func (c *Client) RunsInQueue(ctx context.Context, before time.Time, labels []string) ([]flowrun.ID, error) {
	if labels == nil {
		labels = []string{}
	}
	input := map[string]any{"before": before.UTC().Format(layout), "labels": labels}
	if s := c.session.Load(); s.dialect.tenants {
		input["tenant_id"] = nullable(s.tenantID)
	}
	var there bool
	var ids []flowrun.ID
	into := object{"get_runs_in_queue": noticed{object{"flow_run_ids": list[flowrun.ID]{2 * maxQueue, &ids}}, &there}}
	const query = `mutation($input: get_runs_in_queue_input!) { get_runs_in_queue(input: $input) { flow_run_ids } }`
	if err := c.repeat(ctx, manyNames, query, vars(input), into); err != nil {
		return nil, fmt.Errorf("query the queue: %w", c.learn(ctx, err))
	}
	if !there {
		return nil, fmt.Errorf("query the queue: %w", &MalformedError{Err: errors.New("get_runs_in_queue missing")})
	}
	c.confirm()
	return distinct(ids), nil
}

// distinct keeps the first of equal ids, in their order, within the bounds.
func distinct(ids []flowrun.ID) []flowrun.ID {
	seen := map[flowrun.ID]bool{}
	var kept []flowrun.ID
	for _, id := range ids {
		if len(kept) < maxQueue && wellFormed(id) && !seen[id] {
			seen[id] = true
			kept = append(kept, id)
		}
	}
	return kept
}

// FlowRun is a flow run as an agent needs it.
type FlowRun struct {
	flowrun.Snapshot
	Name string
	Flow Flow
	// RunConfig is null or missing for flows that have an environment instead.
	RunConfig json.RawMessage
	labels    labels
}

// Flow is the flow of a run. Environment and Storage are as they travel.
type Flow struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	CoreVersion string          `json:"core_version"`
	Environment json.RawMessage `json:"environment"`
	Storage     json.RawMessage `json:"storage"`
	// RunConfig is set by a server whose flow runs have none of their own.
	RunConfig json.RawMessage `json:"run_config"`
}

type wireRow struct {
	Version int             `json:"version"`
	State   json.RawMessage `json:"serialized_state"`
}

type wireRun struct {
	ID        flowrun.ID      `json:"id"`
	Version   int             `json:"version"`
	State     json.RawMessage `json:"serialized_state"`
	Name      string          `json:"name"`
	RunConfig json.RawMessage `json:"run_config"`
	Labels    json.RawMessage `json:"labels"`
	Flow      Flow            `json:"flow"`
	States    rows            `json:"states"`
}

// maxDocument bounds each document and each state of a run, in bytes. Kubernetes keeps
// no object of more than 1.5 MiB.
const maxDocument = 1 << 20

// bounded names what of a run is larger than any use of it.
func (w *wireRun) bounded() error {
	for name, document := range map[string]json.RawMessage{
		"serialized_state": w.State, "run_config": w.RunConfig, "labels": w.Labels, "flow.environment": w.Flow.Environment, "flow.storage": w.Flow.Storage,
	} {
		if len(document) > maxDocument {
			return fmt.Errorf("%s: larger than %d bytes", name, maxDocument)
		}
	}
	for i, row := range w.States {
		if len(row.State) > maxDocument {
			return fmt.Errorf("states[%d] (version %d): larger than %d bytes", i, row.Version, maxDocument)
		}
	}
	return nil
}

// rows are the states of a run, as many as are asked for at most.
type rows []wireRow

// UnmarshalJSON implements json.Unmarshaler.
func (r *rows) UnmarshalJSON(data []byte) error {
	items, err := decodeList[wireRow](data, moreRows)
	if errors.Is(err, errEnough) {
		err = nil
	}
	*r = items
	return err
}

// FlowRuns reads those of the given runs that may be started: Scheduled ones and
// Running ones with a task run that has been due for three seconds. A run that
// cannot be read comes back with its Err set.
func (c *Client) FlowRuns(ctx context.Context, ids []flowrun.ID, now time.Time) ([]FlowRun, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	due := quote(now.Add(-retryGrace).UTC().Format(layout))
	const where = `{ id: { _in: [%s] }, _or: [{ state: { _eq: "Scheduled" } }, { state: { _eq: "Running" }, task_runs: { state_start_time: { _lte: %s } } }] }`
	runs, err := divide(ctx, &c.hostileRuns, ids, func(ctx context.Context, ids []flowrun.ID) ([]FlowRun, error) {
		runs, err := c.readRuns(ctx, len(ids), fmt.Sprintf(where, quoteIDs(ids), due), c.session.Load().dialect.runFields(), historyRows)
		return slices.DeleteFunc(runs, func(r FlowRun) bool { return !slices.Contains(ids, r.ID) }), err
	})
	if err != nil {
		return nil, fmt.Errorf("query flow runs: %w", c.learn(ctx, err))
	}
	if err := c.deepen(ctx, runs); err != nil {
		return nil, err
	}
	return runs, nil
}

// Snapshots reads state and history of the given runs, whatever their state.
// Runs that do not exist are missing in the answer; those that cannot be read come
// with their Err set.
func (c *Client) Snapshots(ctx context.Context, ids []flowrun.ID) (map[flowrun.ID]flowrun.Snapshot, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	runs, err := c.snapshots(ctx, &c.hostileHistories, ids, historyRows)
	if err != nil {
		return nil, err
	}
	if err := c.deepen(ctx, runs); err != nil {
		return nil, err
	}
	out := make(map[flowrun.ID]flowrun.Snapshot, len(runs))
	for _, run := range runs {
		out[run.ID] = run.Snapshot
	}
	return out, nil
}

func (c *Client) snapshots(ctx context.Context, h *hostile, ids []flowrun.ID, rows int) ([]FlowRun, error) {
	runs, err := divide(ctx, h, ids, func(ctx context.Context, ids []flowrun.ID) ([]FlowRun, error) {
		return c.readRuns(ctx, len(ids), fmt.Sprintf(`{ id: { _in: [%s] } }`, quoteIDs(ids)), "", rows)
	})
	if err != nil {
		return nil, fmt.Errorf("query histories: %w", c.learn(ctx, err))
	}
	return runs, nil
}

// deepen reads more of a history in whose newest rows no Scheduled is found, since
// a fold needs the row that the attempt rests on. Runs that there is no time for get
// their Err set.
func (c *Client) deepen(ctx context.Context, runs []FlowRun) error {
	var short []flowrun.ID
	for _, run := range runs {
		if run.Err == nil && len(run.History) >= historyRows && flowrun.Fold(run.History).Scheduled == 0 {
			short = append(short, run.ID)
		}
	}
	if len(short) == 0 {
		return nil
	}
	limited, cancel := half(ctx)
	defer cancel()
	deep, err := c.snapshots(limited, &c.hostileLong, short, moreRows)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		for _, id := range short {
			deep = append(deep, unreadable(id, noTime(err)))
		}
	case err != nil:
		return err
	}
	byID := make(map[flowrun.ID]FlowRun, len(deep))
	for _, run := range deep {
		byID[run.ID] = run
	}
	for i := range runs {
		if run, ok := byID[runs[i].ID]; ok {
			runs[i].Snapshot = run.Snapshot
		}
	}
	return nil
}

func (d dialect) runFields() string {
	fields := "name flow { id name storage"
	if d.environment {
		fields += " environment"
	}
	if d.coreVersion {
		fields += " core_version"
	}
	if d.flowRunConfig {
		fields += " run_config"
	}
	fields += " }"
	if d.runConfig {
		fields += " run_config"
	}
	if d.labels == labelsOfRun {
		fields += " labels"
	}
	return fields
}

// readRuns reads at most so many runs, each with at most so many states.
func (c *Client) readRuns(ctx context.Context, most int, where, fields string, rows int) ([]FlowRun, error) {
	d := c.session.Load().dialect
	if d.history {
		fields += fmt.Sprintf(" states(order_by: { version: desc }, limit: %d) { version serialized_state }", rows)
	}
	var found []parsedRun
	into := object{"flow_run": list[parsedRun]{most + noRuns, &found}}
	query := fmt.Sprintf(`query { flow_run(where: %s) { id version serialized_state %s } }`, where, fields)
	if err := c.repeat(ctx, maxAnswer, query, nil, into); err != nil {
		return nil, err
	}
	runs := make([]FlowRun, 0, most)
	for _, run := range found {
		if wellFormed(run.ID) {
			run.labels.source = d.labels
			runs = append(runs, run.FlowRun)
		}
	}
	return runs, nil
}

// noRuns is how many items of an answer may be no runs that were asked for.
const noRuns = 1000

// parsedRun is a flow run that is read from an answer.
type parsedRun struct{ FlowRun }

// UnmarshalJSON implements json.Unmarshaler. What cannot be read is the run's Err.
func (r *parsedRun) UnmarshalJSON(data []byte) error {
	r.FlowRun = parseRun(data)
	return nil
}

// parseRun is tolerant per run: one that cannot be read must not hide the others
// (D-28). A run without a readable id has the id "".
func parseRun(data []byte) FlowRun {
	var w wireRun
	err := json.Unmarshal(data, &w)
	if err == nil {
		err = w.bounded()
	}
	if err != nil {
		var only struct {
			ID flowrun.ID `json:"id"`
		}
		_ = json.Unmarshal(data, &only) // an unreadable id stays empty
		return FlowRun{Snapshot: flowrun.Snapshot{ID: only.ID, Err: fmt.Errorf("flow run: %w", err)}}
	}
	run := FlowRun{Snapshot: flowrun.Snapshot{ID: w.ID, Version: w.Version}, Name: w.Name, Flow: w.Flow, RunConfig: w.RunConfig, labels: labels{own: w.Labels, environment: w.Flow.Environment}}
	if run.RunConfig == nil {
		run.RunConfig = w.Flow.RunConfig
	}
	run.State, run.Err = ParseState(w.State)
	if len(w.States) > 0 && run.Err == nil {
		run.History, run.Err = parseRows(w.States)
	}
	return run
}

func parseRows(rows []wireRow) ([]flowrun.Row, error) {
	history := make([]flowrun.Row, len(rows))
	for i, row := range rows {
		state, err := ParseState(row.State)
		if err != nil {
			return nil, fmt.Errorf("states[%d] (version %d): %w", i, row.Version, err)
		}
		history[i] = flowrun.Row{Version: row.Version, State: state}
	}
	return history, nil
}

// quote writes a GraphQL string. JSON's escapes are a subset of GraphQL's.
func quote(text string) string {
	data, err := json.Marshal(text)
	if err != nil { // a string always encodes
		return `""`
	}
	return string(data)
}

func quoteIDs(ids []flowrun.ID) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = quote(string(id))
	}
	return strings.Join(parts, ", ")
}
