package devserver_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prefect-kube/prefect-kube/internal/devserver"
)

func TestHTTP(t *testing.T) {
	t.Parallel()
	s := newServer(t, devserver.Options{MaxBody: 2000})
	ok := `"data":{"hello":`
	for name, c := range map[string]struct {
		method, path, contentType, body string
		status                          int
		want                            string
	}{
		"root":                 {"POST", "/", "", `{"query": "query { hello }", "variables": "null"}`, 200, ok},
		"graphql":              {"POST", "/graphql", "", `{"query": "{ hello }", "variables": null}`, 200, ok},
		"graphql slash":        {"POST", "/graphql/", "", `{"query": "{ hello }"}`, 200, ok},
		"alpha":                {"POST", "/graphql/alpha", "", `{"query": "{ hello }", "variables": {}}`, 200, ok},
		"empty text variables": {"POST", "/", "", `{"query": "{ hello }", "variables": ""}`, 200, ok},
		"text variables":       {"POST", "/", "application/json; charset=utf-8", `{"query": "query($n: String!) { flow(where: {name: {_eq: $n}}) { id } }", "variables": "{\"n\": \"x\"}"}`, 200, `"flow":[]`},
		"object variables":     {"POST", "/", "", `{"query": "query($n: String!) { flow(where: {name: {_eq: $n}}) { id } }", "variables": {"n": "x"}}`, 200, `"flow":[]`},
		"missing variable":     {"POST", "/", "", `{"query": "query($n: String!) { flow(where: {name: {_eq: $n}}) { id } }"}`, 400, "BAD_USER_INPUT"},
		"bad text variables":   {"POST", "/", "", `{"query": "{ hello }", "variables": "{"}`, 400, "Variables are invalid JSON."},
		"list variables":       {"POST", "/", "", `{"query": "{ hello }", "variables": []}`, 400, "Variables are invalid JSON."},
		"operation name":       {"POST", "/", "", `{"query": "query A { hello } query B { __typename }", "operationName": "B"}`, 200, `{"data":{"__typename":"Query"}}`},
		"no operation name":    {"POST", "/", "", `{"query": "query A { hello } query B { __typename }"}`, 400, "multiple operations"},
		"execution error":      {"POST", "/", "", `{"query": "mutation { cancel_flow_run(input: {flow_run_id: \"00000000-0000-4000-8000-000000000000\"}) { state } }"}`, 200, `"path":["cancel_flow_run"]`},
		"parse error":          {"POST", "/", "", `{"query": "{ hello"}`, 400, "GRAPHQL_PARSE_FAILED"},
		"validation error":     {"POST", "/", "", `{"query": "{ nope }"}`, 400, "GRAPHQL_VALIDATION_FAILED"},
		"no query":             {"POST", "/", "", `{"variables": {}}`, 400, "Must provide query string."},
		"no JSON":              {"POST", "/", "", `hello`, 400, "not a JSON object"},
		"no UTF-8":             {"POST", "/", "", "{\"query\": \"{ hello }\", \"x\": \"\xff\"}", 400, "not valid UTF-8"},
		"deep JSON":            {"POST", "/", "", `{"query": "mutation($s: JSON!, $f: UUID!) { register_tasks(input: {flow_id: $f, serialized_tasks: $s}) { success } }", "variables": {"f": "00000000-0000-4000-8000-000000000000", "s": ` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}}`, 400, "nested deeper than 200 levels"},
		"batch":                {"POST", "/", "", `[{"query": "{ hello }"}]`, 400, "not a JSON object"},
		"form":                 {"POST", "/", "application/x-www-form-urlencoded", `query=%7B+hello+%7D`, 415, "application/json"},
		"too large":            {"POST", "/", "", `{"query": "` + strings.Repeat("#", 3000) + `"}`, 413, "too large"},
		"get":                  {"GET", "/graphql", "", ``, 405, ""},
		"elsewhere":            {"POST", "/api", "", `{"query": "{ hello }"}`, 404, ""},
		"health":               {"GET", "/.well-known/apollo/server-health", "", ``, 200, `{"status":"pass"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
			if c.contentType == "" {
				c.contentType = "application/json"
			}
			req.Host = "localhost"
			req.Header.Set("Content-Type", c.contentType)
			rec := httptest.NewRecorder()
			s.Handler().ServeHTTP(rec, req)
			if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.want) {
				t.Errorf("got %d %s, want %d with %q", rec.Code, rec.Body, c.status, c.want)
			}
		})
	}
}

const setState = `mutation($in: set_flow_run_states_input!) { set_flow_run_states(input: $in) { states { id status message } } }`

func state(id, typ string, version any) map[string]any {
	return map[string]any{"in": map[string]any{"states": []any{map[string]any{"flow_run_id": id, "version": version, "state": map[string]any{"type": typ}}}}}
}

// TestTwoWritersLeaveTwoRowsOfOneVersion reproduces what both servers do when a
// second writer comes between the read of the version and the insert.
func TestTwoWritersLeaveTwoRowsOfOneVersion(t *testing.T) {
	t.Parallel()
	for _, gen := range []devserver.Generation{devserver.Server0, devserver.Server1} {
		var s *devserver.Server
		var second atomic.Bool
		s = newServer(t, devserver.Options{Generation: gen, BetweenReadAndInsert: func(_ context.Context, id string) {
			if second.CompareAndSwap(false, true) {
				call(t, s, setState, state(id, "Running", 1)) //nolint:contextcheck // the second writer is another client
			}
		}})
		id := createRun(t, s, map[string]any{"flow_id": register(t, s, twoTasks())})
		call(t, s, setState, state(id, "Submitted", 1))
		data := call(t, s, `query($id: uuid!) { flow_run_by_pk(id: $id) { version state states(order_by: {version: desc}, limit: 20) { version state } } }`, map[string]any{"id": id})
		got, err := json.Marshal(data["flow_run_by_pk"])
		want := `{"state":"Submitted","states":[{"state":"Running","version":2},{"state":"Submitted","version":2},{"state":"Scheduled","version":1}],"version":2}`
		if err != nil || string(got) != want {
			t.Errorf("%s: got  %s\nwant %s", gen, got, want)
		}
	}
}

// TestFailedStates checks how each server tells that one of two states failed.
func TestFailedStates(t *testing.T) {
	t.Parallel()
	for gen, want := range map[devserver.Generation]string{
		devserver.Server0: `"path":["set_flow_run_states","states",1,"id"],"locations":[{"line":1,"column":88}],"extensions":{"code":"INTERNAL_SERVER_ERROR"}}],"data":{"set_flow_run_states":{"states":[{"id":"RUN","status":"SUCCESS","message":null},{"id":null,"status":"ERROR","message":"State update failed for flow run ID 00000000-0000-4000-8000-000000000000"}]}}}`,
		devserver.Server1: `"path":["set_flow_run_states"],"locations":[{"line":1,"column":45}],"extensions":{"code":"INTERNAL_SERVER_ERROR"}}],"data":{"set_flow_run_states":null}}`,
	} {
		s := newServer(t, devserver.Options{Generation: gen})
		id := createRun(t, s, map[string]any{"flow_id": register(t, s, twoTasks())})
		vars := state(id, "Running", 1)
		in := vars["in"].(map[string]any)
		in["states"] = append(in["states"].([]any), map[string]any{"flow_run_id": "00000000-0000-4000-8000-000000000000", "version": 1, "state": map[string]any{"type": "Running"}})
		if status, body := try(t, s, setState, vars); status != http.StatusOK || !strings.HasSuffix(body, strings.ReplaceAll(want, "RUN", id)) {
			t.Errorf("%s: got %d %s", gen, status, body)
		}
		if got := field(call(t, s, `{ flow_run { state } }`, nil)["flow_run"].([]any)[0].(map[string]any), "state"); got != "Running" {
			t.Errorf("%s: the good state was not set, the run is %s", gen, got)
		}
	}
}

// TestRun speaks over a real socket, to a file and from many goroutines, and
// checks that Run ends cleanly and that nothing is left behind.
func TestRun(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{"memory": "", "file": filepath.Join(t.TempDir(), "dev.db")} {
		s := newServer(t, devserver.Options{DB: file})
		ctx, stop := context.WithCancel(t.Context())
		var g, clients errgroup.Group
		g.Go(func() error { return s.Run(ctx) })
		flow := register(t, s, twoTasks())
		transport := &http.Transport{}
		client := &http.Client{Transport: transport}
		for range 8 {
			clients.Go(func() error { return writeAndRead(ctx, client, s.Addr(), flow) })
		}
		if err := clients.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		data := call(t, s, `{ flow_run_aggregate { aggregate { count } } task_run_aggregate { aggregate { count } } }`, nil)
		if got, err := json.Marshal(data); err != nil || string(got) != `{"flow_run_aggregate":{"aggregate":{"count":160}},"task_run_aggregate":{"aggregate":{"count":320}}}` {
			t.Errorf("%s: %s", name, got)
		}
		transport.CloseIdleConnections()
		stop()
		if err := g.Wait(); err != nil {
			t.Errorf("%s: run: %v", name, err)
		}
	}
}

// writeAndRead creates and reads flow runs in turn.
func writeAndRead(ctx context.Context, client *http.Client, addr, flow string) error {
	for range 20 {
		body := `{"query": "mutation($f: UUID!) { create_flow_run(input: {flow_id: $f}) { id } }", "variables": {"f": "` + flow + `"}}`
		if err := post(ctx, client, addr, body); err != nil {
			return err
		}
		if err := post(ctx, client, addr, `{"query": "{ flow_run(limit: 25) { id task_runs { id } } }"}`); err != nil {
			return err
		}
	}
	return nil
}

func post(ctx context.Context, client *http.Client, addr, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/graphql", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || strings.Contains(string(text), `"errors"`)) {
		return &answerError{string(text)}
	}
	return err
}

type answerError struct{ text string }

func (e *answerError) Error() string { return e.text }

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]devserver.Options{
		"generation": {Generation: "2.x", Listen: "127.0.0.1:0"},
		"address":    {Listen: "nowhere.invalid:-1"},
		"database":   {Listen: "127.0.0.1:0", DB: filepath.Join(t.TempDir(), "no", "dir", "x.db")},
	} {
		if s, err := devserver.New(t.Context(), opts); err == nil {
			t.Errorf("%s: %v was accepted", name, opts)
			_ = s.Close()
		}
	}
}

func TestSlowRequestIsCut(t *testing.T) {
	t.Parallel()
	s := newServer(t, devserver.Options{RequestTimeout: time.Nanosecond})
	if _, body := try(t, s, `{ flow { id } }`, nil); !strings.Contains(body, "internal error") {
		t.Errorf("got %s", body)
	}
}
