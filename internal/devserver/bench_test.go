package devserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/devserver"
)

// call posts one document and returns its data; any error ends the test.
func call(tb testing.TB, s *devserver.Server, query string, variables any) map[string]any {
	tb.Helper()
	var out struct {
		Data   map[string]any
		Errors []struct{ Message string }
	}
	status, body := try(tb, s, query, variables)
	if err := json.Unmarshal([]byte(body), &out); err != nil || len(out.Errors) > 0 || status != http.StatusOK {
		tb.Fatalf("%s: status %d: %s", query, status, body)
	}
	return out.Data
}

// try posts one document and returns the answer as it is.
func try(tb testing.TB, s *devserver.Server, query string, variables any) (int, string) {
	tb.Helper()
	vars, err := json.Marshal(variables)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"query": query, "variables": string(vars)})
	if err != nil {
		tb.Fatal(err)
	}
	req := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, "/", strings.NewReader(string(text)))
	req.Host = "localhost"
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

func field(data map[string]any, path ...string) string {
	var v any = data
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	s, _ := v.(string)
	return s
}

// register makes a flow of two tasks and returns its id.
func register(tb testing.TB, s *devserver.Server, flow map[string]any) string {
	tb.Helper()
	in := map[string]any{"serialized_flow": flow, "set_schedule_active": false}
	if data := call(tb, s, `{ __type(name: "tenant") { name } }`, nil); data["__type"] != nil {
		data := call(tb, s, `{ project { id } }`, nil)
		if len(data["project"].([]any)) == 0 {
			call(tb, s, `mutation($t: UUID!) { create_project(input: {tenant_id: $t, name: "p"}) { id } }`, map[string]any{"t": s.TenantID()})
			data = call(tb, s, `{ project { id } }`, nil)
		}
		in["project_id"] = data["project"].([]any)[0].(map[string]any)["id"]
	}
	data := call(tb, s, `mutation($in: create_flow_input!) { create_flow(input: $in) { id } }`, map[string]any{"in": in})
	return field(data, "create_flow", "id")
}

func twoTasks() map[string]any {
	return map[string]any{
		"name": "two-tasks", "tasks": []any{map[string]any{"name": "one", "slug": "one-1"}, map[string]any{"name": "inc", "slug": "inc-1", "max_retries": 1}},
		"edges":       []any{map[string]any{"upstream_task": "one-1", "downstream_task": map[string]any{"slug": "inc-1"}, "key": "x"}},
		"environment": map[string]any{"labels": []any{}, "__version__": "0.11.0"}, "storage": map[string]any{"type": "Docker"}, "__version__": "1.4.1",
	}
}

func createRun(tb testing.TB, s *devserver.Server, in map[string]any) string {
	tb.Helper()
	data := call(tb, s, `mutation($in: create_flow_run_input!) { create_flow_run(input: $in) { id } }`, map[string]any{"in": in})
	return field(data, "create_flow_run", "id")
}

const pollQuery = `query($ids: [uuid!]) { flow_run(where: { id: { _in: $ids }, _or: [{ state: { _eq: "Scheduled" } },
	{ state: { _eq: "Running" }, task_runs: { state_start_time: { _lte: "2040-01-01T00:00:00+00:00" } } }] }) {
	id version state serialized_state parameters scheduled_start_time run_config name
	flow { id name environment storage version core_version }
	states(order_by: {version: desc}, limit: 20) { version state serialized_state }
	task_runs(where: { state_start_time: { _lte: "2040-01-01T00:00:00+00:00" } }) { id version task_id serialized_state } } }`

// BenchmarkStart guards the rate at which an agent can start runs: 25 runs are
// polled, read, submitted and logged. It reports the time for one run.
func BenchmarkStart(b *testing.B) {
	for _, db := range []string{"memory", "file"} {
		b.Run("db="+db, func(b *testing.B) {
			opts := devserver.Options{Listen: "127.0.0.1:0"}
			if db == "file" {
				opts.DB = filepath.Join(b.TempDir(), "dev.db")
			}
			s, err := devserver.New(b.Context(), opts)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			flow := register(b, s, twoTasks())
			starts := 0
			for b.Loop() {
				b.StopTimer()
				for range 25 {
					createRun(b, s, map[string]any{"flow_id": flow})
				}
				b.StartTimer()
				starts += startAll(b, s)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(starts), "µs/start")
		})
	}
}

func startAll(b *testing.B, s *devserver.Server) int {
	data := call(b, s, `mutation($in: get_runs_in_queue_input!) { get_runs_in_queue(input: $in) { flow_run_ids } }`,
		map[string]any{"in": map[string]any{"tenant_id": s.TenantID(), "labels": []string{}}})
	ids := data["get_runs_in_queue"].(map[string]any)["flow_run_ids"].([]any)
	runs := call(b, s, pollQuery, map[string]any{"ids": ids})["flow_run"].([]any)
	if len(runs) != 25 {
		b.Fatalf("polled %d runs, want 25", len(runs))
	}
	for _, run := range runs {
		id := run.(map[string]any)["id"]
		call(b, s, `mutation($in: set_flow_run_states_input!) { set_flow_run_states(input: $in) { states { id status message } } }`,
			map[string]any{"in": map[string]any{"states": []any{map[string]any{
				"flow_run_id": id, "version": 1,
				"state": map[string]any{"type": "Submitted", "message": "Submitted for execution", "state": map[string]any{"type": "Scheduled"}},
			}}}})
		call(b, s, `mutation($in: write_run_logs_input!) { write_run_logs(input: $in) { success } }`,
			map[string]any{"in": map[string]any{"logs": []any{map[string]any{"flow_run_id": id, "name": "agent", "level": "INFO", "message": "Submitted"}}}})
	}
	return len(runs)
}

// BenchmarkPoll guards the read of 25 runs with their relations; it must not
// grow with the number of relations times runs.
func BenchmarkPoll(b *testing.B) {
	s, err := devserver.New(b.Context(), devserver.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	flow := register(b, s, twoTasks())
	var ids []string
	for i := range 500 {
		id := createRun(b, s, map[string]any{"flow_id": flow, "flow_run_name": strconv.Itoa(i)})
		if i < 25 {
			ids = append(ids, id)
		}
	}
	for b.Loop() {
		call(b, s, pollQuery, map[string]any{"ids": ids})
	}
}
