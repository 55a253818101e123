CREATE TABLE tenant (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL,
  name TEXT NOT NULL, slug TEXT NOT NULL UNIQUE, info TEXT NOT NULL DEFAULT '{}', settings TEXT NOT NULL DEFAULT '{}'
);

CREATE TABLE project (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL,
  tenant_id TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  name TEXT NOT NULL, description TEXT,
  UNIQUE (tenant_id, name)
);

CREATE TABLE flow_group (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL,
  tenant_id TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  name TEXT NOT NULL, description TEXT, settings TEXT NOT NULL DEFAULT '{}',
  default_parameters TEXT NOT NULL DEFAULT '{}', schedule TEXT, labels TEXT, run_config TEXT,
  UNIQUE (tenant_id, name)
);

CREATE TABLE flow (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL,
  tenant_id TEXT NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  project_id TEXT REFERENCES project (id) ON DELETE CASCADE,
  flow_group_id TEXT NOT NULL REFERENCES flow_group (id) ON DELETE CASCADE,
  version_group_id TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, description TEXT,
  core_version TEXT, archived INTEGER NOT NULL DEFAULT 0,
  schedule TEXT, is_schedule_active INTEGER NOT NULL DEFAULT 0,
  serialized_flow TEXT, environment TEXT, run_config TEXT, storage TEXT,
  parameters TEXT NOT NULL DEFAULT '[]', settings TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX flow_by_group ON flow (version_group_id, version);
CREATE INDEX flow_by_flow_group ON flow (flow_group_id);
CREATE INDEX flow_by_project ON flow (project_id);
CREATE INDEX flow_by_name ON flow (name);

-- A flow has at most one schedule, so the schedule of 0.11 carries the id of its flow.
CREATE VIEW schedule AS
  SELECT id, created, updated, id AS flow_id, schedule, is_schedule_active AS active FROM flow WHERE schedule IS NOT NULL;

CREATE TABLE task (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  flow_id TEXT NOT NULL REFERENCES flow (id) ON DELETE CASCADE,
  name TEXT, slug TEXT NOT NULL, description TEXT, type TEXT, max_retries INTEGER NOT NULL DEFAULT 0,
  retry_delay TEXT, trigger TEXT, tags TEXT NOT NULL DEFAULT '[]',
  mapped INTEGER NOT NULL DEFAULT 0, auto_generated INTEGER NOT NULL DEFAULT 0, cache_key TEXT,
  is_root_task INTEGER NOT NULL DEFAULT 0, is_terminal_task INTEGER NOT NULL DEFAULT 0,
  is_reference_task INTEGER NOT NULL DEFAULT 0,
  UNIQUE (flow_id, slug)
);

CREATE TABLE edge (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  flow_id TEXT NOT NULL REFERENCES flow (id) ON DELETE CASCADE,
  upstream_task_id TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
  downstream_task_id TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
  key TEXT, mapped INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX edge_unique ON edge (flow_id, upstream_task_id, downstream_task_id, coalesce(key, ''));
CREATE INDEX edge_up ON edge (upstream_task_id);
CREATE INDEX edge_down ON edge (downstream_task_id);

CREATE TABLE flow_run (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  flow_id TEXT NOT NULL REFERENCES flow (id) ON DELETE CASCADE,
  name TEXT NOT NULL, parameters TEXT NOT NULL DEFAULT '{}', context TEXT NOT NULL DEFAULT '{}',
  labels TEXT NOT NULL DEFAULT '[]', run_config TEXT, version INTEGER NOT NULL DEFAULT 0, heartbeat TEXT,
  scheduled_start_time TEXT, start_time TEXT, end_time TEXT, auto_scheduled INTEGER NOT NULL DEFAULT 0,
  times_resurrected INTEGER NOT NULL DEFAULT 0, idempotency_key TEXT, agent_id TEXT,
  state_id TEXT, state TEXT, state_timestamp TEXT, state_message TEXT, state_result TEXT,
  state_start_time TEXT, serialized_state TEXT
);
CREATE UNIQUE INDEX flow_run_idempotency ON flow_run (flow_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX flow_run_queue ON flow_run (state, state_start_time);
CREATE INDEX flow_run_by_flow ON flow_run (flow_id);
CREATE INDEX flow_run_by_agent ON flow_run (agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX flow_run_by_name ON flow_run (name);

CREATE TABLE task_run (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  flow_run_id TEXT NOT NULL REFERENCES flow_run (id) ON DELETE CASCADE,
  task_id TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
  map_index INTEGER NOT NULL DEFAULT -1, name TEXT, version INTEGER NOT NULL DEFAULT 0, heartbeat TEXT,
  start_time TEXT, end_time TEXT, cache_key TEXT,
  state_id TEXT, state TEXT, state_timestamp TEXT, state_message TEXT, state_result TEXT,
  state_start_time TEXT, serialized_state TEXT,
  UNIQUE (flow_run_id, task_id, map_index)
);
CREATE INDEX task_run_queue ON task_run (state, state_start_time);
CREATE INDEX task_run_by_task ON task_run (task_id);

-- No unique key over (run, version): neither server has one, and two writers at once leave two rows of one version.
CREATE TABLE flow_run_state (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  flow_run_id TEXT NOT NULL REFERENCES flow_run (id) ON DELETE CASCADE,
  timestamp TEXT NOT NULL, message TEXT, result TEXT, start_time TEXT, state TEXT NOT NULL,
  version INTEGER NOT NULL, serialized_state TEXT NOT NULL
);
CREATE INDEX flow_run_state_by_run ON flow_run_state (flow_run_id, version);

CREATE TABLE task_run_state (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  task_run_id TEXT NOT NULL REFERENCES task_run (id) ON DELETE CASCADE,
  timestamp TEXT NOT NULL, message TEXT, result TEXT, start_time TEXT, state TEXT NOT NULL,
  version INTEGER NOT NULL, serialized_state TEXT NOT NULL
);
CREATE INDEX task_run_state_by_run ON task_run_state (task_run_id, version);

CREATE TABLE log (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  flow_run_id TEXT NOT NULL REFERENCES flow_run (id) ON DELETE CASCADE, task_run_id TEXT,
  timestamp TEXT NOT NULL, name TEXT, level TEXT, message TEXT, info TEXT
);
CREATE INDEX log_by_flow_run ON log (flow_run_id, timestamp);
CREATE INDEX log_by_task_run ON log (task_run_id) WHERE task_run_id IS NOT NULL;

CREATE TABLE agent_config (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  name TEXT, settings TEXT NOT NULL DEFAULT '{}'
);

CREATE TABLE agent (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  agent_config_id TEXT, name TEXT, type TEXT NOT NULL, core_version TEXT, labels TEXT NOT NULL DEFAULT '[]', last_queried TEXT
);

CREATE TABLE task_run_artifact (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tenant_id TEXT NOT NULL,
  task_run_id TEXT NOT NULL REFERENCES task_run (id) ON DELETE CASCADE, kind TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX task_run_artifact_by_run ON task_run_artifact (task_run_id);

-- Kept for clients written for the hosted service.
CREATE TABLE secret (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE key_value (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, key TEXT NOT NULL UNIQUE, value TEXT
);
CREATE TABLE task_tag_limit (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, updated TEXT NOT NULL, tag TEXT NOT NULL UNIQUE, "limit" INTEGER NOT NULL
);
