package devserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/devserver"
)

// scenario is one recorded transcript; the README beside them explains it.
type scenario struct {
	Client  string
	Control []struct {
		BeforeActor string `json:"before_actor"`
		Hook        struct {
			QueueOnce    *struct{ Kind string } `json:"queue_once"`
			VersionLock  bool                   `json:"version_lock"`
			HeartbeatOff bool                   `json:"heartbeat_off"`
		}
	}
	Steps []struct {
		N     int
		Actor string
		Input struct {
			Path      string
			Headers   map[string]string
			Operation string
			Variables json.RawMessage
		}
		Expected struct {
			Status int
			Body   map[string]any
		}
	}
	Final struct {
		FlowRuns []map[string]any `json:"flow_runs"`
		TaskRuns []map[string]any `json:"task_runs"`
		Logs     []string
	}
}

// TestConformanceTranscripts replays every transcript of real Prefect clients.
// CONFORMANCE_DIR names another folder of the same layout.
func TestConformanceTranscripts(t *testing.T) {
	root := os.Getenv("CONFORMANCE_DIR")
	if root == "" {
		root = filepath.Join("..", "..", "conformance")
	}
	root = filepath.Join(root, "dev-backend")
	var n, failed atomic.Int64
	t.Run("cases", func(t *testing.T) {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
				return err
			}
			n.Add(1)
			name, err := filepath.Rel(root, path)
			t.Run(strings.TrimSuffix(filepath.ToSlash(name), ".json"), func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if t.Failed() {
						failed.Add(1)
					}
				})
				newReplay(t, path).run(t)
			})
			return err
		})
		if err != nil || n.Load() == 0 {
			t.Fatalf("%d transcripts in %s: %v", n.Load(), root, err)
		}
	})
	row := fmt.Sprintf("| dev-backend | %d | %d | 0 | 0 | %d |", n.Load(), n.Load()-failed.Load(), failed.Load())
	t.Log(row)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance.md"))
	if os.Getenv("CONFORMANCE_DIR") == "" && (err != nil || !strings.Contains(string(page), row+"\n")) {
		t.Errorf("docs/conformance.md lacks the row %s (%v)", row, err)
	}
}

type replay struct {
	scenario scenario
	server   *devserver.Server
	bound    bindings
	queue    atomic.Value
}

func newReplay(t *testing.T, path string) *replay {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &replay{bound: bindings{}}
	if err := json.Unmarshal(text, &r.scenario); err != nil {
		t.Fatal(err)
	}
	gen := devserver.Server1
	if strings.HasPrefix(r.scenario.Client, "0.") || strings.Contains(r.scenario.Client, "0.11") {
		gen = devserver.Server0
	}
	r.queue.Store("")
	r.server = newServer(t, devserver.Options{Generation: gen, Queue: func(_ context.Context, kind, _ string) bool {
		return r.queue.CompareAndSwap(kind, "")
	}})
	return r
}

func (r *replay) run(t *testing.T) {
	done := map[string]bool{}
	for _, step := range r.scenario.Steps {
		if !done[step.Actor] {
			done[step.Actor] = true
			r.control(t, step.Actor)
		}
		operation := r.bound.fill(t, step.Input.Operation)
		vars := "null"
		if len(step.Input.Variables) > 0 {
			vars = r.bound.fillJSON(t, step.Input.Variables)
		}
		status, body := r.post(t, step.Input.Path, operation, vars, step.Input.Headers)
		if status != step.Expected.Status {
			t.Fatalf("step %d: status %d, want %d: %s", step.N, status, step.Expected.Status, body)
		}
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("step %d: %v", step.N, err)
		}
		if diff := compareAnswer(r.bound, step.Expected.Body, got, ordered(operation)); diff != "" {
			t.Fatalf("step %d, %s: %s\nanswer: %s", step.N, operation, diff, body)
		}
	}
	r.checkFinal(t)
}

func (r *replay) control(t *testing.T, actor string) {
	t.Helper()
	for _, c := range r.scenario.Control {
		if c.BeforeActor != actor {
			continue
		}
		if c.Hook.QueueOnce != nil {
			r.queue.Store(c.Hook.QueueOnce.Kind)
		}
		flow := r.bound["{{flow:1}}"]
		if c.Hook.VersionLock {
			if ok, err := r.server.SetVersionLocking(t.Context(), flow, true); err != nil || !ok {
				t.Fatalf("version locking of %q: %v, %v", flow, ok, err)
			}
		}
		if c.Hook.HeartbeatOff {
			r.query(t, `mutation { disable_flow_heartbeat(input: {flow_id: "`+flow+`"}) { success } }`)
		}
	}
}

func (r *replay) post(t *testing.T, path, query, vars string, headers map[string]string) (int, []byte) {
	t.Helper()
	text, err := json.Marshal(map[string]string{"query": query, "variables": vars})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(string(text)))
	req.Host = "localhost"
	req.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		req.Header.Set(name, r.bound.fill(t, value))
	}
	rec := httptest.NewRecorder()
	r.server.Handler().ServeHTTP(rec, req)
	body, err := io.ReadAll(rec.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Code, body
}

func (r *replay) query(t *testing.T, query string) map[string]any {
	t.Helper()
	var out struct {
		Data   map[string]any
		Errors []any
	}
	_, body := r.post(t, "/graphql", query, "null", nil)
	if err := json.Unmarshal(body, &out); err != nil || len(out.Errors) > 0 {
		t.Fatalf("%s: %v: %s", query, err, body)
	}
	return out.Data
}

// checkFinal compares what is in the database after the last step. The recorder
// was no server: it made no runs from schedules, did not cancel the runs of
// archived flows, gave no message to the task runs of a cancelled flow run, and
// noted the first line of a log only. These four are left out.
func (r *replay) checkFinal(t *testing.T) {
	t.Helper()
	labels := ""
	if _, body := r.post(t, "/", `{ __type(name: "flow_run") { fields { name } } }`, "null", nil); strings.Contains(string(body), `"labels"`) {
		labels = "labels"
	}
	data := r.query(t, `{ flow_run(where: {auto_scheduled: {_eq: false}}) { id state state_message version parameters `+labels+` flow { archived } }
		task_run(where: {flow_run: {auto_scheduled: {_eq: false}}}) { task { slug flow { archived } } map_index state version }
		log { name message } }`)
	final := r.scenario.Final
	runs := without(data["flow_run"], "flow")
	tasks := data["task_run"].([]any)
	for i, one := range tasks {
		task := one.(map[string]any)
		inner := task["task"].(map[string]any)
		tasks[i] = map[string]any{"task": inner["slug"], "map_index": task["map_index"], "state": task["state"], "version": task["version"], "flow": inner["flow"]}
	}
	tasks = without(tasks, "flow")
	var logs []any
	for _, one := range data["log"].([]any) {
		l := one.(map[string]any)
		first, _, _ := strings.Cut(l["message"].(string), "\n")
		logs = append(logs, l["name"].(string)+": "+first)
	}
	for i, want := range final.FlowRuns {
		want["state_message"] = want["message"]
		delete(want, "message")
		if labels == "" {
			delete(want, "labels")
		}
		final.FlowRuns[i] = want
	}
	for _, want := range final.TaskRuns {
		delete(want, "message")
	}
	r.same(t, "flow runs", final.FlowRuns, runs)
	r.same(t, "task runs", final.TaskRuns, tasks)
	r.same(t, "logs", final.Logs, logs)
}

// without drops a key from every object; objects of an archived flow lose their
// state and version as well.
func without(list any, key string) []any {
	out := list.([]any)
	for _, one := range out {
		object := one.(map[string]any)
		flow, _ := object[key].(map[string]any)
		delete(object, key)
		if flow["archived"] == true {
			for _, gone := range []string{"state", "version", "state_message"} {
				delete(object, gone)
			}
		}
	}
	return out
}

func (r *replay) same(t *testing.T, name string, want any, got []any) {
	t.Helper()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var list []any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) == len(got) {
		for i := range list {
			trim(list, got, i)
		}
	}
	if diff := compare(r.bound, orEmpty(list), orEmpty(got), name, false, false); diff != "" {
		t.Errorf("final %s: %s", name, diff)
	}
}

// trim drops from a wanted object what the archived one has lost.
func trim(want, got []any, i int) {
	w, ok := want[i].(map[string]any)
	g, _ := got[i].(map[string]any)
	if !ok {
		return
	}
	for _, key := range []string{"state", "version", "state_message"} {
		if _, has := g[key]; !has {
			delete(w, key)
		}
	}
}

func orEmpty(list []any) []any {
	if list == nil {
		return []any{}
	}
	return list
}

var orderBy = regexp.MustCompile(`order_by`)

// ordered reports whether a document orders its lists.
func ordered(operation string) bool { return orderBy.MatchString(operation) }
