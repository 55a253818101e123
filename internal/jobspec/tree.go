package jobspec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds on foreign JSON and YAML. A Job larger than 1.5 MiB does not fit into
// etcd anyway.
const (
	maxBytes = 1 << 20
	maxDepth = 64
)

// decodeJSON reads one JSON value; field names it in errors.
func decodeJSON(field string, raw json.RawMessage) (any, error) {
	if err := checkBounds(field, raw); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, notJSON(field, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, &FieldError{Field: field, Problem: "has something behind the JSON value"}
	}
	return plainNumbers(value), nil
}

func notJSON(field string, err error) error {
	return &FieldError{Field: field, Problem: "is not valid JSON: " + err.Error(), Mend: "register the flow again"}
}

// checkBounds refuses JSON that is too long or nested too deeply.
func checkBounds(field string, raw []byte) error {
	if len(raw) > maxBytes {
		return &FieldError{Field: field, Problem: fmt.Sprintf("has %d bytes, at most %d are read", len(raw), maxBytes), Mend: "make it smaller"}
	}
	depth, inText := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return &FieldError{Field: field, Problem: fmt.Sprintf("is nested more than %d deep", maxDepth), Mend: "make it flatter"}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// plainNumbers turns each json.Number into int64 or float64 if that keeps its value.
func plainNumbers(value any) any {
	switch v := value.(type) {
	case Tree:
		for key, item := range v {
			v[key] = plainNumbers(item)
		}
	case []any:
		for i, item := range v {
			v[i] = plainNumbers(item)
		}
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		if bytes.ContainsAny([]byte(v.String()), ".eE") {
			if f, err := v.Float64(); err == nil {
				return f
			}
		}
	}
	return value
}

// clone copies a tree, so that a shared template is never changed.
func clone(value any) any {
	switch v := value.(type) {
	case Tree:
		out := make(Tree, len(v))
		for key, item := range v {
			out[key] = clone(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = clone(item)
		}
		return out
	}
	return value
}

// kind is the JSON word for a value's type.
func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case Tree:
		return "object"
	case []any:
		return "list"
	case string:
		return "string"
	case bool:
		return "boolean"
	case int64, float64, json.Number:
		return "number"
	}
	return fmt.Sprintf("%T", value)
}

// article puts "a" or "an" in front of a JSON word; null needs none.
func article(word string) string {
	switch {
	case word == "null":
		return word
	case strings.ContainsAny(word[:1], "aeiou"):
		return "an " + word
	}
	return "a " + word
}

// truthy is Python's bool(value), by which the reference chooses templates.
func truthy(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case Tree:
		return len(v) > 0
	case []any:
		return len(v) > 0
	case string:
		return v != ""
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	}
	return true
}

func wrongKind(path string, value any, want string, p position) error {
	return &FieldError{Field: path, Line: p.line, Column: p.column, Problem: "is " + article(kind(value)) + ", not " + article(want), Mend: "correct it or leave it out"}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
