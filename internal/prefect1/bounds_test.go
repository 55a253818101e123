package prefect1_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// deep answers whatever asks for the bad run with a nested text; it counts requests.
type deep struct {
	bad    string
	asked  int // for the bad run
	others int
}

func (d *deep) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var rows []string
	for _, id := range []string{"a", "b", "c", "d"} {
		if strings.Contains(string(data), fmt.Sprintf(`\"%s\"`, id)) {
			rows = append(rows, fmt.Sprintf(`{"id":%q,"version":1,"serialized_state":{"type":"Scheduled"}}`, id))
		}
	}
	text := `{"data":{"flow_run":[` + strings.Join(rows, ",") + `]}}`
	d.others++
	if strings.Contains(string(data), fmt.Sprintf(`\"%s\"`, d.bad)) {
		d.asked++
		text = `{"data":{"flow_run":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}}`
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: req}, nil
}

// The one run whose answer is beyond the bounds is found, says why, and is not asked
// for again with every poll.
func TestOneHostileRunIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &deep{bad: "c"}
		client, err := prefect1.New(prefect1.Options{API: "http://p.test", CoreVersion: prefect1.Version1, HTTP: &http.Client{Transport: d}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		read := func() map[flowrun.ID]bool { return readable(t, client) }
		want := map[flowrun.ID]bool{"a": true, "b": true, "c": false, "d": true}
		for range 3 {
			if diff := cmp.Diff(want, read()); diff != "" {
				t.Errorf("readable (-want +got):\n%s", diff)
			}
		}
		if d.asked != 3 || d.others != 7 { // all, c and d, c; a and b, d; twice the other three
			t.Errorf("got %d requests with the hostile run of %d, want 3 of 7", d.asked, d.others)
		}
		time.Sleep(6 * time.Minute)
		d.bad = ""
		if got := read(); !got["c"] {
			t.Error("the run is not read again after a while")
		}
	})
}

// readable reads four runs and says which can be used; the others must say why.
func readable(t *testing.T, client *prefect1.Client) map[flowrun.ID]bool {
	t.Helper()
	runs, err := client.FlowRuns(t.Context(), []flowrun.ID{"a", "b", "c", "d"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	out := map[flowrun.ID]bool{}
	for _, run := range runs {
		out[run.ID] = run.Err == nil
		if _, deep := errors.AsType[*prefect1.DepthError](run.Err); run.Err != nil && !deep {
			t.Errorf("%s: got %v", run.ID, run.Err)
		}
	}
	return out
}

// An answer is bounded after decompression, in bytes and in items.
func TestCompressedFlood(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.Handler{
		"white space": badserver.Flood("", " ", "", 100<<20),
		"one text":    badserver.Flood(`{"data":{"x":"`, "x", `"}}`, 100<<20),
		"an error":    badserver.Flood(`{"errors":[{"message":"`, "x", `"}]}`, 100<<20),
		"fields":      badserver.Flood(`{"data":{`, `"a":[{"b":{}}],`, `"c":0}}`, 10<<20),
	} {
		client := clientOf(t, badserver.New(t, badserver.Gzip(handler)))
		_, err := client.RunsInQueue(t.Context(), time.Now(), nil)
		if _, ok := errors.AsType[*retryhttp.TooLargeError](err); !ok {
			t.Errorf("%s: got %v, want that the answer is too large", name, err)
		}
	}
}

// clientOf makes a client of a server that misbehaves.
func clientOf(t *testing.T, server *badserver.Server, changes ...func(*prefect1.Options)) *prefect1.Client {
	t.Helper()
	o := prefect1.Options{
		API: "http://p.test", CoreVersion: prefect1.Version1, HTTP: &http.Client{Transport: retryhttp.New(retryhttp.Options{Base: server.Transport(t)})},
		Credential: func() (string, error) { return "k", nil }, Logger: slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&o)
	}
	client, err := prefect1.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// An answer is read as far as was asked for; what goes on behind is no error.
func TestAnswersAreReadAsFarAsIsAskedFor(t *testing.T) {
	t.Parallel()
	const run = `{"id":"a","version":1,"serialized_state":{"type":"Running"},"labels":["x"]`
	state := `,{"version":2,"serialized_state":{"type":"Running"}}`
	large := strings.Repeat("x", 1<<20-2) // with its quotes as large as may be
	ask := func(flood http.HandlerFunc) *prefect1.Client { return clientOf(t, badserver.New(t, flood)) }
	var ids strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&ids, `,"r%d"`, i)
	}
	queue, err := ask(badserver.Answer(`{"data":{"get_runs_in_queue":{"flow_run_ids":["r"`+ids.String())).RunsInQueue(t.Context(), time.Now(), nil)
	if err != nil || len(queue) != 500 {
		t.Errorf("queue: got %d, %v, want 500", len(queue), err)
	}
	if claims, err := ask(badserver.Flood(`{"data":{"flow_run":[{"id":"a"}`, `,{"id":"b"}`, "", 1e6)).Claims(t.Context(), ""); err != nil || len(claims) != 2 {
		t.Errorf("claims: got %d, %v, want 2", len(claims), err)
	}
	if runs, err := ask(badserver.Flood(`{"data":{"flow_run":[`+run+"}", ","+run+"}", "", 1e6)).FlowRunsByID(t.Context(), []flowrun.ID{"a"}); err != nil || len(runs) > 1001 {
		t.Errorf("runs: got %d, %v, want 1001 at most", len(runs), err)
	}
	for text, want := range map[string]string{
		run + `,"states":[{}` + strings.Repeat(state, 600) + `]}`:    "states[0] (version 0)",
		run + `,"states":[` + strings.Repeat(state, 600)[1:] + `]}`:  "500 states",
		run + `,"run_config":"` + large + `"}`:                       "",
		run + `,"run_config":"` + large + `x"}`:                      "run_config: larger than 1048576 bytes",
		run + `,"flow":{"storage":"` + large + `x"}}`:                "flow.storage: larger",
		run + `,"flow":{"environment":"` + large + `x"}}`:            "flow.environment: larger",
		run + `,"states":[{"serialized_state":"` + large + `x"}]}`:   "states[0] (version 0): larger",
		`{"id":"a","version":1,"serialized_state":"` + large + `x"}`: "serialized_state: larger",
	} {
		got := prefect1.ParseFlowRun([]byte(text))
		said := fmt.Sprintf("%v, %d states", got.Err, len(got.History))
		if !strings.Contains(said, want) || (want == "" || want == "500 states") != (got.Err == nil) {
			t.Errorf("%.60s: got %.200s, want %s", text, said, want)
		}
	}
}

func TestQueueKeepsItsBounds(t *testing.T) {
	t.Parallel()
	var ids strings.Builder
	longest := strings.Repeat("z", 60) + "-_z" // as the value of a label
	for i := range 10_000 {
		fmt.Fprintf(&ids, `"run-%d",`, i)
	}
	s := &server{answers: map[string][]string{"get_runs_in_queue": {
		`{"data":{"get_runs_in_queue":{"flow_run_ids":["a","a",null,"","x\" }","a) , b","x-","-x","_","x_","é","` + strings.Repeat("y", 64) + `","` + longest + `",` + ids.String() + `"z"]}}}`,
	}}}
	queue, err := connect(t, prefect1.Version0, s).RunsInQueue(t.Context(), time.Unix(0, 0), nil)
	if err != nil || len(queue) != 500 || queue[0] != "a" || queue[1] != flowrun.ID(longest) || queue[2] != "run-0" {
		t.Errorf("got %d ids beginning with %q, %v; want 500, each once", len(queue), queue[:min(9, len(queue))], err)
	}
}

// Whatever the server answers, nothing panics, and no run comes back that was not
// asked for.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"get_runs_in_queue":{"flow_run_ids":["a",null,7]},"flow_run":[{"id":"a","version":1,"serialized_state":{"type":"Scheduled","start_time":"2022-11-30T12:00:00"},"states":[{"version":1,"serialized_state":null}]}],"agent_config":[{"settings":{"labels":["x"],"env_vars":{"A":1}}}]}}`,
		`{"data":{"queue":{},"run":{"fields":[{"name":"labels"}]},"flow":{},"scheduled":[{"id":"a","labels":["x"]},{"id":"b","labels":{}},null],"running":[{"flow":{"environment":7}}]}}`,
		`{"errors":[{"message":"API_ERROR"}],"data":null}`, `{"data":{"flow_run":[null,{"id":{}},{"id":"b"}]}}`, `[[[[`, `"`, `{"data":{"set_flow_run_states":{"states":[null,{"id":"a","status":"QUEUED"},{"id":"b","status":"ERROR","message":"no"}]}}}`, ``,
		`{"data":{"hello":"x","auth_info":{"tenant_id":"t","api_token_scope":"RUNNER"},"tenant":[{"id":"t"}],"register_agent":{"id":"i"},"queue":{"inputFields":[{"name":"tenant_id"}]},"run":{"fields":[{"name":"states"},{"name":"tenant_id"},{"name":"run_config"}]},"flow":{"fields":[{"name":"environment"},{"name":"core_version"}]},"group":null,"agent_config":[{"settings":"{\"labels\":7,\"env_vars\":{\"\":1,\"A=\":true,\"B\":{}},\"x\":0}"}],"scheduled":[{"id":"a","flow":{"environment":{"labels":["x"]}}}],"flow_run":[{"id":"a","version":3,"serialized_state":{"type":"Submitted","context":{"agent":"x","place":"p","job":"j","on":1}},"states":[{"version":1,"serialized_state":{"type":"Scheduled"}}]}],"write_run_logs":{"success":true}}}`,
		`400 {"errors":[{"message":"unknown field","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}`, `400 <html>`, `{"data":{"flow_run":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}}`,
		`{"data":{"flow_run":[{"id":"a","version":30,"serialized_state":{"type":"Running"},"states":[` + strings.Repeat(`{"version":1,"serialized_state":{"type":"Running"}},`, 20) + `{"version":2,"serialized_state":{"type":"Running"}}]}]}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, core := range []string{prefect1.Version0, prefect1.Version1} {
			for _, cloud := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) { askEverything(t, text, core, cloud) })
			}
		}
	})
}

// askEverything asks a server that has one answer to all.
func askEverything(t *testing.T, text, core string, cloud bool) {
	c, err := prefect1.New(prefect1.Options{
		API: "http://p.test", CoreVersion: core, Cloud: cloud, Credential: func() (string, error) { return "k", nil },
		HTTP: &http.Client{Transport: constant(text)}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, ids, now := t.Context(), []flowrun.ID{"a", "b"}, time.Now()
	errs := []error{c.ConnectReader(ctx), c.Connect(ctx, prefect1.Registration{ConfigID: "c"})} // any answer will do
	try := func(_ any, err error) { errs = append(errs, err) }
	try(c.RunsInQueue(ctx, now, nil))
	try(c.Claims(ctx, ""))
	try(c.Overdue(ctx, now, []string{"x"}))
	try(c.Snapshots(ctx, ids))
	try(c.FlowRun(ctx, "a"))
	try(c.Tenants(ctx))
	settings, warning, err := c.AgentConfig(ctx, "c")
	try(settings, errors.Join(warning, err))
	errs = append(errs, c.WriteLogs(ctx, []flowrun.Log{{FlowRunID: "a"}}), prefect1.ParseFlowRun([]byte(text)).Err, c.SetStates(ctx, []flowrun.Write{
		{FlowRunID: "a", Type: flowrun.Submitted}, {FlowRunID: "b", Type: flowrun.Running, Inner: []byte(text), Mark: flowrun.Mark{Kind: flowrun.PutBack}},
	}))
	runs, _ := c.FlowRuns(ctx, ids, now)
	more, _ := c.FlowRunsByID(ctx, ids)
	for _, run := range runs {
		if run.ID != "a" && run.ID != "b" {
			t.Errorf("got the run %q", run.ID)
		}
	}
	for _, run := range more {
		run.Takes([]string{"x"})
	}
	for _, err := range errs {
		if err != nil && !utf8.ValidString(err.Error()) {
			t.Errorf("got an error that is no text: %q", err)
		}
	}
	c.Schema()
}

type constant string

func (c constant) RoundTrip(req *http.Request) (*http.Response, error) {
	text, bad := strings.CutPrefix(string(c), "400 ")
	status := http.StatusOK
	if bad {
		status = http.StatusBadRequest
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: req}, nil
}

// A server that does not turn the page, or gives no ids, ends the list.
func TestClaimsTurnThePage(t *testing.T) {
	t.Parallel()
	c := connect(t, prefect1.Version1, &server{answers: map[string][]string{
		"flow_run": {`{"data":{"flow_run":[{"id":"a","version":1},{"id":"b","version":2},{"id":"b","version":3},{"id":"c){","version":1}]}}`},
	}})
	want := []prefect1.Claim{{ID: "a", Version: 1}, {ID: "b", Version: 2}}
	for after, want := range map[flowrun.ID][]prefect1.Claim{"": want, "b": {}} {
		got, err := c.Claims(t.Context(), after)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("behind %q: %v (-want +got):\n%s", after, err, diff)
		}
	}
}
