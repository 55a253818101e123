package store_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2020-05-14T12:00:00.123456+00:00":    "2020-05-14T12:00:00.123456+00:00",
		"2020-05-14T12:00:00+02:00":           "2020-05-14T10:00:00.000000+00:00",
		"2020-05-14T12:00:00Z":                "2020-05-14T12:00:00.000000+00:00",
		"2020-05-14T12:00:00.5":               "2020-05-14T12:00:00.500000+00:00",
		"2020-05-14 12:00:00.123456789+00:00": "2020-05-14T12:00:00.123456+00:00",
		"2020-05-14 12:00:00+00":              "2020-05-14T12:00:00.000000+00:00",
		"2020-05-14T12:00:00+0000":            "2020-05-14T12:00:00.000000+00:00",
		"2020-05-14":                          "2020-05-14T00:00:00.000000+00:00",
		"":                                    "",
		"yesterday":                           "",
		"2020-02-30T00:00:00Z":                "",
		strings.Repeat("2", 100):              "",
	} {
		at, err := store.ParseTime(text)
		if (err != nil) != (want == "") {
			t.Errorf("%q: %v, %v", text, at, err)
		}
		if err == nil && store.FormatTime(at) != want {
			t.Errorf("%q: got %s, want %s", text, store.FormatTime(at), want)
		}
	}
}

func TestParseState(t *testing.T) {
	t.Parallel()
	now := newClock().now
	for name, c := range map[string]struct {
		gen   store.Generation
		raw   string
		start time.Time
		fail  string
	}{
		"minimal":             {raw: `{"type": "Success"}`},
		"unknown keys":        {raw: `{"type": "Running", "x": [1.10, {"y": null}], "state": 5}`},
		"scheduled now":       {raw: `{"type": "Scheduled"}`, start: now},
		"null start":          {raw: `{"type": "Queued", "start_time": null, "state": {"type": "Pending"}}`, start: now},
		"offset":              {raw: `{"type": "Retrying", "start_time": "2026-11-23T14:00:00+02:00"}`, start: now},
		"paused 0.11":         {gen: store.Server0, raw: `{"type": "Paused"}`, start: now.AddDate(10, 0, 0)},
		"paused 1.x":          {gen: store.Server1, raw: `{"type": "Paused"}`},
		"start without right": {raw: `{"type": "Running", "start_time": "2026-11-23T14:00:00+02:00"}`},
		"null":                {raw: `null`, fail: "want an object"},
		"list":                {raw: `[]`, fail: "want an object"},
		"empty":               {raw: ``, fail: "want an object"},
		"no type":             {raw: `{"message": "x"}`, fail: "type: missing"},
		"number type":         {raw: `{"type": 1}`, fail: "invalid state"},
		"unknown type":        {raw: `{"type": "Crashed"}`, fail: `unsupported value: "Crashed"`},
		"bad start":           {raw: `{"type": "Scheduled", "start_time": "soon"}`, fail: "start_time: invalid timestamp"},
		"number start":        {raw: `{"type": "Scheduled", "start_time": 5}`, fail: "start_time: want a string"},
		"message list":        {raw: `{"type": "Failed", "message": []}`, fail: "invalid state"},
		"too deep":            {raw: `{"type": "Failed", "x": ` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `}`, fail: "nested deeper than 64"},
		"too large":           {raw: `{"type": "Failed", "x": "` + strings.Repeat("x", 2000) + `"}`, fail: "State payload is too large."},
		"cut off":             {raw: `{"type": "Failed"`, fail: "invalid state"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := store.ParseState(json.RawMessage(c.raw), 1000, c.gen, now)
			if c.fail != "" {
				if refusal, ok := errors.AsType[*store.Error](err); !ok || !strings.Contains(refusal.Message, c.fail) {
					t.Errorf("error is %v, want %q", err, c.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (got.Start == nil) != c.start.IsZero() || (got.Start != nil && !got.Start.Equal(c.start)) {
				t.Errorf("start is %v, want %v", got.Start, c.start)
			}
			if string(got.Raw) != c.raw {
				t.Errorf("raw is %s, want %s", got.Raw, c.raw)
			}
		})
	}
}

// TestStateComesBackUnchanged stores states with everything a client may put in.
func TestStateComesBackUnchanged(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	id := f.run(store.FlowRunInput{FlowID: f.flow(`{"name": "f"}`)})
	want := `{"z":1.10,"a":12345678901234567890,"type":"Running","message":"ü \u2028 </b>","state":{"type":"Mapped","n_map_states":2},"__version__":"9"}`
	f.set(id, want)
	if got := f.value("SELECT serialized_state FROM flow_run WHERE id = ?", id); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzState(f *testing.F) {
	for _, seed := range []string{
		`{"type": "Scheduled", "start_time": "2020-05-14T12:00:00+00:00", "message": null}`, `{"type": "Submitted", "state": {"type": "Queued", "state": {}}}`,
		`{"type": "Paused"}`, `{"type": ["Paused"]}`, `{"type": "Retrying", "start_time": {}}`, `[[[[`, `{"type": "Running", "type": "Failed"}`, "\xff", `{"_result": {"location": "x"}, "type": "Success"}`,
	} {
		f.Add(seed)
	}
	now := newClock().now
	f.Fuzz(func(t *testing.T, text string) {
		for _, gen := range []store.Generation{store.Server0, store.Server1} {
			st, err := store.ParseState(json.RawMessage(text), 1<<16, gen, now)
			if err != nil {
				if _, ok := errors.AsType[*store.Error](err); !ok {
					t.Fatalf("error is no refusal: %v", err)
				}
				continue
			}
			if !st.Type.Known() || !json.Valid(st.Raw) {
				t.Fatalf("accepted %q as %+v", text, st)
			}
			if diff := cmp.Diff(strings.TrimSpace(text), string(st.Raw)); diff != "" && strings.TrimSpace(text) == text {
				t.Fatalf("state changed: %s", diff)
			}
		}
	})
}
