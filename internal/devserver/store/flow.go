package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
)

// FlowInput is a flow to be registered.
type FlowInput struct {
	// ProjectID may be empty in Server0, which has no projects of its own.
	ProjectID      string
	Serialized     json.RawMessage
	VersionGroupID string
	Description    *string
	// Active starts the schedule, if the flow has one.
	Active         bool
	IdempotencyKey string
}

// serializedFlow is what the server reads of flow.serialize().
type serializedFlow struct {
	Name        *string          `json:"name"`
	Tasks       []serializedTask `json:"tasks"`
	Edges       []serializedEdge `json:"edges"`
	Parameters  json.RawMessage  `json:"parameters"`
	Environment json.RawMessage  `json:"environment"`
	RunConfig   json.RawMessage  `json:"run_config"`
	Storage     json.RawMessage  `json:"storage"`
	Schedule    json.RawMessage  `json:"schedule"`
	Version     *string          `json:"__version__"`
	Reference   []slugRef        `json:"reference_tasks"`
}

// parameter is one entry of the parameters of a flow.
type parameter struct {
	Name     string          `json:"name"`
	Required bool            `json:"required"`
	Default  json.RawMessage `json:"default"`
}

// Decompress reads the text that 0.11.0 to 1.4.1 send as a compressed flow:
// base64 of gzip of JSON. It stops at 64 MiB of JSON.
func (s *Store) Decompress(text string) (json.RawMessage, error) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, refuse("Unable to decompress serialized flow: %v", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, refuse("Unable to decompress serialized flow: %v", err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, int64(s.sizes.flow)+1))
	if err != nil {
		return nil, refuse("Unable to decompress serialized flow: %v", err)
	}
	if len(raw) > s.sizes.flow {
		return nil, refuse("Serialized flow is larger than %d bytes.", s.sizes.flow)
	}
	return raw, nil
}

// CreateFlow registers a flow and returns its id. A flow of the same name (in
// the same project) is a new version and archives the older ones; an idempotency
// key equal to the last one of the flow group returns the existing flow.
func (s *Store) CreateFlow(ctx context.Context, in FlowInput) (string, error) {
	if err := CheckDepth(in.Serialized, 200); err != nil {
		return "", refuse("Invalid flow: %v", err)
	}
	var doc serializedFlow
	if err := json.Unmarshal(in.Serialized, &doc); err != nil {
		return "", refuse("Invalid flow: %v", err)
	}
	if doc.Name == nil || *doc.Name == "" {
		return "", refuse("Invalid flow: name: missing data for required field")
	}
	var id string
	var active bool
	err := s.update(ctx, func(ctx context.Context, t *tx) (err error) {
		id, active, err = t.createFlow(ctx, in, doc)
		return err
	})
	if err != nil || !active {
		return id, err
	}
	if _, err := s.scheduleFlowRuns(ctx, id); err != nil && !isAnswer(err) {
		return "", err
	}
	return id, nil
}

// createFlow also reports whether the schedule of the flow was turned on.
func (t *tx) createFlow(ctx context.Context, in FlowInput, doc serializedFlow) (id string, active bool, err error) {
	tenantID, err := t.tenantOfProject(ctx, in.ProjectID)
	if err != nil {
		return "", false, err
	}
	versionGroup, err := t.versionGroup(ctx, in, *doc.Name)
	if err != nil {
		return "", false, err
	}
	groupID, same, err := t.flowGroup(ctx, tenantID, versionGroup, in.IdempotencyKey)
	if err != nil || same != "" {
		return same, false, err
	}
	if id, err = t.insertFlow(ctx, in, doc, flowKeys{tenantID, versionGroup, groupID}); err != nil {
		return "", false, err
	}
	if err := t.registerTasks(ctx, id, tenantID, doc.Tasks); err != nil {
		return "", false, err
	}
	if err := t.registerEdges(ctx, id, tenantID, doc.Edges, doc.Reference); err != nil {
		return "", false, err
	}
	if err := t.archiveOlder(ctx, versionGroup, id); err != nil || !in.Active {
		return id, false, err
	}
	// A schedule that cannot start does not undo a registration.
	active, err = t.setScheduleActive(ctx, id)
	if isAnswer(err) {
		return id, false, nil
	}
	return id, active, err
}

func (t *tx) tenantOfProject(ctx context.Context, projectID string) (string, error) {
	if projectID == "" && t.s.opts.Generation == Server0 {
		return t.s.tenantID, nil
	}
	var tenantID string
	found, err := t.one(ctx, "SELECT tenant_id FROM project WHERE id = ?", []any{projectID}, &tenantID)
	if err == nil && !found {
		err = refuse("Invalid project.")
	}
	return tenantID, err
}

// versionGroup is the given one, else that of the newest flow with the same name
// in the project, else a new one.
func (t *tx) versionGroup(ctx context.Context, in FlowInput, name string) (string, error) {
	if in.VersionGroupID != "" {
		return in.VersionGroupID, nil
	}
	var group string
	found, err := t.one(ctx, `SELECT version_group_id FROM flow WHERE name = ? AND coalesce(project_id, '') = ?
		ORDER BY created DESC LIMIT 1`, []any{name, in.ProjectID}, &group)
	if err != nil || found {
		return group, err
	}
	return newID(), nil
}

// flowGroup finds or creates the group of a version group. The second value is
// the flow to return instead of a new one when the idempotency key matches.
func (t *tx) flowGroup(ctx context.Context, tenantID, name, key string) (id, same string, err error) {
	var last string
	found, err := t.one(ctx, `SELECT id, coalesce(json_extract(settings, '$.idempotency_key'), '') FROM flow_group
		WHERE tenant_id = ? AND name = ?`, []any{tenantID, name}, &id, &last)
	if err != nil {
		return "", "", err
	}
	if !found {
		id = newID()
		settings := map[string]any{"heartbeat_enabled": true, "lazarus_enabled": true, "version_locking_enabled": false, "idempotency_key": key}
		if key == "" {
			settings["idempotency_key"] = nil
		}
		return id, "", t.insert(ctx, "flow_group", row{"id": id, "tenant_id": tenantID, "name": name, "settings": string(mustJSON(settings))})
	}
	if key != "" && key == last {
		found, err := t.one(ctx, "SELECT id FROM flow WHERE version_group_id = ? AND archived = 0 ORDER BY version DESC LIMIT 1", []any{name}, &same)
		if err != nil || found {
			return id, same, err
		}
	}
	_, err = t.exec(ctx, "UPDATE flow_group SET settings = json_set(settings, '$.idempotency_key', ?), updated = ? WHERE id = ?",
		emptyNull(key), t.now(), id)
	return id, "", err
}

type flowKeys struct{ tenantID, versionGroup, groupID string }

func (t *tx) insertFlow(ctx context.Context, in FlowInput, doc serializedFlow, keys flowKeys) (string, error) {
	id := newID()
	var version int64
	settings := `{"heartbeat_enabled": true, "lazarus_enabled": true, "version_locking_enabled": false}`
	_, err := t.one(ctx, "SELECT version, settings FROM flow WHERE version_group_id = ? ORDER BY version DESC LIMIT 1",
		[]any{keys.versionGroup}, &version, &settings)
	if err != nil {
		return "", err
	}
	parameters := string(doc.Parameters)
	if nullJSON(doc.Parameters) == nil {
		parameters = "[]"
	}
	return id, t.insert(ctx, "flow", row{
		"id": id, "tenant_id": keys.tenantID, "project_id": emptyNull(in.ProjectID), "flow_group_id": keys.groupID,
		"version_group_id": keys.versionGroup, "version": version + 1, "name": *doc.Name, "description": in.Description,
		"core_version": coreVersion(t.s.opts.Generation, doc), "schedule": nullJSON(doc.Schedule),
		"serialized_flow": string(in.Serialized), "environment": nullJSON(doc.Environment), "run_config": nullJSON(doc.RunConfig),
		"storage": nullJSON(doc.Storage), "parameters": parameters, "settings": settings,
	})
}

// coreVersion is the version of the environment in Server0, of the flow in Server1.
func coreVersion(gen Generation, doc serializedFlow) any {
	var env struct {
		Version *string `json:"__version__"`
	}
	if gen == Server0 && json.Unmarshal(doc.Environment, &env) == nil && env.Version != nil {
		return *env.Version
	}
	if doc.Version == nil {
		return nil
	}
	return *doc.Version
}

func emptyNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (t *tx) archiveOlder(ctx context.Context, versionGroup, keep string) error {
	older, err := t.strings(ctx, "SELECT id FROM flow WHERE version_group_id = ? AND id <> ? AND archived = 0", versionGroup, keep)
	if err != nil {
		return err
	}
	for _, id := range older {
		if _, err := t.archiveFlow(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// ArchiveFlow hides a flow: its scheduled runs are deleted, those made by hand
// are cancelled (Server1). It reports whether the flow exists.
func (s *Store) ArchiveFlow(ctx context.Context, id string) (bool, error) {
	var ok bool
	err := s.update(ctx, func(ctx context.Context, t *tx) (err error) {
		ok, err = t.archiveFlow(ctx, id)
		return err
	})
	return ok, err
}

func (t *tx) archiveFlow(ctx context.Context, id string) (bool, error) {
	n, err := t.exec(ctx, "UPDATE flow SET archived = 1, updated = ? WHERE id = ?", t.now(), id)
	if err != nil || n == 0 {
		return false, err
	}
	if t.s.opts.Generation == Server0 {
		_, err := t.exec(ctx, "DELETE FROM flow_run WHERE flow_id = ? AND state = 'Scheduled'", id)
		return true, err
	}
	if _, err := t.exec(ctx, "DELETE FROM flow_run WHERE flow_id = ? AND state = 'Scheduled' AND auto_scheduled = 1", id); err != nil {
		return false, err
	}
	runs, err := t.strings(ctx, "SELECT id FROM flow_run WHERE flow_id = ? AND state = 'Scheduled'", id)
	if err != nil {
		return false, err
	}
	for _, run := range runs {
		if _, err := t.cancelFlowRun(ctx, run, "Flow "+id+" was archived."); err != nil {
			return false, err
		}
	}
	return true, nil
}

// SetFlowSetting changes a setting of a flow and of its flow group, such as
// heartbeat_enabled or lazarus_enabled. It reports whether the flow exists.
func (s *Store) SetFlowSetting(ctx context.Context, flowID, key string, on bool) (bool, error) {
	return s.setSetting(ctx, key, on,
		"UPDATE flow SET settings = json_set(settings, ?, json(?)), updated = ? WHERE id = ?", flowID,
		"UPDATE flow_group SET settings = json_set(settings, ?, json(?)), updated = ? WHERE id = (SELECT flow_group_id FROM flow WHERE id = ?)", flowID)
}

// SetFlowGroupSetting changes a setting of the flow group of a flow, such as
// version_locking_enabled; the flow's own settings stay. It reports whether the
// flow exists.
func (s *Store) SetFlowGroupSetting(ctx context.Context, flowID, key string, on bool) (bool, error) {
	return s.setSetting(ctx, key, on,
		"UPDATE flow_group SET settings = json_set(settings, ?, json(?)), updated = ? WHERE id = (SELECT flow_group_id FROM flow WHERE id = ?)", flowID)
}

func (s *Store) setSetting(ctx context.Context, key string, on bool, queries ...string) (bool, error) {
	if strings.ContainsAny(key, `"$.[]'`) {
		return false, refuse("invalid setting %q", key)
	}
	value := "false"
	if on {
		value = "true"
	}
	var n int64
	err := s.update(ctx, func(ctx context.Context, t *tx) (err error) {
		for i := 0; i < len(queries); i += 2 {
			if n, err = t.exec(ctx, queries[i], "$."+key, value, t.now(), queries[i+1]); err != nil {
				return err
			}
		}
		return nil
	})
	return n > 0, err
}
