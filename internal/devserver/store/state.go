package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

const maxStateDepth = 64

// State is what the server reads of the JSON of a state. The JSON itself is
// kept whole: every key comes back unchanged.
type State struct {
	Type    StateType
	Message *string
	// Start is when a scheduled state is due; nil for states without a start time.
	Start *time.Time
	// Result is the value of _result as JSON, nil if there is none.
	Result json.RawMessage
	// Raw is the state as it was sent.
	Raw json.RawMessage
}

// ParseState reads the JSON of a state. Unknown keys are ignored and missing
// ones get the defaults of prefect/serialization/state.py: now for the start
// time of a scheduled state (Paused: ten years later in Server0, none in
// Server1). Unknown types are errors, as are texts that are not a JSON object,
// are deeper than 64 levels or larger than limit bytes.
func ParseState(raw json.RawMessage, limit int, gen Generation, now time.Time) (State, error) {
	if len(raw) > limit {
		return State{}, refuse("State payload is too large.")
	}
	if err := CheckDepth(raw, maxStateDepth); err != nil {
		return State{}, refuse("invalid state: %v", err)
	}
	var doc struct {
		Type    *string         `json:"type"`
		Message *string         `json:"message"`
		Start   json.RawMessage `json:"start_time"`
		Result  json.RawMessage `json:"_result"`
	}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' {
		return State{}, refuse("invalid state: want an object")
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return State{}, refuse("invalid state: %v", err)
	}
	if doc.Type == nil {
		return State{}, refuse("invalid state: type: missing data for required field")
	}
	st := State{Type: StateType(*doc.Type), Message: doc.Message, Result: doc.Result, Raw: raw}
	if !st.Type.Known() {
		return State{}, refuse("invalid state: type: unsupported value: %.40q", *doc.Type)
	}
	if !st.Type.IsScheduled() {
		return st, nil
	}
	start, err := startTime(doc.Start, st.Type, gen, now)
	st.Start = start
	return st, err
}

func startTime(raw json.RawMessage, typ StateType, gen Generation, now time.Time) (*time.Time, error) {
	if len(raw) == 0 || string(raw) == "null" {
		switch {
		case typ != Paused:
			return &now, nil
		case gen == Server0:
			later := now.AddDate(10, 0, 0)
			return &later, nil
		}
		// A paused state of 1.x has no start time.
		return nil, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, refuse("invalid state: start_time: want a string")
	}
	t, err := ParseTime(text)
	if err != nil {
		return nil, refuse("invalid state: start_time: %v", err)
	}
	return &t, nil
}

// CheckDepth refuses JSON that is nested deeper than limit. It only looks at
// brackets outside of texts, so it costs no stack and wants no valid JSON.
func CheckDepth(raw []byte, limit int) error {
	depth, inText := 0, false
	for i := 0; i < len(raw); i++ {
		switch b := raw[i]; {
		case inText && b == '\\':
			i++
		case b == '"':
			inText = !inText
		case inText:
		case b == '{' || b == '[':
			if depth++; depth > limit {
				return fmt.Errorf("nested deeper than %d levels", limit)
			}
		case b == '}' || b == ']':
			depth--
		}
	}
	return nil
}

// newState builds a state the server itself sets, with the keys that the Python
// serializer writes (prefect/serialization/state.py).
func newState(typ StateType, message, version string, extra map[string]any) json.RawMessage {
	doc := map[string]any{
		"type": string(typ), "message": message, "context": map[string]any{}, "cached_inputs": map[string]any{},
		"_result": map[string]any{"type": "NoResultType", "__version__": version}, "__version__": version,
	}
	maps.Copy(doc, extra)
	return mustJSON(doc)
}

// pendingTaskRun is what the database trigger of both servers writes; it has no
// other keys.
const pendingTaskRun = `{"type": "Pending", "message": "Task run created"}`

func (s *Store) clientVersion() string {
	if s.opts.Generation == Server0 {
		return "0.11.0"
	}
	return "1.4.1"
}

// mustJSON encodes values of this package, which are all encodable.
func mustJSON(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return bytes.TrimSpace(b.Bytes())
}
