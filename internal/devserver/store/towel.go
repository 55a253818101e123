package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Limits of the services that look for dead runs
// (prefect_server/services/towel/lazarus.py and zombie_killer.py).
const (
	staleAfter       = 10 * time.Minute
	maxResurrections = 3
	lazarusBatch     = 500
	zombieBatch      = 5000
)

// Lazarus schedules runs again that are Submitted or Running with a heartbeat
// older than ten minutes and have no task run that is scheduled or running.
// After three times it fails them. Flows whose group turns heartbeats or Lazarus
// off are left alone. It returns how many runs it changed.
func (s *Store) Lazarus(ctx context.Context) (int, error) {
	n := 0
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		type run struct {
			id    string
			times int
		}
		var runs []run
		err := t.each(ctx, `SELECT r.id, r.times_resurrected FROM flow_run r
			JOIN flow f ON f.id = r.flow_id JOIN flow_group g ON g.id = f.flow_group_id
			WHERE r.state IN ('Running', 'Submitted') AND r.heartbeat <= ?
			AND NOT EXISTS (SELECT 1 FROM task_run t WHERE t.flow_run_id = r.id
				AND t.state IN ('Running', 'Scheduled', 'Retrying', 'Paused', 'Resume', 'Queued', 'Submitted', 'Cancelling'))
			AND coalesce(json_extract(g.settings, '$.heartbeat_enabled'), 1) = 1
			AND coalesce(json_extract(g.settings, '$.lazarus_enabled'), 1) = 1
			ORDER BY r.updated LIMIT ?`,
			[]any{FormatTime(s.opts.Now().Add(-staleAfter)), lazarusBatch}, func(rows *sql.Rows) error {
				var r run
				err := rows.Scan(&r.id, &r.times)
				runs = append(runs, r)
				return err
			})
		if err != nil {
			return err
		}
		for _, r := range runs {
			if err := t.resurrect(ctx, r.id, r.times); err != nil {
				return err
			}
		}
		n = len(runs)
		return nil
	})
	return n, err
}

func (t *tx) resurrect(ctx context.Context, id string, times int) error {
	const name = "prefect-server.Lazarus.FlowRun"
	if times >= maxResurrections {
		message := fmt.Sprintf("A Lazarus process attempted to reschedule this run %d times without success. Marking as failed.", maxResurrections)
		if err := t.setOwnState(ctx, id, newState(Failed, message, t.s.clientVersion(), nil)); err != nil {
			return err
		}
		return t.serviceLog(ctx, LogInput{FlowRunID: id}, name, "ERROR", message)
	}
	state := newState(Scheduled, "Rescheduled by a Lazarus process.", t.s.clientVersion(), map[string]any{"start_time": t.now()})
	if err := t.setOwnState(ctx, id, state); err != nil {
		return err
	}
	if _, err := t.exec(ctx, "UPDATE flow_run SET times_resurrected = times_resurrected + 1 WHERE id = ?", id); err != nil {
		return err
	}
	message := fmt.Sprintf("Rescheduled by a Lazarus process. This is attempt %d.", times+1)
	return t.serviceLog(ctx, LogInput{FlowRunID: id}, name, "INFO", message)
}

func (t *tx) serviceLog(ctx context.Context, l LogInput, name, level, message string) error {
	l.Name, l.Level, l.Message = &name, &level, &message
	return t.writeLog(ctx, l)
}

// KillZombies retries or fails Running task runs whose flow run has a heartbeat
// older than ten minutes, and fails Cancelling flow runs with such a heartbeat.
// Flows whose group turns heartbeats off are left alone. It returns how many
// runs it changed.
func (s *Store) KillZombies(ctx context.Context) (int, error) {
	n := 0
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		cutoff := FormatTime(s.opts.Now().Add(-staleAfter))
		tasks, err := t.zombieTasks(ctx, cutoff)
		if err != nil {
			return err
		}
		for _, z := range tasks {
			if err := t.killTask(ctx, z); err != nil {
				return err
			}
		}
		flows, err := t.strings(ctx, `SELECT r.id FROM flow_run r JOIN flow f ON f.id = r.flow_id JOIN flow_group g ON g.id = f.flow_group_id
			WHERE r.state = 'Cancelling' AND r.heartbeat <= ? AND coalesce(json_extract(g.settings, '$.heartbeat_enabled'), 1) = 1
			ORDER BY r.updated DESC LIMIT ?`, cutoff, zombieBatch)
		if err != nil {
			return err
		}
		for _, id := range flows {
			const message = "No heartbeat detected from the flow run; marking the run as failed."
			if err := t.setOwnState(ctx, id, newState(Failed, message, t.s.clientVersion(), nil)); err != nil {
				return err
			}
			if err := t.serviceLog(ctx, LogInput{FlowRunID: id}, "prefect-server.ZombieKiller.FlowRun", "ERROR", message); err != nil {
				return err
			}
		}
		n = len(tasks) + len(flows)
		return nil
	})
	return n, err
}

type zombie struct {
	id, flowRunID, flowState, name string
	retries, maxRetries            int
	delay                          string
}

func (t *tx) zombieTasks(ctx context.Context, cutoff string) ([]zombie, error) {
	var out []zombie
	err := t.each(ctx, `SELECT t.id, r.id, r.state, coalesce(t.name, k.name, ''), k.max_retries, coalesce(k.retry_delay, ''),
		(SELECT count(*) FROM task_run_state s WHERE s.task_run_id = t.id AND s.state = 'Retrying')
		FROM task_run t JOIN flow_run r ON r.id = t.flow_run_id JOIN task k ON k.id = t.task_id
		JOIN flow f ON f.id = r.flow_id JOIN flow_group g ON g.id = f.flow_group_id
		WHERE t.state = 'Running' AND r.heartbeat <= ? AND coalesce(json_extract(g.settings, '$.heartbeat_enabled'), 1) = 1
		ORDER BY t.updated DESC LIMIT ?`, []any{cutoff, zombieBatch}, func(r *sql.Rows) error {
		var z zombie
		err := r.Scan(&z.id, &z.flowRunID, &z.flowState, &z.name, &z.maxRetries, &z.delay, &z.retries)
		out = append(out, z)
		return err
	})
	return out, err
}

func (t *tx) killTask(ctx context.Context, z zombie) error {
	message := fmt.Sprintf("No heartbeat detected from the remote task; marking the task run %s (%s) as failed.", z.id, z.name)
	state := newState(Failed, message, t.s.clientVersion(), nil)
	if z.flowState == string(Running) && z.retries < z.maxRetries {
		message = fmt.Sprintf("No heartbeat detected from the remote task; retrying the run. This will be retry %d of %d.", z.retries+1, z.maxRetries)
		state = newState(Retrying, message, t.s.clientVersion(), map[string]any{
			"run_count": z.retries + 1, "start_time": FormatTime(t.s.opts.Now().Add(intervalDuration(z.delay))),
		})
	}
	head, err := t.taskRunHead(ctx, z.id)
	if err != nil {
		return err
	}
	st, err := ParseState(state, len(state), t.s.opts.Generation, t.s.opts.Now())
	if err != nil {
		return err
	}
	if err := t.insertTaskRunState(ctx, head, st); err != nil {
		return err
	}
	return t.serviceLog(ctx, LogInput{FlowRunID: z.flowRunID, TaskRunID: z.id}, "prefect-server.ZombieKiller.TaskRun", "ERROR", message)
}

// intervalDuration reads what interval has written.
func intervalDuration(text string) time.Duration {
	var h, m int
	var s float64
	if _, err := fmt.Sscanf(text, "%d:%d:%g", &h, &m, &s); err != nil {
		return 0
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s*float64(time.Second))
}
