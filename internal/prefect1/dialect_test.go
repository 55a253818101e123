package prefect1_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// server answers by the root field; queue holds the variables of the queue's requests,
// read the last document about flow runs.
type server struct {
	answers map[string][]string
	queue   []string
	read    string
}

const refused = `400 {"errors":[{"message":"no"}]}`

// RoundTrip implements http.RoundTripper. What has no answer is refused, as the
// schema's introspection is by servers in production mode.
func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	var body struct{ Query, Variables string }
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		return nil, err
	}
	text := refused
	for root, answers := range s.answers {
		if strings.Contains(body.Query, root+"(") || strings.Contains(body.Query, root+" {") || strings.Contains(body.Query, root+" }") {
			text = answers[0]
			s.answers[root] = answers[min(1, len(answers)-1):]
			if root == "flow_run" {
				s.read = body.Query
			}
			if root == "get_runs_in_queue" {
				s.queue = append(s.queue, body.Variables)
			}
		}
	}
	status := http.StatusOK
	if rest, ok := strings.CutPrefix(text, "400 "); ok {
		status, text = http.StatusBadRequest, rest
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: req}, nil
}

func connect(t *testing.T, version string, s *server) *prefect1.Client {
	t.Helper()
	c, err := prefect1.New(prefect1.Options{
		API: "http://prefect.test", CoreVersion: version, HTTP: &http.Client{Transport: s}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A refusal teaches the generation only while nothing else has shown it.
func TestRefusalTeachesTheGenerationOnce(t *testing.T) {
	t.Parallel()
	const empty = `{"data":{"get_runs_in_queue":{"flow_run_ids":[]}}}`
	for _, tt := range []struct {
		name, version string
		queue         []string
		tenant        []string
		want          []bool // whether each request names a tenant
	}{
		{"never shown", prefect1.Version1, []string{refused, empty}, nil, []bool{true, false}},
		{"shown by the tenants", prefect1.Version1, []string{refused, empty}, []string{`{"data":{"tenant":[{"id":"t"}]}}`}, []bool{true, true}},
		{"shown by the queue", prefect1.Version0, []string{empty, refused, empty}, nil, []bool{false, false, false}},
		{"the other one, never shown", prefect1.Version0, []string{refused, empty}, nil, []bool{false, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &server{answers: map[string][]string{"get_runs_in_queue": tt.queue}}
			c := connect(t, tt.version, s)
			if tt.tenant != nil {
				s.answers["tenant"] = tt.tenant
				s.answers["register_agent"] = []string{`{"data":{"register_agent":{"id":"a"}}}`}
				s.answers["hello"] = []string{`{"data":{"hello":"hi"}}`}
				_ = c.Connect(t.Context(), prefect1.Registration{}) // the queue says whether it worked
			}
			for range tt.queue {
				_, _ = c.RunsInQueue(t.Context(), time.Unix(0, 0), nil) // refusals are the point
			}
			var got []bool
			for _, variables := range s.queue {
				got = append(got, strings.Contains(variables, "tenant_id"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("tenant_id in the queue's requests (-want +got):\n%s", diff)
			}
		})
	}
}

// A server that leaves the history out is believed about the state shown.
func TestHistoryLeftOut(t *testing.T) {
	t.Parallel()
	s := &server{answers: map[string][]string{"flow_run": {`{"data":{"flow_run":[
		{"id":"r","version":2,"state":"Submitted","serialized_state":{"type":"Submitted","context":{"agent":"a","place":"p","job":"j","on":1}}}]}}`}}}
	got, err := connect(t, prefect1.Version0, s).Snapshots(t.Context(), []flowrun.ID{"r"})
	if err != nil {
		t.Fatal(err)
	}
	if stand := got["r"].Standing(); !stand.Holds("a", 1) {
		t.Errorf("the standing is %+v, want the claim of a on version 1 to count", stand)
	}
}

// A run that exists and cannot be read is not a run that does not exist, and a
// null in the queue is no run at all.
func TestUnreadableIsNotMissing(t *testing.T) {
	t.Parallel()
	s := &server{answers: map[string][]string{
		"get_runs_in_queue": {`{"data":{"get_runs_in_queue":{"flow_run_ids":["a",null]}}}`},
		"flow_run": {`{"data":{"flow_run":[{"id":"a","version":3,"serialized_state":{"type":"Running"},
			"states":[{"version":3,"serialized_state":{"type":"Running"}},{"version":2,"serialized_state":null}]}]}}`},
	}}
	client := connect(t, prefect1.Version0, s)
	got, err := client.Snapshots(t.Context(), []flowrun.ID{"a"})
	if snapshot, ok := got["a"]; err != nil || !ok || snapshot.Err == nil {
		t.Errorf("snapshots are %+v, %v; want one that says why it cannot be read", got, err)
	}
	if queue, err := client.RunsInQueue(t.Context(), time.Unix(0, 0), nil); err != nil || len(queue) != 1 {
		t.Errorf("queue is %q, %v; want one id", queue, err)
	}
}

// A write is sent once, whatever the answer: API_ERROR may stand beside states that
// were taken.
func TestWritesAreNotRepeated(t *testing.T) {
	t.Parallel()
	s := &server{answers: map[string][]string{
		"set_flow_run_states": {`{"errors":[{"message":"API_ERROR"}]}`, `{"data":{"set_flow_run_states":{"states":[]}}}`},
	}}
	client := connect(t, prefect1.Version1, s)
	write := []flowrun.Write{{FlowRunID: "r", Type: flowrun.Submitted, Mark: flowrun.Mark{Kind: flowrun.Claim, Agent: "a", Place: flowrun.Place{UID: "p"}, Job: "j"}}}
	if err := client.SetStates(t.Context(), write); err == nil {
		t.Error("the second answer was got, want one request")
	}
}

// One run is read with all of its history too.
func TestFlowRunWithALongHistory(t *testing.T) {
	t.Parallel()
	const running = `{"version":2,"serialized_state":{"type":"Running"}},`
	answer := func(rows string) string {
		return `{"data":{"flow_run":[{"id":"r","version":2,"serialized_state":{"type":"Running"},"states":[` + rows + `{"version":1,"serialized_state":{"type":"Scheduled"}}]}]}}`
	}
	s := &server{answers: map[string][]string{"flow_run": {
		strings.Replace(answer(strings.Repeat(running, 20)), "Scheduled", "Running", 1), answer(strings.Repeat(running, 30)),
	}}}
	run, err := connect(t, prefect1.Version1, s).FlowRun(t.Context(), "r")
	if err != nil || len(run.History) != 31 || run.Standing().Scheduled != 1 {
		t.Errorf("got %d states, %v; want all 31", len(run.History), err)
	}
}

// The servers of 0.13.10 to 0.14.1 have run configs in flows only. Where runs have
// them too, that of the run counts, also if it is null in the flow.
func TestRunConfigOfTheFlow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ fields, run, flow, want string }{
		"flow": {`{"name":"states"}`, ``, `"run_config":{"type":"KubernetesRun"},`, `{"type":"KubernetesRun"}`},
		"run":  {`{"name":"run_config"}`, `"run_config":{"type":"UniversalRun"},`, ``, `{"type":"UniversalRun"}`},
		"none": {`{"name":"states"}`, ``, ``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{answers: map[string][]string{
				"__type": {`{"data":{"queue":{"inputFields":[]},"run":{"fields":[` + tt.fields + `]},"flow":{"fields":[{"name":"run_config"}]},"group":null}}`},
				"hello":  {`{"data":{"hello":"hi"}}`},
				"flow_run": {`{"data":{"flow_run":[{"id":"a","version":1,` + tt.run + `"serialized_state":{"type":"Scheduled"},
					"flow":{` + tt.flow + `"id":"f"},"states":[{"version":1,"serialized_state":{"type":"Scheduled"}}]}]}}`},
			}}
			client := connect(t, prefect1.Version0, s)
			if err := client.Connect(t.Context(), prefect1.Registration{}); err != nil {
				t.Fatal(err)
			}
			runs, err := client.FlowRuns(t.Context(), []flowrun.ID{"a"}, time.Unix(0, 0))
			if err != nil || len(runs) != 1 || string(runs[0].RunConfig) != tt.want {
				t.Errorf("runs are %+v, %v, want one with %s", runs, err, tt.want)
			}
			if asks := strings.Contains(s.read, "storage run_config }"); asks != (name != "run") {
				t.Errorf("the document asks the flow for a run config: %v\n%s", asks, s.read)
			}
		})
	}
}
