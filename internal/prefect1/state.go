package prefect1

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// The keys that we add to the context of a state. Prefect 0.11.0 and 1.4.1 load
// such states and keep the context.
const (
	keyAgent     = "agent"
	keyPlace     = "place"
	keyPlaceName = "place_name"
	keyNamespace = "namespace"
	keyJob       = "job"
	keyOn        = "on"
	keyOnType    = "on_type"
	keyPutBack   = "put_back"
)

type wireState struct {
	Type      string          `json:"type"`
	Message   *string         `json:"message"`
	StartTime *string         `json:"start_time"`
	Context   json.RawMessage `json:"context"`
}

// ParseState reads a state as it travels. Unknown keys and types are kept, since
// newer clients may write them; only what is no state at all is an error.
func ParseState(data json.RawMessage) (flowrun.State, error) {
	var w *wireState
	if err := json.Unmarshal(data, &w); err != nil {
		return flowrun.State{}, fmt.Errorf("state: %w", err)
	}
	if w == nil {
		return flowrun.State{}, errors.New("state: null instead of an object")
	}
	if w.Type == "" {
		return flowrun.State{}, errors.New("state: type missing")
	}
	s := flowrun.State{Type: flowrun.StateType(w.Type), Data: data}
	if w.Message != nil {
		s.Message = *w.Message
	}
	if w.StartTime != nil {
		start, err := parseTime(*w.StartTime)
		if err != nil {
			return flowrun.State{}, fmt.Errorf("state: start_time: %w", err)
		}
		s.Start = start
	}
	s.Mark = parseMark(s.Type, w.Context)
	return s, nil
}

// parseTime accepts the forms that Prefect writes: with an offset, or without
// one, which means UTC.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		if utc, naive := time.Parse("2006-01-02T15:04:05.999999999", text); naive == nil {
			return utc, nil
		}
	}
	return t, err
}

type wireMark struct {
	Agent     string `json:"agent"`
	Place     string `json:"place"`
	PlaceName string `json:"place_name"`
	Namespace string `json:"namespace"`
	Job       string `json:"job"`
	On        int    `json:"on"`
	OnType    string `json:"on_type"`
	PutBack   bool   `json:"put_back"`
}

// parseMark reads what one of our processes left. A context of another shape is
// somebody else's, whatever it holds.
func parseMark(t flowrun.StateType, context json.RawMessage) flowrun.Mark {
	var w wireMark
	if len(context) == 0 || json.Unmarshal(context, &w) != nil || w.Agent == "" || w.Place == "" {
		return flowrun.Mark{}
	}
	m := flowrun.Mark{
		Agent: w.Agent, Place: flowrun.ParsePlace(w.Place, w.PlaceName), Namespace: w.Namespace, Job: w.Job,
		On: w.On, OnType: flowrun.StateType(w.OnType),
	}
	switch {
	case w.PutBack:
		m.Kind = flowrun.PutBack
	case t == flowrun.Submitted && w.Job != "":
		m.Kind = flowrun.Claim
	case t == flowrun.Failed && w.OnType != "":
		m.Kind = flowrun.Verdict
	default:
		return flowrun.Mark{}
	}
	return m
}

func markContext(m flowrun.Mark) map[string]any {
	context := map[string]any{}
	if m.Kind == flowrun.Foreign {
		return context
	}
	context[keyAgent], context[keyPlace], context[keyOn] = m.Agent, m.Place.String(), m.On
	if m.Place.UID != "" && m.Place.Name != "" {
		context[keyPlaceName] = m.Place.Name
	}
	if m.Kind == flowrun.Claim {
		context[keyNamespace], context[keyJob] = m.Namespace, m.Job
	}
	if m.Kind == flowrun.Verdict {
		context[keyOnType] = m.OnType
	}
	if m.Kind == flowrun.PutBack {
		context[keyPutBack] = true
	}
	return context
}

// encodeState writes a state with every key that the Python serialiser writes
// (serialization/state.py), at the version that we speak.
func encodeState(w flowrun.Write, version string) map[string]any {
	if w.Mark.Kind == flowrun.PutBack {
		if state, ok := encodePutBack(w); ok {
			return state
		}
	}
	state := map[string]any{
		"type": w.Type, "message": w.Message,
		"context": markContext(w.Mark), "cached_inputs": map[string]any{},
		"_result":     map[string]any{"type": "NoResultType", "__version__": version},
		"__version__": version,
	}
	if w.Type == flowrun.Submitted {
		state["state"] = w.Inner
	}
	return state
}

// encodePutBack writes a state again with all its data: results, tags and what a
// newer client may have added. ok is false if the data is no state.
func encodePutBack(w flowrun.Write) (state map[string]any, ok bool) {
	var whole, context map[string]json.RawMessage
	if json.Unmarshal(w.Inner, &whole) != nil || whole == nil {
		return nil, false
	}
	_ = json.Unmarshal(whole["context"], &context) // what is no object holds nothing of ours
	marked := withValues(context)
	maps.Copy(marked, markContext(w.Mark))
	state = withValues(whole)
	state["context"] = marked
	return state, true
}

// withValues are fields as they travel, beside those that are still to be written.
func withValues(fields map[string]json.RawMessage) map[string]any {
	out := make(map[string]any, len(fields)+1)
	for name, data := range fields {
		out[name] = data
	}
	return out
}
