package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"
)

// The queue looks at three times as many runs as it returns, because labels are
// compared afterwards (queued_runs_returned_limit of both servers).
const (
	queueReturns    = 25
	queueCandidates = 3 * queueReturns
)

// QueueInput asks for due runs.
type QueueInput struct {
	// TenantID is required in Server1 and unknown in Server0.
	TenantID string
	// Before is the latest start time; nil means now.
	Before *time.Time
	Labels []string
	// AgentID is the asking agent, empty if it did not say.
	AgentID string
}

// RunsInQueue returns the ids of at most 25 due runs whose labels the agent
// has, earliest first. Nothing is locked or marked.
func (s *Store) RunsInQueue(ctx context.Context, in QueueInput) ([]string, error) {
	before := s.opts.Now()
	if in.Before != nil {
		before = *in.Before
	}
	if in.AgentID != "" {
		if _, err := s.touch(ctx, "UPDATE agent SET last_queried = ? WHERE id = ?", s.stamp(), in.AgentID); err != nil {
			return nil, err
		}
	}
	if in.TenantID == "" {
		in.TenantID = s.tenantID
	}
	ids := []string{}
	err := s.view(ctx, func(ctx context.Context, t *tx) error {
		return t.each(ctx, queueQuery, []any{in.TenantID, FormatTime(before), queueCandidates}, func(r *sql.Rows) error {
			var id, labels string
			if err := r.Scan(&id, &labels); err != nil {
				return err
			}
			if len(ids) < queueReturns && labelsMatch(labels, in.Labels) {
				ids = append(ids, id)
			}
			return nil
		})
	})
	return ids, err
}

const scheduledStates = `('Scheduled', 'Paused', 'Resume', 'Retrying', 'Queued')`

// queueQuery puts Running runs with due task runs last: they have no start
// time, and Postgres sorts nulls last.
const queueQuery = `SELECT id, labels FROM (
	SELECT id, labels, state_start_time, rowid AS n FROM flow_run
		WHERE tenant_id = ?1 AND state IN ` + scheduledStates + ` AND state_start_time <= ?2
	UNION ALL
	SELECT id, labels, state_start_time, rowid AS n FROM flow_run WHERE tenant_id = ?1 AND state = 'Running' AND id IN
		(SELECT flow_run_id FROM task_run WHERE state IN ` + scheduledStates + ` AND state_start_time <= ?2)
) ORDER BY state_start_time IS NULL, state_start_time, n LIMIT ?3`

// labelsMatch is the label rule of both servers: the run's labels are a subset
// of the agent's, and an agent with labels gets no run without.
func labelsMatch(run string, agent []string) bool {
	var labels []string
	if json.Unmarshal([]byte(run), &labels) != nil {
		return false
	}
	for _, l := range labels {
		if !slices.Contains(agent, l) {
			return false
		}
	}
	return len(labels) > 0 || len(agent) == 0
}
