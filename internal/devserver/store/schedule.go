package store

import (
	"context"
	"encoding/json"
)

const scheduledAhead = 10

// SetScheduleActive turns the schedule of a flow on and creates its next runs.
// It reports whether the flow exists; a flow without a schedule stays inactive.
func (s *Store) SetScheduleActive(ctx context.Context, flowID string) (bool, error) {
	var found bool
	err := s.update(ctx, func(ctx context.Context, t *tx) (err error) {
		found, err = t.setScheduleActive(ctx, flowID)
		return err
	})
	if err != nil || !found {
		return found, err
	}
	_, err = s.scheduleFlowRuns(ctx, flowID)
	return true, err
}

// SetScheduleInactive turns the schedule of a flow off and deletes the runs it
// has made that have not begun. It reports whether the flow exists.
func (s *Store) SetScheduleInactive(ctx context.Context, flowID string) (bool, error) {
	var n int64
	err := s.update(ctx, func(ctx context.Context, t *tx) (err error) {
		if n, err = t.exec(ctx, "UPDATE flow SET is_schedule_active = 0, updated = ? WHERE id = ?", t.now(), flowID); err != nil {
			return err
		}
		_, err = t.exec(ctx, "DELETE FROM flow_run WHERE flow_id = ? AND state = 'Scheduled' AND auto_scheduled = 1", flowID)
		return err
	})
	return n > 0, err
}

// setScheduleActive only turns the schedule on; its runs are made afterwards.
func (t *tx) setScheduleActive(ctx context.Context, flowID string) (bool, error) {
	text, parameters, found, err := t.schedule(ctx, flowID)
	if err != nil || !found || text == "" {
		return found, err
	}
	if err := schedulable(text, parameters); err != nil {
		return false, err
	}
	_, err = t.exec(ctx, "UPDATE flow SET is_schedule_active = 1, updated = ? WHERE id = ?", t.now(), flowID)
	return true, err
}

// schedule reads the schedule of a flow; that of its flow group wins.
func (t *tx) schedule(ctx context.Context, flowID string) (text, parameters string, found bool, err error) {
	found, err = t.one(ctx, `SELECT coalesce(g.schedule, f.schedule, ''), f.parameters FROM flow f
		JOIN flow_group g ON g.id = f.flow_group_id WHERE f.id = ?`, []any{flowID}, &text, &parameters)
	return text, parameters, found, err
}

// schedulable refuses a schedule whose clocks do not give every required
// parameter.
func schedulable(schedule, parameters string) error {
	var known []parameter
	if err := json.Unmarshal([]byte(parameters), &known); err != nil {
		return refuse("Invalid parameters: %v", err)
	}
	sched, err := ParseSchedule(json.RawMessage(schedule))
	if err != nil {
		return err
	}
	for _, p := range known {
		if !p.Required {
			continue
		}
		for _, c := range sched.Clocks {
			if _, ok := c.Parameters[p.Name]; !ok {
				return refuse("Can not schedule a flow that has required parameters.")
			}
		}
	}
	return nil
}

// ScheduleFlowRuns creates the next runs of every flow with an active schedule
// and returns how many it made. A schedule it cannot read is passed over.
func (s *Store) ScheduleFlowRuns(ctx context.Context) (int, error) {
	var flows []string
	err := s.view(ctx, func(ctx context.Context, t *tx) (err error) {
		flows, err = t.strings(ctx, `SELECT f.id FROM flow f JOIN flow_group g ON g.id = f.flow_group_id
			WHERE f.is_schedule_active = 1 AND f.archived = 0 AND coalesce(g.schedule, f.schedule) IS NOT NULL`)
		return err
	})
	if err != nil {
		return 0, err
	}
	made := 0
	for _, id := range flows {
		n, err := s.scheduleFlowRuns(ctx, id)
		made += n
		if err != nil && !isAnswer(err) {
			return made, err
		}
	}
	return made, nil
}

// scheduleFlowRuns creates runs for the next events. The idempotency key names
// the event, so that doing it again makes nothing twice. The search for events
// holds no connection, and each run is made in a transaction of its own, so that
// others are answered meanwhile.
func (s *Store) scheduleFlowRuns(ctx context.Context, flowID string) (int, error) {
	var text string
	err := s.view(ctx, func(ctx context.Context, t *tx) (err error) {
		text, _, _, err = t.schedule(ctx, flowID)
		return err
	})
	if err != nil || text == "" {
		return 0, err
	}
	sched, err := ParseSchedule(json.RawMessage(text))
	if err != nil {
		return 0, err
	}
	events, err := sched.Next(ctx, s.opts.Now(), scheduledAhead)
	if err != nil {
		return 0, err
	}
	made := 0
	for _, e := range events {
		created, err := s.startAt(ctx, flowID, text, e)
		if err != nil {
			return made, err
		}
		if created {
			made++
		}
	}
	return made, nil
}

// startAt makes the run of an event, unless the schedule was turned off or
// changed since the event was computed.
func (s *Store) startAt(ctx context.Context, flowID, schedule string, e Event) (created bool, err error) {
	err = s.update(ctx, func(ctx context.Context, t *tx) error {
		current, err := t.one(ctx, `SELECT 1 FROM flow f JOIN flow_group g ON g.id = f.flow_group_id
			WHERE f.id = ? AND f.is_schedule_active = 1 AND coalesce(g.schedule, f.schedule) = ?`, []any{flowID, schedule}, new(int))
		if err != nil || !current {
			return err
		}
		_, created, err = t.createFlowRun(ctx, FlowRunInput{
			FlowID: flowID, Start: &e.Start, Parameters: e.Parameters, Labels: e.Labels,
			IdempotencyKey: "auto-scheduled:" + e.key(), autoScheduled: true,
		})
		return err
	})
	return created, err
}
