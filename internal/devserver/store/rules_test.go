package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

func TestQueueLabels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		run, agent []string
		offered    bool
	}{
		{nil, nil, true},
		{nil, []string{"a"}, false},
		{[]string{"a"}, nil, false},
		{[]string{"a"}, []string{"a", "b"}, true},
		{[]string{"b", "a"}, []string{"a", "b"}, true},
		{[]string{"a", "c"}, []string{"a", "b"}, false},
	} {
		f := open(t, store.Options{})
		f.run(store.FlowRunInput{FlowID: f.flow(`{"name": "f"}`), Labels: c.run})
		ids, err := f.RunsInQueue(t.Context(), store.QueueInput{Labels: c.agent})
		if err != nil || (len(ids) == 1) != c.offered {
			t.Errorf("run %v, agent %v: offered %v, want %v (%v)", c.run, c.agent, ids, c.offered, err)
		}
	}
}

func TestQueueStates(t *testing.T) {
	t.Parallel()
	for state, offered := range map[string]bool{
		`{"type": "Scheduled"}`: true, `{"type": "Retrying"}`: true, `{"type": "Resume"}`: true, `{"type": "Queued"}`: true,
		`{"type": "Paused", "start_time": "2026-11-23T12:00:00+00:00"}`: true, `{"type": "Paused"}`: false,
		`{"type": "Scheduled", "start_time": "2026-11-23T12:00:01+00:00"}`: false,
		`{"type": "Submitted"}`: false, `{"type": "Running"}`: false, `{"type": "Success"}`: false,
	} {
		f := open(t, store.Options{})
		id := f.run(store.FlowRunInput{FlowID: f.flow(`{"name": "f"}`)})
		f.set(id, state)
		ids, err := f.RunsInQueue(t.Context(), store.QueueInput{})
		if err != nil || (len(ids) == 1) != offered {
			t.Errorf("%s: offered %v, want %v (%v)", state, ids, offered, err)
		}
	}
}

// TestQueueOrderAndWindow checks that runs come by their start time, that a
// Running run with a due task run comes last, that 25 are returned and that
// only the first 75 are looked at.
func TestQueueOrderAndWindow(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	flow := f.flow(`{"name": "f", "tasks": [{"slug": "t"}]}`)
	running := f.run(store.FlowRunInput{FlowID: flow, Name: "running"})
	f.set(running, `{"type": "Running"}`)
	f.setTask(f.value("SELECT id FROM task_run").(string), `{"type": "Retrying"}`)
	at := func(minutes int) *time.Time {
		start := f.clock.now.Add(-time.Duration(minutes) * time.Minute)
		return &start
	}
	late, early := f.run(store.FlowRunInput{FlowID: flow, Start: at(1)}), f.run(store.FlowRunInput{FlowID: flow, Start: at(2)})
	ids, err := f.RunsInQueue(t.Context(), store.QueueInput{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{early, late, running}, ids); diff != "" {
		t.Errorf("queue (-want +got):\n%s", diff)
	}
	for range 30 {
		f.run(store.FlowRunInput{FlowID: flow, Start: at(60)})
	}
	if ids, err = f.RunsInQueue(t.Context(), store.QueueInput{}); err != nil || len(ids) != 25 {
		t.Errorf("%d ids, want 25: %v", len(ids), err)
	}
	for range 50 {
		f.run(store.FlowRunInput{FlowID: flow, Start: at(90), Labels: []string{"other"}})
	}
	if ids, err = f.RunsInQueue(t.Context(), store.QueueInput{}); err != nil || len(ids) != 25 {
		t.Errorf("%d ids with 50 foreign runs before, want 25: %v", len(ids), err)
	}
	for range 25 {
		f.run(store.FlowRunInput{FlowID: flow, Start: at(90), Labels: []string{"other"}})
	}
	if ids, err = f.RunsInQueue(t.Context(), store.QueueInput{}); err != nil || len(ids) != 0 {
		t.Errorf("%d ids with 75 foreign runs before, want none: %v", len(ids), err)
	}
}

func TestFlowRunStates(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	id := f.run(store.FlowRunInput{FlowID: f.flow(`{"name": "f", "tasks": [{"slug": "t"}]}`)})
	for _, state := range []string{"Submitted", "Running", "Success", "Scheduled", "Running", "Failed"} {
		f.set(id, `{"type": "`+state+`", "message": "m"}`)
		f.clock.now = f.clock.now.Add(time.Minute)
	}
	row := f.rows("SELECT version, state, state_message, start_time, end_time, heartbeat FROM flow_run WHERE id = ?", id)[0]
	for i, at := range map[int]string{3: "2026-11-23T12:01:", 4: "2026-11-23T12:05:", 5: "2026-11-23T12:04:"} {
		if !strings.HasPrefix(row[i].(string), at) {
			t.Errorf("column %d is %v, want %s", i, row[i], at)
		}
	}
	if diff := cmp.Diff([]any{int64(7), "Failed", "m"}, []any(row[:3])); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if got := f.value("SELECT group_concat(version) FROM flow_run_state WHERE flow_run_id = ?", id); got != "1,2,3,4,5,6,7" {
		t.Errorf("versions are %v", got)
	}
	res, err := f.SetFlowRunStates(t.Context(), []store.StateInput{{RunID: "00000000-0000-4000-8000-000000000000", State: json.RawMessage(`{"type": "Running"}`)}})
	if err != nil || res[0].Status != store.StatusError || !strings.HasPrefix(res[0].Message, "State update failed for flow run ID") {
		t.Errorf("unknown run: %+v, %v", res, err)
	}
}

func TestSubmittedLock(t *testing.T) {
	t.Parallel()
	for gen, refused := range map[store.Generation]bool{store.Server0: false, store.Server1: true} {
		f := open(t, store.Options{Generation: gen})
		id := f.run(store.FlowRunInput{FlowID: f.flow(`{"name": "f"}`)})
		submit := func() store.StateResult {
			res, err := f.SetFlowRunStates(t.Context(), []store.StateInput{{RunID: id, State: json.RawMessage(`{"type": "Submitted"}`)}})
			f.must(err)
			return res[0]
		}
		if res := submit(); res.Err != nil {
			t.Fatal(res.Err)
		}
		if res := submit(); (res.Err != nil) != refused || refused && !strings.Contains(res.Message, "already been submitted") {
			t.Errorf("%s: second Submitted: %+v", gen, res)
		}
		f.clock.now = f.clock.now.Add(30 * time.Second)
		if res := submit(); res.Err != nil {
			t.Errorf("%s: after 30 s: %v", gen, res.Err)
		}
	}
}

func TestVersionLocking(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	flow := f.flow(`{"name": "f", "tasks": [{"slug": "t"}]}`)
	id := f.run(store.FlowRunInput{FlowID: flow})
	set := func(version *int64) store.StateResult {
		res, err := f.SetFlowRunStates(t.Context(), []store.StateInput{{RunID: id, Version: version, State: json.RawMessage(`{"type": "Running"}`)}})
		f.must(err)
		return res[0]
	}
	if res := set(new(int64(9))); res.Err != nil {
		t.Errorf("without locking: %v", res.Err)
	}
	if ok, err := f.SetFlowGroupSetting(t.Context(), flow, "version_locking_enabled", true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, c := range []struct {
		version *int64
		refused bool
	}{{new(int64(9)), true}, {nil, false}, {new(int64(2)), true}, {new(int64(3)), false}} {
		res := set(c.version)
		e, _ := errors.AsType[*store.Error](res.Err)
		if (e != nil) != c.refused || e != nil && e.Code != store.CodeVersionLocking {
			t.Errorf("%+v: %+v", c, res)
		}
	}
	task := f.value("SELECT id FROM task_run").(string)
	res, err := f.SetTaskRunStates(t.Context(), []store.StateInput{{RunID: task, Version: new(int64(5)), State: json.RawMessage(`{"type": "Running"}`)}})
	if err != nil || res[0].Err == nil || !strings.HasPrefix(res[0].Message, "State update failed for task run ID") {
		t.Errorf("task run: %+v, %v", res, err)
	}
}

func TestTaskRunStates(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	id := f.run(store.FlowRunInput{FlowID: f.flow(`{"name": "f", "tasks": [{"slug": "t"}]}`)})
	task := f.value("SELECT id FROM task_run").(string)
	res, err := f.SetTaskRunStates(t.Context(), []store.StateInput{{RunID: task, State: json.RawMessage(`{"type": "Running"}`)}})
	if err != nil || res[0].Err == nil || !strings.Contains(res[0].Message, "is not in a running state") {
		t.Errorf("Running task of a Scheduled run: %+v, %v", res, err)
	}
	f.set(id, `{"type": "Running"}`)
	f.setTask(task, `{"type": "Running", "cached_inputs": {"x": {"location": "1"}}}`)
	f.setTask(task, `{"type": "Retrying", "k": 1.0, "cached_inputs": {}}`)
	if got := f.value("SELECT serialized_state FROM task_run"); got != `{"cached_inputs":{"x":{"location":"1"}},"k":1.0,"type":"Retrying"}` {
		t.Errorf("cached inputs were not carried over: %s", got)
	}
	f.set(id, `{"type": "Cancelled", "message": "stop"}`)
	if got := f.rows("SELECT state, state_message, version FROM task_run")[0]; got[0] != "Cancelled" || got[1] != "stop" || got[2] != int64(3) {
		t.Errorf("task run of a cancelled run is %v", got)
	}
}

func TestCreateFlowRun(t *testing.T) {
	t.Parallel()
	const flow = `{"name": "f", "tasks": [{"slug": "t"}, {"slug": "u"}], "run_config": {"labels": ["rc"]}, "environment": {"labels": ["env"]},
		"parameters": [{"name": "must", "required": true}, {"name": "zero", "default": 0}, {"name": "five", "default": 5}]}`
	given := func(text string) (out map[string]json.RawMessage) {
		_ = json.Unmarshal([]byte(text), &out)
		return out
	}
	for name, c := range map[string]struct {
		gen                      store.Generation
		in                       store.FlowRunInput
		parameters, labels, fail string
	}{
		"missing":          {store.Server1, store.FlowRunInput{}, "", "", "Required parameters were not supplied: must"},
		"defaults":         {store.Server1, store.FlowRunInput{Parameters: given(`{"must": 1, "extra": 2}`)}, `{"extra":2,"five":5,"must":1}`, `["rc"]`, ""},
		"extra 0.11":       {store.Server0, store.FlowRunInput{Parameters: given(`{"must": 1, "extra": 2}`)}, "", "", "Extra parameters were supplied: extra"},
		"0.11":             {store.Server0, store.FlowRunInput{Parameters: given(`{"must": 1, "five": 6}`)}, `{"five":6,"must":1}`, `["env"]`, ""},
		"labels":           {store.Server1, store.FlowRunInput{Parameters: given(`{"must": 1}`), Labels: []string{"b", "a"}}, `{"five":5,"must":1}`, `["a","b"]`, ""},
		"no labels":        {store.Server1, store.FlowRunInput{Parameters: given(`{"must": 1}`), Labels: []string{}}, `{"five":5,"must":1}`, `[]`, ""},
		"run config given": {store.Server1, store.FlowRunInput{Parameters: given(`{"must": 1}`), RunConfig: json.RawMessage(`{"labels": ["own"]}`)}, `{"five":5,"must":1}`, `["own"]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t, store.Options{Generation: c.gen})
			c.in.FlowID = f.flow(flow)
			id, err := f.CreateFlowRun(t.Context(), c.in)
			if c.fail != "" {
				if err == nil || err.Error() != c.fail {
					t.Errorf("error is %v, want %s", err, c.fail)
				}
				return
			}
			f.must(err)
			got := f.rows(`SELECT parameters, labels, version, state, (SELECT count(*) FROM task_run t WHERE t.flow_run_id = r.id AND version = 0
				AND serialized_state = '{"type": "Pending", "message": "Task run created"}') FROM flow_run r WHERE id = ?`, id)[0]
			if diff := cmp.Diff(store.Row{c.parameters, c.labels, int64(1), "Scheduled", int64(2)}, got); diff != "" {
				t.Errorf("run (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFlowGroupOverrides(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	flow := f.flow(`{"name": "f", "run_config": {"labels": ["rc"]}, "parameters": [{"name": "n", "required": true}]}`)
	group := f.value("SELECT flow_group_id FROM flow").(string)
	for column, value := range map[string]string{"run_config": `{"labels": ["group"]}`, "default_parameters": `{"n": 3}`} {
		if ok, err := f.SetFlowGroup(t.Context(), group, column, json.RawMessage(value)); !ok || err != nil {
			t.Fatal(column, ok, err)
		}
	}
	id := f.run(store.FlowRunInput{FlowID: flow})
	if got := f.rows("SELECT labels, run_config, parameters FROM flow_run WHERE id = ?", id)[0]; got[0] != `["group"]` || got[1] != `{"labels": ["group"]}` || got[2] != `{"n":3}` {
		t.Errorf("run has %v", got)
	}
	if ok, err := f.SetFlowGroup(t.Context(), group, "labels", json.RawMessage(`["z"]`)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := f.value("SELECT labels FROM flow_run WHERE id = ?", f.run(store.FlowRunInput{FlowID: flow})); got != `["z"]` {
		t.Errorf("labels are %v", got)
	}
	if _, err := f.SetFlowGroup(t.Context(), group, "name", nil); err == nil {
		t.Error("the name of a group was set")
	}
}

func TestVersionsArchiveAndIdempotency(t *testing.T) {
	t.Parallel()
	for _, gen := range []store.Generation{store.Server0, store.Server1} {
		f := open(t, store.Options{Generation: gen})
		const text = `{"name": "f"}`
		first := f.flow(text)
		byHand := f.run(store.FlowRunInput{FlowID: first, IdempotencyKey: "k"})
		if again := f.run(store.FlowRunInput{FlowID: first, IdempotencyKey: "k"}); again != byHand {
			t.Errorf("%s: same key made run %s beside %s", gen, again, byHand)
		}
		second := f.flow(text)
		group := f.value("SELECT version_group_id FROM flow WHERE id = ?", first).(string)
		if got := f.rows("SELECT version, archived, version_group_id FROM flow ORDER BY version"); !cmp.Equal(got, []store.Row{{int64(1), int64(1), group}, {int64(2), int64(0), group}}) {
			t.Errorf("%s: flows are %v", gen, got)
		}
		if _, err := f.CreateFlowRun(t.Context(), store.FlowRunInput{FlowID: first}); err == nil || err.Error() != "Flow "+first+" is archived." {
			t.Errorf("%s: error is %v", gen, err)
		}
		newest := f.run(store.FlowRunInput{VersionGroupID: group})
		if got := f.value("SELECT flow_id FROM flow_run WHERE id = ?", newest); got != second {
			t.Errorf("%s: run of the group is of flow %v, want %s", gen, got, second)
		}
		left := f.rows("SELECT state FROM flow_run WHERE id = ?", byHand)
		if gen == store.Server0 && len(left) != 0 || gen == store.Server1 && !cmp.Equal(left, []store.Row{{"Cancelled"}}) {
			t.Errorf("%s: run of the archived flow is %v", gen, left)
		}
	}
}

func TestFlowIdempotencyKey(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	create := func(key string) string {
		id, err := f.CreateFlow(t.Context(), store.FlowInput{ProjectID: f.project(), Serialized: json.RawMessage(`{"name": "f"}`), IdempotencyKey: key})
		f.must(err)
		return id
	}
	a, b, c, d := create("k"), create("k"), create("l"), create("")
	if a != b || b == c || c == d {
		t.Errorf("ids are %s %s %s %s", a, b, c, d)
	}
}

func TestCancelFlowRun(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	flow := f.flow(`{"name": "f"}`)
	for state, want := range map[string]string{"Scheduled": "Cancelled", "Submitted": "Cancelled", "Running": "Cancelling", "Success": "Success"} {
		id := f.run(store.FlowRunInput{FlowID: flow})
		f.set(id, `{"type": "`+state+`"}`)
		if got, err := f.CancelFlowRun(t.Context(), id); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", state, got, err, want)
		}
	}
}

func TestLazarus(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	flow := f.flow(`{"name": "f", "tasks": [{"slug": "t"}]}`)
	id := f.run(store.FlowRunInput{FlowID: flow})
	pass := func(want int) {
		t.Helper()
		f.clock.now = f.clock.now.Add(11 * time.Minute)
		if n, err := f.Lazarus(t.Context()); n != want || err != nil {
			t.Errorf("changed %d runs, want %d: %v", n, want, err)
		}
	}
	pass(0)
	for range 3 {
		f.set(id, `{"type": "Submitted"}`)
		if n, err := f.Lazarus(t.Context()); n != 0 || err != nil {
			t.Errorf("fresh run: %d, %v", n, err)
		}
		pass(1)
		if got := f.rows("SELECT state, state_message FROM flow_run")[0]; got[0] != "Scheduled" || got[1] != "Rescheduled by a Lazarus process." {
			t.Errorf("run is %v", got)
		}
	}
	f.set(id, `{"type": "Running"}`)
	if ok, err := f.SetFlowSetting(t.Context(), flow, "lazarus_enabled", false); !ok || err != nil {
		t.Fatal(ok, err)
	}
	pass(0)
	if ok, err := f.SetFlowSetting(t.Context(), flow, "lazarus_enabled", true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	pass(1)
	if got := f.value("SELECT state FROM flow_run"); got != "Failed" {
		t.Errorf("after three times the run is %v", got)
	}
	if got := f.value("SELECT count(*) FROM log WHERE name LIKE '%Lazarus%'"); got != int64(4) {
		t.Errorf("%v log lines", got)
	}
}

func TestZombies(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	id := f.run(store.FlowRunInput{FlowID: f.flow(`{"name": "f", "tasks": [{"slug": "t", "max_retries": 1, "retry_delay": 90.5}]}`)})
	task := f.value("SELECT id FROM task_run").(string)
	f.set(id, `{"type": "Running"}`)
	for _, want := range []string{"Retrying", "Failed"} {
		f.setTask(task, `{"type": "Running"}`)
		f.must(f.Heartbeat(t.Context(), id))
		f.clock.now = f.clock.now.Add(9 * time.Minute)
		if n, err := f.KillZombies(t.Context()); n != 0 || err != nil {
			t.Errorf("living run: %d, %v", n, err)
		}
		f.clock.now = f.clock.now.Add(2 * time.Minute)
		if n, err := f.KillZombies(t.Context()); n != 1 || err != nil {
			t.Errorf("dead run: %d, %v", n, err)
		}
		if got := f.value("SELECT state FROM task_run"); got != want {
			t.Errorf("task run is %v, want %s", got, want)
		}
	}
	if got := f.value("SELECT start_time FROM task_run_state WHERE state = 'Retrying'"); got != "2026-11-23T12:12:30.500000+00:00" {
		t.Errorf("retry starts at %v", got)
	}
	f.set(id, `{"type": "Cancelling"}`)
	f.clock.now = f.clock.now.Add(11 * time.Minute)
	if n, err := f.KillZombies(t.Context()); n != 1 || err != nil {
		t.Errorf("cancelling run: %d, %v", n, err)
	}
	if got := f.value("SELECT state FROM flow_run"); got != "Failed" {
		t.Errorf("cancelling run is %v", got)
	}
}

func TestAgents(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	in := store.AgentInput{TenantID: f.TenantID(), Type: "KubernetesAgent", Name: "agent", CoreVersion: "1.4.1", Labels: []string{"b", "a"}}
	register := func(in store.AgentInput) string {
		id, err := f.RegisterAgent(t.Context(), in)
		f.must(err)
		return id
	}
	first := register(in)
	in.Labels = []string{"a", "b"}
	if again := register(in); again != first {
		t.Error("the same agent got a second id")
	}
	in.Name = "other"
	if other := register(in); other == first {
		t.Error("another agent got the same id")
	}
	if _, err := f.RegisterAgent(t.Context(), store.AgentInput{Type: "x"}); err == nil || err.Error() != "No tenant found." {
		t.Errorf("error is %v", err)
	}
	id := f.run(store.FlowRunInput{FlowID: f.flow(`{"name": "f"}`)})
	if _, err := f.RunsInQueue(t.Context(), store.QueueInput{AgentID: first}); err != nil {
		t.Fatal(err)
	}
	if got := f.value("SELECT last_queried FROM agent WHERE id = ?", first); got == nil {
		t.Error("last_queried was not set")
	}
	res, err := f.SetFlowRunStates(t.Context(), []store.StateInput{{RunID: id, AgentID: first, State: json.RawMessage(`{"type": "Submitted"}`)}})
	if err != nil || res[0].Err != nil || f.value("SELECT agent_id FROM flow_run") != first {
		t.Errorf("agent of the run is %v: %v, %v", f.value("SELECT agent_id FROM flow_run"), res, err)
	}
}

func TestFileIsKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a dir?#%41", "dev.db")
	if _, err := store.Open(t.Context(), store.Options{File: file}); err == nil {
		t.Error("a database in a missing directory was opened")
	}
	file = filepath.Join(t.TempDir(), "dev ?#%41.db")
	f := open(t, store.Options{File: file})
	tenant := f.TenantID()
	f.flow(`{"name": "kept"}`)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err := filepath.Glob(strings.ReplaceAll(file, "?", "[?]")); err != nil || len(files) != 1 {
		t.Errorf("files are %v: %v", files, err)
	}
	again := open(t, store.Options{File: file})
	if again.TenantID() != tenant || again.value("SELECT name FROM flow") != "kept" {
		t.Error("data was lost")
	}
	if err := again.View(t.Context(), func(ctx context.Context, r store.Reader) error {
		return r.Each(ctx, "DELETE FROM flow", nil, func(store.Row) error { return nil })
	}); err == nil {
		t.Error("a reader could write")
	}
}

// TestEndlessReadLeavesTheConnectionUsable cuts a query that would never end, for
// its request or for its own time limit.
func TestEndlessReadLeavesTheConnectionUsable(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"", filepath.Join(t.TempDir(), "dev.db")} {
		for _, limits := range []struct {
			request, read time.Duration
			want          string
		}{{50 * time.Millisecond, 0, "deadline"}, {time.Minute, 50 * time.Millisecond, "took longer than 50ms"}} {
			f := open(t, store.Options{File: file, ReadTimeout: limits.read})
			ctx, cancel := context.WithTimeout(t.Context(), limits.request)
			err := f.View(ctx, func(ctx context.Context, r store.Reader) error {
				return r.Each(ctx, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", nil, func(store.Row) error { return nil })
			})
			cancel()
			if err == nil || !strings.Contains(err.Error(), limits.want) {
				t.Errorf("error is %v, want %q", err, limits.want)
			}
			if got := f.value("SELECT slug FROM tenant"); got != "default" {
				t.Errorf("tenant is %v", got)
			}
			f.flow(`{"name": "f"}`)
			_ = f.Close()
		}
	}
}

// TestSlowReadsBlockNobody reads and writes while others read without an end.
func TestSlowReadsBlockNobody(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"", filepath.Join(t.TempDir(), "dev.db")} {
		f := open(t, store.Options{File: file, ReadTimeout: time.Minute})
		ctx, stop := context.WithCancel(t.Context())
		var slow errgroup.Group
		began := make(chan struct{})
		for range 3 {
			slow.Go(func() error {
				return f.View(ctx, func(ctx context.Context, r store.Reader) error {
					began <- struct{}{}
					return r.Each(ctx, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", nil, func(store.Row) error { return nil })
				})
			})
			<-began
		}
		f.flow(`{"name": "f"}`)
		if got := f.value("SELECT name FROM flow"); got != "f" {
			t.Errorf("flow is %v", got)
		}
		stop()
		if err := slow.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("slow reads end with %v", err)
		}
	}
}
