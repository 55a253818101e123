package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"
)

// LogInput is one log line of a run.
type LogInput struct {
	FlowRunID, TaskRunID string
	// Time is nil for now.
	Time                 *time.Time
	Name, Level, Message *string
	Info                 json.RawMessage
}

// WriteLogs adds log lines. A line of a run that does not exist is dropped, as
// the servers write logs after they have answered.
func (s *Store) WriteLogs(ctx context.Context, logs []LogInput) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		for _, l := range logs {
			if err := t.writeLog(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) writeLog(ctx context.Context, l LogInput) error {
	now := t.now()
	at := now
	if l.Time != nil {
		at = FormatTime(*l.Time)
	}
	level := "INFO"
	if l.Level != nil {
		level = *l.Level
	}
	_, err := t.exec(ctx, `INSERT INTO log (id, created, updated, tenant_id, flow_run_id, task_run_id, timestamp, name, level, message, info)
		SELECT ?1, ?2, ?2, tenant_id, id, ?3, ?4, ?5, ?6, ?7, ?8 FROM flow_run WHERE id = ?9`,
		newID(), now, emptyNull(l.TaskRunID), at, l.Name, level, l.Message, nullJSON(l.Info), l.FlowRunID)
	return err
}

// AgentInput is an agent that registers.
type AgentInput struct {
	TenantID, ConfigID, Name, Type, CoreVersion string
	Labels                                      []string
}

// RegisterAgent returns the id of the agent with the same tenant, name, type,
// core version and labels, or of a new one.
func (s *Store) RegisterAgent(ctx context.Context, in AgentInput) (string, error) {
	if in.TenantID == "" {
		return "", refuse("No tenant found.")
	}
	labels := slices.Sorted(slices.Values(in.Labels))
	if labels == nil {
		labels = []string{}
	}
	text := string(mustJSON(labels))
	var id string
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		found, err := t.one(ctx, `SELECT id FROM agent WHERE tenant_id = ? AND coalesce(name, '') = ? AND type = ? AND coalesce(core_version, '') = ?
			AND labels = ? ORDER BY rowid LIMIT 1`, []any{in.TenantID, in.Name, in.Type, in.CoreVersion, text}, &id)
		if err != nil || found {
			return err
		}
		id = newID()
		return t.insert(ctx, "agent", row{
			"id": id, "tenant_id": in.TenantID, "agent_config_id": emptyNull(in.ConfigID), "name": emptyNull(in.Name),
			"type": in.Type, "core_version": emptyNull(in.CoreVersion), "labels": text,
		})
	})
	return id, err
}

// DeleteAgent deletes an agent and reports whether it existed.
func (s *Store) DeleteAgent(ctx context.Context, id string) (bool, error) {
	return s.touch(ctx, "DELETE FROM agent WHERE id = ?", id)
}

// CreateProject adds a project; an existing name is refused with the exact text
// that the 1.4.1 client looks for.
func (s *Store) CreateProject(ctx context.Context, tenantID, name string, description *string) (string, error) {
	if tenantID == "" {
		tenantID = s.tenantID
	}
	return s.createUnique(ctx, "project", "SELECT id FROM project WHERE tenant_id = ? AND name = ?", []any{tenantID, name},
		row{"tenant_id": tenantID, "name": name, "description": description})
}

// CreateTenant adds a tenant with a new slug.
func (s *Store) CreateTenant(ctx context.Context, name, slug string) (string, error) {
	return s.createUnique(ctx, "tenant", "SELECT id FROM tenant WHERE slug = ?", []any{slug}, row{"name": name, "slug": slug})
}

func (s *Store) createUnique(ctx context.Context, table, same string, args []any, r row) (string, error) {
	id := newID()
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		var other string
		found, err := t.one(ctx, same, args, &other)
		if err != nil {
			return err
		}
		if found {
			return refuse("Uniqueness violation.")
		}
		if tenant, ok := r["tenant_id"].(string); ok {
			found, err := t.one(ctx, "SELECT id FROM tenant WHERE id = ?", []any{tenant}, &other)
			if err != nil {
				return err
			}
			if !found {
				return refuse("Invalid tenant ID.")
			}
		}
		r["id"] = id
		return t.insert(ctx, table, r)
	})
	return id, err
}

// DeleteProject deletes a project with its flows and reports whether it existed.
func (s *Store) DeleteProject(ctx context.Context, id string) (bool, error) {
	return s.touch(ctx, "DELETE FROM project WHERE id = ?", id)
}

// DeleteFlow deletes a flow with its runs and reports whether it existed.
func (s *Store) DeleteFlow(ctx context.Context, id string) (bool, error) {
	return s.touch(ctx, "DELETE FROM flow WHERE id = ?", id)
}

// DeleteFlowGroup deletes a flow group with its flows and reports whether it existed.
func (s *Store) DeleteFlowGroup(ctx context.Context, id string) (bool, error) {
	return s.touch(ctx, "DELETE FROM flow_group WHERE id = ?", id)
}

// SetFlowGroup changes one JSON column of a flow group (labels, run_config,
// default_parameters, schedule); null clears it. It reports whether the group
// exists.
func (s *Store) SetFlowGroup(ctx context.Context, id, column string, value json.RawMessage) (bool, error) {
	stored := nullJSON(value)
	switch column {
	case "default_parameters":
		if stored == nil {
			stored = "{}"
		}
	case "labels", "run_config", "schedule":
	default:
		return false, refuse("unknown column %q", column)
	}
	return s.touch(ctx, "UPDATE flow_group SET "+column+" = ?, updated = ? WHERE id = ?", stored, s.stamp(), id)
}

// CreateArtifact adds an artifact to a task run.
func (s *Store) CreateArtifact(ctx context.Context, taskRunID, kind string, data json.RawMessage) (string, error) {
	id := newID()
	err := s.mustTouch(ctx, "Task run not found.", `INSERT INTO task_run_artifact (id, created, updated, tenant_id, task_run_id, kind, data)
		SELECT ?1, ?2, ?2, tenant_id, id, ?3, ?4 FROM task_run WHERE id = ?5`, id, s.stamp(), kind, string(data), taskRunID)
	return id, err
}

// UpdateArtifact replaces the data of an artifact.
func (s *Store) UpdateArtifact(ctx context.Context, id string, data json.RawMessage) error {
	return s.mustTouch(ctx, "Task run artifact not found.", "UPDATE task_run_artifact SET data = ?, updated = ? WHERE id = ?", string(data), s.stamp(), id)
}

// DeleteArtifact deletes an artifact and reports whether it existed.
func (s *Store) DeleteArtifact(ctx context.Context, id string) (bool, error) {
	return s.touch(ctx, "DELETE FROM task_run_artifact WHERE id = ?", id)
}

// Secrets returns the stored secrets, name to JSON value.
func (s *Store) Secrets(ctx context.Context) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	err := s.view(ctx, func(ctx context.Context, t *tx) error {
		return t.each(ctx, "SELECT name, value FROM secret", nil, func(r *sql.Rows) error {
			var name, value string
			err := r.Scan(&name, &value)
			out[name] = json.RawMessage(value)
			return err
		})
	})
	return out, err
}

// SetSecret stores a secret. It is kept in the clear: this is a backend for
// development.
func (s *Store) SetSecret(ctx context.Context, name string, value json.RawMessage) error {
	_, err := s.touch(ctx, "INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, string(value))
	return err
}

// DeleteSecret deletes a secret and reports whether it existed.
func (s *Store) DeleteSecret(ctx context.Context, name string) (bool, error) {
	return s.touch(ctx, "DELETE FROM secret WHERE name = ?", name)
}

// SetKeyValue stores a value under a key and returns the id of the pair.
func (s *Store) SetKeyValue(ctx context.Context, key string, value json.RawMessage) (string, error) {
	return s.upsert(ctx, "key_value", "key", key, "value", string(value))
}

// SetTaskTagLimit stores a limit for a task tag and returns its id.
func (s *Store) SetTaskTagLimit(ctx context.Context, tag string, limit int64) (string, error) {
	return s.upsert(ctx, "task_tag_limit", "tag", tag, `"limit"`, limit)
}

func (s *Store) upsert(ctx context.Context, table, keyColumn, key, column string, value any) (string, error) {
	var id string
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.one(ctx, "INSERT INTO "+table+" (id, created, updated, "+keyColumn+", "+column+") VALUES (?1, ?2, ?2, ?3, ?4)"+
			" ON CONFLICT ("+keyColumn+") DO UPDATE SET "+column+" = ?4, updated = ?2 RETURNING id",
			[]any{newID(), t.now(), key, value}, &id)
		return err
	})
	return id, err
}

// DeleteKeyValue deletes a pair by its id and reports whether it existed.
func (s *Store) DeleteKeyValue(ctx context.Context, id string) (bool, error) {
	return s.touch(ctx, "DELETE FROM key_value WHERE id = ?", id)
}

// DeleteTaskTagLimit deletes a limit by its id and reports whether it existed.
func (s *Store) DeleteTaskTagLimit(ctx context.Context, id string) (bool, error) {
	return s.touch(ctx, "DELETE FROM task_tag_limit WHERE id = ?", id)
}

// CreateAgentConfig stores settings that agents may ask for and returns their id.
func (s *Store) CreateAgentConfig(ctx context.Context, tenantID string, name *string, settings json.RawMessage) (string, error) {
	if nullJSON(settings) == nil {
		settings = json.RawMessage("{}")
	}
	id := newID()
	return id, s.update(ctx, func(ctx context.Context, t *tx) error {
		return t.insert(ctx, "agent_config", row{"id": id, "tenant_id": tenantID, "name": name, "settings": string(settings)})
	})
}
