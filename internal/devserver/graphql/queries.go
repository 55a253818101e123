package graphql

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// queryField answers the query fields that are no tables.
func (r *run) queryField(ctx context.Context, name string, args fields) (any, error) {
	switch name {
	case "hello":
		return "👋", nil
	case "api":
		return payload{"backend": "SERVER", "mode": "normal", "version": "2022.09.23", "core_version": "1.4.1", "release_timestamp": "2022-09-23T00:00:00"}, nil
	case "auth_info":
		return payload{"api_token_scope": "RUNNER", "tenant_id": r.store.TenantID(), "user_id": r.store.TenantID()}, nil
	case "user":
		tenant := payload{"id": r.store.TenantID(), "slug": "default", "name": "default"}
		return []payload{{"id": r.store.TenantID(), "default_membership": payload{"tenant_id": r.store.TenantID(), "tenant": tenant}}}, nil
	case "secret_value":
		return r.secretValue(ctx, text(args, "name"))
	case "secret_names":
		secrets, err := r.store.Secrets(ctx)
		return slices.Sorted(maps.Keys(secrets)), err
	case "get_task_run_info":
		run, found, err := r.store.TaskRun(ctx, text(args, "task_run_id"))
		if err != nil || found {
			return taskRunPayload(run), err
		}
		return nil, &store.Error{Message: "Task run not found."}
	case "mapped_children":
		c, err := r.store.MappedChildren(ctx, text(args, "task_run_id"))
		counts, _ := json.Marshal(c.Counts)
		return payload{"min_start_time": optional(c.MinStart), "max_end_time": optional(c.MaxEnd), "state_counts": json.RawMessage(counts)}, err
	}
	return nil, input("query field %s is not supported here", name)
}

func (r *run) secretValue(ctx context.Context, name string) (any, error) {
	secrets, err := r.store.Secrets(ctx)
	if err != nil {
		return nil, err
	}
	value, ok := secrets[name]
	if !ok {
		return nil, &store.Error{Message: "Secret not found."}
	}
	return value, nil
}

func taskRunPayload(run store.TaskRun) payload {
	return payload{"id": run.ID, "version": run.Version, "state": run.State, "serialized_state": run.Serialized}
}

func optional(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

// text reads a string argument, empty if it is absent or null.
func text(f fields, name string) string {
	s, _ := f.get(name).(string)
	return s
}

// optionalText reads a string argument, nil if it is absent or null.
func optionalText(f fields, name string) *string {
	if s, ok := f.get(name).(string); ok {
		return &s
	}
	return nil
}

// raw reads a JSON argument, nil if it is absent or null.
func raw(f fields, name string) json.RawMessage {
	v, _ := f.get(name).(json.RawMessage)
	return v
}

// labelsOf reads the list of labels, nil if it is absent or null.
func labelsOf(f fields) []string {
	items, ok := f.get("labels").([]any)
	if !ok {
		return nil
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// inputs reads a list of input objects.
func inputs(f fields, name string) []fields {
	items, _ := f.get(name).([]any)
	out := make([]fields, 0, len(items))
	for _, item := range items {
		if one, ok := item.(fields); ok {
			out = append(out, one)
		}
	}
	return out
}
