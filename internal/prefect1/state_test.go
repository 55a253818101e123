package prefect1

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

func TestParseState(t *testing.T) {
	t.Parallel()
	noon := time.Date(2020, 5, 14, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, in string
		want     flowrun.State
		err      string
	}{
		{"minimal", `{"type":"Scheduled"}`, flowrun.State{Type: flowrun.Scheduled}, ""},
		{"with offset", `{"type":"Scheduled","start_time":"2020-05-14T14:00:00+02:00"}`, flowrun.State{Type: flowrun.Scheduled, Start: noon}, ""},
		{"without offset", `{"type":"Scheduled","start_time":"2020-05-14T12:00:00"}`, flowrun.State{Type: flowrun.Scheduled, Start: noon}, ""},
		{"unknown type is kept", `{"type":"Dreaming","message":"z"}`, flowrun.State{Type: "Dreaming", Message: "z"}, ""},
		{"null message", `{"type":"Failed","message":null}`, flowrun.State{Type: flowrun.Failed}, ""},
		{"a context of another shape is foreign", `{"type":"Submitted","context":{"agent":1}}`, flowrun.State{Type: flowrun.Submitted}, ""},
		{"a list as context is foreign", `{"type":"Submitted","context":[]}`, flowrun.State{Type: flowrun.Submitted}, ""},
		{
			"a claim",
			`{"type":"Submitted","context":{"agent":"a","place":"p","namespace":"n","job":"j","on":3}}`,
			flowrun.State{Type: flowrun.Submitted, Mark: flowrun.Mark{Kind: flowrun.Claim, Agent: "a", Place: flowrun.Place{UID: "p"}, Namespace: "n", Job: "j", On: 3}},
			"",
		},
		{
			"a claim of who knows the namespace by UID and by name",
			`{"type":"Submitted","context":{"agent":"a","place":"p","place_name":"name-d","namespace":"n","job":"j","on":3}}`,
			flowrun.State{Type: flowrun.Submitted, Mark: flowrun.Mark{Kind: flowrun.Claim, Agent: "a", Place: flowrun.NewPlace("p", "d"), Namespace: "n", Job: "j", On: 3}},
			"",
		},
		{
			"a claim of who may not read the namespace",
			`{"type":"Submitted","context":{"agent":"a","place":"name-d","namespace":"n","job":"j","on":3}}`,
			flowrun.State{Type: flowrun.Submitted, Mark: flowrun.Mark{Kind: flowrun.Claim, Agent: "a", Place: flowrun.NewPlace("", "d"), Namespace: "n", Job: "j", On: 3}},
			"",
		},
		{"null", `null`, flowrun.State{}, "null instead of an object"},
		{"no type", `{}`, flowrun.State{}, "type missing"},
		{"bad time", `{"type":"Scheduled","start_time":"soon"}`, flowrun.State{}, "start_time"},
		{"text", `"Scheduled"`, flowrun.State{}, "state"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseState(json.RawMessage(tt.in))
			if (err != nil) != (tt.err != "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			got.Data = nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

// What one replica writes, every other reads the same.
func TestMarksSurviveTheWire(t *testing.T) {
	t.Parallel()
	for _, w := range []flowrun.Write{
		{Type: flowrun.Submitted, Inner: json.RawMessage(`{"type":"Scheduled"}`), Mark: flowrun.Mark{Kind: flowrun.Claim, Agent: "a", Place: flowrun.NewPlace("p", "d"), Namespace: "n", Job: "j", On: 7}},
		{Type: flowrun.Failed, Mark: flowrun.Mark{Kind: flowrun.Verdict, Agent: "a", Place: flowrun.NewPlace("", "d"), On: 7, OnType: flowrun.Running}},
		{Type: flowrun.Success, Mark: flowrun.Mark{Kind: flowrun.PutBack, Agent: "a", Place: flowrun.Place{UID: "p"}, On: 7}},
		{Type: flowrun.Failed},
	} {
		data, err := json.Marshal(encodeState(w, Version1))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseState(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w.Mark, got.Mark); diff != "" {
			t.Errorf("%v mark (-want +got):\n%s", w.Mark.Kind, diff)
		}
	}
}

// A put-back keeps every key of the state it writes again.
func TestPutBackKeepsTheData(t *testing.T) {
	t.Parallel()
	inner := `{"type":"Success","message":"done","context":{"tags":["a"]},"_result":{"type":"PrefectResult","location":"42"},"x":1}`
	w := flowrun.Write{Type: flowrun.Success, Inner: json.RawMessage(inner), Mark: flowrun.Mark{Kind: flowrun.PutBack, Agent: "a", Place: flowrun.Place{UID: "p"}, On: 3}}
	data, err := json.Marshal(encodeState(w, Version1))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "Success", "message": "done", "_result": map[string]any{"type": "PrefectResult", "location": "42"}, "x": 1.0,
		"context": map[string]any{"tags": []any{"a"}, "agent": "a", "place": "p", "on": 3.0, "put_back": true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func FuzzParseState(f *testing.F) {
	for _, seed := range []string{
		`{"type":"Scheduled","message":"Flow run scheduled.","start_time":"2020-05-14T12:00:00.123456+00:00","context":{},"cached_inputs":{},"_result":{"type":"NoResultType","__version__":"0.11.0"},"__version__":"0.11.0"}`,
		`{"type":"Submitted","context":{"agent":"a","place":"p","job":"j","on":1},"state":{"type":"Scheduled"}}`,
		`{"type":"Failed","context":{"agent":"a","place":"p","on":1,"on_type":"Running"}}`,
		`{"type":"Success","context":{"agent":"a","place":"p","put_back":true}}`,
		`null`, `[]`, `{"type":5}`, `{"type":"Scheduled","start_time":7}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseState(data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "state: ") {
				t.Errorf("error %q does not name the place", err)
			}
			return
		}
		if s.Type == "" {
			t.Error("a state without type")
		}
		if s.Mark.Kind != flowrun.Foreign && (s.Mark.Agent == "" || s.Mark.Place.String() == "") {
			t.Errorf("%v without agent or place", s.Mark.Kind)
		}
	})
}

func FuzzParseRun(f *testing.F) {
	f.Add([]byte(`{"id":"a","version":1,"state":"Scheduled","serialized_state":{"type":"Scheduled"},"flow":{"id":"f","storage":{}},"states":[{"version":1,"serialized_state":{"type":"Scheduled"}}]}`))
	f.Add([]byte(`{"id":"a","version":"x"}`))
	f.Add([]byte(`{"id":"a","serialized_state":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		run := parseRun(data)
		if run.Err == nil && run.State.Type == "" {
			t.Error("a readable run without a state")
		}
		flowrun.Fold(run.History)
	})
}
