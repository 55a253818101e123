package prefect1

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
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
	var out struct {
		Claims []Claim `json:"flow_run"`
	}
	if err := c.repeat(ctx, query, nil, &out); err != nil {
		return nil, fmt.Errorf("query submitted flow runs: %w", err)
	}
	claims := out.Claims[:min(len(out.Claims), pageSize)]
	for i, claim := range claims {
		if claim.ID <= after || !plain(claim.ID) { // else one page would follow the other for ever
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
	runs, err := divide(ctx, &c.hostileRuns, ids, func(ctx context.Context, ids []flowrun.ID) ([]FlowRun, error) {
		return c.readRuns(ctx, fmt.Sprintf(`{ id: { _in: [%s] } }`, quoteIDs(ids)), c.session.Load().dialect.runFields(), historyRows)
	})
	if err != nil {
		return nil, fmt.Errorf("query flow runs: %w", c.learn(ctx, err))
	}
	return runs, c.deepen(ctx, runs)
}

// maxPages bounds how far Overdue looks past the runs of other agents.
const maxPages = 10

// Overdue reads which flow runs with these labels the queue should have returned
// for some time. It returns at most 25 of the 75 whose start is longest ago, and
// counts those whose states can never be started, and those with labels of others,
// among them (prefect_server/api/runs.py, D-21). The rule for labels is the
// server's. Cloud's queue is not known to be so: nothing is asked there.
func (c *Client) Overdue(ctx context.Context, before time.Time, labels []string) ([]flowrun.ID, error) {
	source := c.session.Load().dialect.labels
	if c.o.Cloud || source == labelsUnknown {
		return nil, nil
	}
	found := make([]flowrun.ID, 0, pageSize)
	for page := range maxPages {
		runs, err := c.overdue(ctx, before, source, page)
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			if plain(run.ID) && run.fits(labels) {
				found = append(found, run.ID)
			}
		}
		if len(runs) == 0 || len(found) >= pageSize {
			break
		}
	}
	return distinct(found[:min(len(found), pageSize)]), nil
}

type labelled struct {
	ID     flowrun.ID      `json:"id"`
	Labels json.RawMessage `json:"labels"`
	Flow   struct {
		Environment json.RawMessage `json:"environment"`
	} `json:"flow"`
}

func (c *Client) overdue(ctx context.Context, before time.Time, source labelSource, page int) ([]labelled, error) {
	time := quote(before.UTC().Format(layout))
	fields := map[labelSource]string{labelsOfRun: "id labels", labelsOfEnvironment: "id flow { environment }"}[source]
	const query = `query {
  scheduled: flow_run(where: { state: { _eq: "Scheduled" }, state_start_time: { _lte: %[1]s } }, order_by: { state_start_time: asc }, %[2]s) { %[3]s }
  running: flow_run(where: { state: { _eq: "Running" }, task_runs: { state_start_time: { _lte: %[1]s } } }, order_by: { id: asc }, %[2]s) { %[3]s }
}`
	part := "limit: " + strconv.Itoa(pageSize) + ", offset: " + strconv.Itoa(page*pageSize)
	var out struct{ Scheduled, Running []labelled }
	if err := c.repeat(ctx, fmt.Sprintf(query, time, part, fields), nil, &out); err != nil {
		return nil, fmt.Errorf("query overdue flow runs: %w", err)
	}
	return append(out.Scheduled, out.Running...), nil
}

// fits is the server's rule: an agent takes the runs whose labels it has all, and
// one with labels takes none without. Labels of another form are somebody else's.
func (l labelled) fits(agent []string) bool {
	own := l.Labels
	if len(own) == 0 {
		var environment struct{ Labels json.RawMessage }
		if json.Unmarshal(l.Flow.Environment, &environment) != nil {
			return false
		}
		own = environment.Labels
	}
	var labels []string
	if len(own) > 0 && json.Unmarshal(own, &labels) != nil {
		return false
	}
	if len(labels) == 0 {
		return len(agent) == 0
	}
	has := map[string]bool{}
	for _, label := range agent {
		has[label] = true
	}
	for _, label := range labels {
		if !has[label] {
			return false
		}
	}
	return true
}
