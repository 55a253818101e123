package graphql

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// mutation is one named operation that changes something.
type mutation func(ctx context.Context, r *run, in fields) (any, error)

func (r *run) mutate(ctx context.Context, k *selected, args fields) (any, error) {
	m, ok := r.mutations[k.field.Name]
	if !ok {
		return nil, input("mutation %s is not supported here", k.field.Name)
	}
	in, _ := args.get("input").(fields)
	value, err := m(ctx, r, in)
	if err != nil {
		return nil, err
	}
	return r.complete(ctx, k, k.field.Definition.Type, value, []any{k.key}), nil
}

func mutations() map[string]mutation {
	all := map[string]mutation{}
	for _, group := range []map[string]mutation{flowMutations(), groupMutations(), runMutations(), recordMutations(), cloudMutations()} {
		maps.Copy(all, group)
	}
	return all
}

// succeeds wraps an operation that reports whether it found its object.
func succeeds(do func(ctx context.Context, s *store.Store, in fields) (bool, error)) mutation {
	return func(ctx context.Context, r *run, in fields) (any, error) {
		ok, err := do(ctx, r.store, in)
		return payload{"success": ok}, err
	}
}

// does wraps an operation that succeeds or fails.
func does(do func(ctx context.Context, s *store.Store, in fields) error) mutation {
	return func(ctx context.Context, r *run, in fields) (any, error) {
		return payload{"success": true}, do(ctx, r.store, in)
	}
}

// makes wraps an operation that returns an id.
func makes(do func(ctx context.Context, s *store.Store, in fields) (string, error)) mutation {
	return func(ctx context.Context, r *run, in fields) (any, error) {
		id, err := do(ctx, r.store, in)
		return payload{"id": id}, err
	}
}

func flowMutations() map[string]mutation {
	setting := func(key string, on bool) mutation {
		return succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.SetFlowSetting(ctx, text(in, "flow_id"), key, on)
		})
	}
	return map[string]mutation{
		"create_flow": makes(func(ctx context.Context, s *store.Store, in fields) (string, error) {
			return s.CreateFlow(ctx, flowInput(in, raw(in, "serialized_flow")))
		}),
		"create_flow_from_compressed_string": makes(func(ctx context.Context, s *store.Store, in fields) (string, error) {
			flow, err := s.Decompress(text(in, "serialized_flow"))
			if err != nil {
				return "", err
			}
			return s.CreateFlow(ctx, flowInput(in, flow))
		}),
		"register_tasks": does(func(ctx context.Context, s *store.Store, in fields) error {
			return s.RegisterTasks(ctx, text(in, "flow_id"), raw(in, "serialized_tasks"))
		}),
		"register_edges": does(func(ctx context.Context, s *store.Store, in fields) error {
			return s.RegisterEdges(ctx, text(in, "flow_id"), raw(in, "serialized_edges"))
		}),
		"delete_flow": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteFlow(ctx, text(in, "flow_id"))
		}),
		"archive_flow": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.ArchiveFlow(ctx, text(in, "flow_id"))
		}),
		"set_schedule_active": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.SetScheduleActive(ctx, scheduleFlow(in))
		}),
		"set_schedule_inactive": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.SetScheduleInactive(ctx, scheduleFlow(in))
		}),
		"enable_flow_heartbeat":        setting("heartbeat_enabled", true),
		"disable_flow_heartbeat":       setting("heartbeat_enabled", false),
		"enable_flow_lazarus_process":  setting("lazarus_enabled", true),
		"disable_flow_lazarus_process": setting("lazarus_enabled", false),
	}
}

func flowInput(in fields, serialized json.RawMessage) store.FlowInput {
	active, given := in.get("set_schedule_active").(bool)
	return store.FlowInput{
		ProjectID: text(in, "project_id"), Serialized: serialized, VersionGroupID: text(in, "version_group_id"),
		Description: optionalText(in, "description"), Active: active || !given, IdempotencyKey: text(in, "idempotency_key"),
	}
}

// scheduleFlow is the flow of a schedule: Server0 names the schedule, which has
// the id of its flow here.
func scheduleFlow(in fields) string {
	if id := text(in, "schedule_id"); id != "" {
		return id
	}
	return text(in, "flow_id")
}

func groupMutations() map[string]mutation {
	column := func(column, field string) mutation {
		return succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			value := raw(in, field)
			if labels, ok := in.get(field).([]any); ok {
				value = marshal(labels)
			}
			return s.SetFlowGroup(ctx, text(in, "flow_group_id"), column, value)
		})
	}
	return map[string]mutation{
		"delete_flow_group": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteFlowGroup(ctx, text(in, "flow_group_id"))
		}),
		"set_flow_group_labels":             column("labels", "labels"),
		"set_flow_group_run_config":         column("run_config", "run_config"),
		"set_flow_group_default_parameters": column("default_parameters", "parameters"),
		"delete_flow_group_schedule":        column("schedule", "schedule"),
		"set_flow_group_schedule": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			schedule, err := groupSchedule(in)
			if err != nil {
				return false, err
			}
			return s.SetFlowGroup(ctx, text(in, "flow_group_id"), "schedule", schedule)
		}),
	}
}

// groupSchedule builds the schedule of a flow group out of its clocks, in the
// form the Python client serializes.
func groupSchedule(in fields) (json.RawMessage, error) {
	zone := text(in, "timezone")
	if zone == "" {
		zone = "UTC"
	}
	clocks := []map[string]any{}
	start := map[string]any{"dt": "2020-01-01T00:00:00", "tz": zone}
	for _, c := range inputs(in, "cron_clocks") {
		clocks = append(clocks, map[string]any{
			"type": "CronClock", "cron": text(c, "cron"), "start_date": start, "parameter_defaults": raw(c, "parameter_defaults"),
		})
	}
	for _, c := range inputs(in, "interval_clocks") {
		seconds, _ := c.get("interval").(int64)
		clocks = append(clocks, map[string]any{
			"type": "IntervalClock", "interval": seconds * 1_000_000, "start_date": start, "parameter_defaults": raw(c, "parameter_defaults"),
		})
	}
	text, err := json.Marshal(map[string]any{"type": "Schedule", "clocks": clocks})
	if err != nil {
		return nil, input("invalid schedule: %v", err)
	}
	_, err = store.ParseSchedule(text)
	return text, err
}

func cloudMutations() map[string]mutation {
	return map[string]mutation{
		"set_secret": does(func(ctx context.Context, s *store.Store, in fields) error {
			return s.SetSecret(ctx, text(in, "name"), orNull(raw(in, "value")))
		}),
		"delete_secret": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteSecret(ctx, text(in, "name"))
		}),
		"update_task_tag_limit": makes(func(ctx context.Context, s *store.Store, in fields) (string, error) {
			limit, _ := in.get("limit").(int64)
			return s.SetTaskTagLimit(ctx, text(in, "tag"), limit)
		}),
		"delete_task_tag_limit": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteTaskTagLimit(ctx, text(in, "limit_id"))
		}),
		"set_key_value": makes(func(ctx context.Context, s *store.Store, in fields) (string, error) {
			return s.SetKeyValue(ctx, text(in, "key"), orNull(raw(in, "value")))
		}),
		"delete_key_value": succeeds(func(ctx context.Context, s *store.Store, in fields) (bool, error) {
			return s.DeleteKeyValue(ctx, text(in, "key_value_id"))
		}),
		"switch_tenant": token,
		"refresh_token": token,
	}
}

func orNull(v json.RawMessage) json.RawMessage {
	if v == nil {
		return json.RawMessage("null")
	}
	return v
}

// token answers the clients that exchange a token; no token is ever checked.
func token(_ context.Context, r *run, _ fields) (any, error) {
	return payload{
		"access_token": "development", "refresh_token": "development",
		"expires_at": store.FormatTime(r.store.Now().AddDate(1, 0, 0)),
	}, nil
}
