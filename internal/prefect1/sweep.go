package prefect1

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// pageSize is how many flow runs are named in one answer. Servers may return fewer.
const pageSize = 200

// Claim names a flow run that is shown as Submitted, and its version.
type Claim struct {
	ID      flowrun.ID `json:"id"`
	Version int        `json:"version"`
}

// Claims reads a page of the flow runs that are shown as Submitted, by whomever, in
// the order of their ids: those behind the given one, all if it is empty. Only an
// empty page is the last.
func (c *Client) Claims(ctx context.Context, after flowrun.ID) ([]Claim, error) {
	behind := ""
	if after != "" {
		behind = ", id: { _gt: " + quote(string(after)) + " }"
	}
	query := fmt.Sprintf(`query { flow_run(where: { state: { _eq: "Submitted" }%s }, order_by: { id: asc }, limit: %d) { id version } }`, behind, pageSize)
	claims := []Claim{}
	into := object{"flow_run": list[Claim]{pageSize, &claims}}
	if err := c.repeat(ctx, manyNames, query, nil, into); err != nil {
		return nil, fmt.Errorf("query submitted flow runs: %w", err)
	}
	for i, claim := range claims {
		if claim.ID <= after || !wellFormed(claim.ID) { // else one page would follow the other for ever
			return claims[:i], nil
		}
		after = claim.ID
	}
	return claims, nil
}

// FlowRunsByID reads flow runs whatever their state. Those that do not exist are
// missing in the answer; one that cannot be read comes back with its Err set.
func (c *Client) FlowRunsByID(ctx context.Context, ids []flowrun.ID) ([]FlowRun, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	fields := c.session.Load().dialect.runFields()
	runs, err := divide(ctx, &c.hostileRuns, ids, func(ctx context.Context, ids []flowrun.ID) ([]FlowRun, error) {
		return c.readRuns(ctx, len(ids), fmt.Sprintf(`{ id: { _in: [%s] } }`, quoteIDs(ids)), fields, historyRows)
	})
	if err != nil {
		return nil, fmt.Errorf("query flow runs: %w", c.learn(ctx, err))
	}
	return runs, c.deepen(ctx, runs)
}

// maxPages bounds how far Overdue looks past the runs of other agents.
const maxPages = 10

// Overdue reads which flow runs for an agent with these labels the queue should have returned
// for some time. It returns at most 25 of the 75 whose start is longest ago, and
// counts those whose states can never be started, and those with labels of others,
// among them (prefect_server/api/runs.py, D-21). The rule for labels is the
// server's. Cloud's queue is not known to be so: nothing is asked there.
func (c *Client) Overdue(ctx context.Context, before time.Time, agent []string) ([]flowrun.ID, error) {
	session := c.session.Load()
	if c.o.Cloud || session.dialect.labels == labelsUnknown || session.dialect.tenants && !session.dialect.runTenant {
		return nil, nil
	}
	found := make([]flowrun.ID, 0, pageSize)
	for page := range maxPages {
		runs, err := c.overdue(ctx, before, session, page)
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			of := labels{own: run.Labels, environment: run.Flow.Environment, source: session.dialect.labels}
			if wellFormed(run.ID) && of.fit(agent) {
				found = append(found, run.ID)
			}
		}
		if len(runs) == 0 || len(found) >= pageSize {
			break
		}
	}
	return distinct(found[:min(len(found), pageSize)]), nil
}

func (c *Client) overdue(ctx context.Context, before time.Time, s *session, page int) ([]wireRun, error) {
	due, tenant, fields := quote(before.UTC().Format(layout)), "", "labels"
	if s.dialect.tenants {
		tenant = ", tenant_id: { _eq: " + quote(s.tenantID) + " }"
	}
	if s.dialect.labels == labelsOfEnvironment {
		fields = "flow { environment }"
	}
	const query = `query {
  scheduled: flow_run(where: { state: { _eq: "Scheduled" }, state_start_time: { _lte: %[1]s }%[2]s }, order_by: { state_start_time: asc }, limit: %[3]d, offset: %[4]d) { id %[5]s }
  running: flow_run(where: { state: { _eq: "Running" }, task_runs: { state_start_time: { _lte: %[1]s } }%[2]s }, order_by: { id: asc }, limit: %[3]d, offset: %[4]d) { id %[5]s }
}`
	var scheduled, running []wireRun
	into := object{"scheduled": list[wireRun]{pageSize, &scheduled}, "running": list[wireRun]{pageSize, &running}}
	if err := c.repeat(ctx, maxAnswer, fmt.Sprintf(query, due, tenant, pageSize, page*pageSize, fields), nil, into); err != nil {
		return nil, fmt.Errorf("query overdue flow runs: %w", err)
	}
	return append(scheduled, running...), nil
}

// Takes reports whether an agent with these labels would be offered the run. Where
// the server does not say which labels a run has, any agent takes it.
func (r FlowRun) Takes(agent []string) bool { return r.labels.fit(agent) }

// labels are what a run's labels are read from.
type labels struct {
	own, environment json.RawMessage
	source           labelSource
}

// fit is the server's rule: an agent takes the runs whose labels it has all, and one
// with labels takes none without. Labels that are no list of texts suit nobody.
func (l labels) fit(agent []string) bool {
	var run texts
	var err error
	switch l.source {
	case labelsUnknown:
		return true
	case labelsOfRun:
		err = unmarshal(l.own, &run)
	case labelsOfEnvironment:
		var environment struct{ Labels texts }
		err = unmarshal(l.environment, &environment)
		run = environment.Labels
	}
	without := func(label string) bool { return !slices.Contains(agent, label) }
	return err == nil && !slices.ContainsFunc(run, without) && (len(run) > 0 || len(agent) == 0)
}

// maxLabels bounds the labels of one run, and of one agent.
const maxLabels = 1000

// texts are labels.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(data []byte) (err error) {
	*t, err = decodeList[string](data, maxLabels)
	return err
}

// unmarshal takes what is missing for null.
func unmarshal(data json.RawMessage, out any) error {
	if len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, out)
}
