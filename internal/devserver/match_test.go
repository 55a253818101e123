package devserver_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bindings maps placeholders to the values they stand for.
type bindings map[string]string

var placeholder = regexp.MustCompile(`\{\{([a-z_]+)([:+-][^}]*)?\}\}`)

// fill replaces the placeholders of an input.
func (b bindings) fill(t *testing.T, text string) string {
	t.Helper()
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		offset, _ := strconv.ParseFloat(m[2], 64)
		at := time.Now().UTC().Add(time.Duration(offset * float64(time.Second)))
		switch m[1] {
		case "time":
			return at.Format("2006-01-02T15:04:05.000000-07:00")
		case "naive_time":
			return at.Format("2006-01-02T15:04:05.000000")
		case "api":
			return "http://localhost:4200"
		}
		value, ok := b[p]
		if !ok {
			t.Fatalf("placeholder %s is used before it is bound", p)
		}
		return value
	})
}

func (b bindings) fillJSON(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	return b.fill(t, string(raw))
}

// jsonColumns are the keys below which an answer may have further keys.
func jsonColumn(key string) bool {
	switch key {
	case "settings", "serialized_state", "storage", "environment", "run_config", "parameters", "context", "info",
		"serialized_flow", "labels", "schedule", "data", "value":
		return true
	}
	return false
}

func compareAnswer(b bindings, want, got map[string]any, inOrder bool) string {
	if errs, ok := want["errors"].([]any); ok {
		return compareErrors(errs, got["errors"])
	}
	return compare(b, want, got, "answer", false, inOrder)
}

func compareErrors(want []any, got any) string {
	list, _ := got.([]any)
	if len(list) == 0 {
		return "no errors in the answer"
	}
	for _, w := range want {
		text, _ := json.Marshal(w)
		all, _ := json.Marshal(list)
		for _, tested := range []string{"VERSION_LOCKING_ERROR", `"Uniqueness violation."`, "State update failed"} {
			if strings.Contains(string(text), tested) && !strings.Contains(string(all), tested) {
				return fmt.Sprintf("errors are %s, want %s", all, tested)
			}
		}
	}
	return ""
}

// compare returns a description of the first difference. loose allows further
// keys. Unordered lists match in any order that binds the placeholders.
func compare(b bindings, want, got any, path string, loose, inOrder bool) string {
	switch want := want.(type) {
	case map[string]any:
		return compareObject(b, want, got, path, loose, inOrder)
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("%s is %v, want %d elements", path, got, len(want))
		}
		if inOrder || loose {
			return compareInOrder(b, want, list, path, loose, inOrder)
		}
		return compareAnyOrder(b, want, list, path)
	case string:
		return compareText(b, want, got, path)
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Sprintf("%s is %v, want %v", path, got, want)
	}
	return ""
}

func compareObject(b bindings, want map[string]any, got any, path string, loose, inOrder bool) string {
	object, ok := got.(map[string]any)
	if !ok {
		return fmt.Sprintf("%s is %v, want an object", path, got)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value, ok := object[key]
		if !ok {
			return fmt.Sprintf("%s has no %s", path, key)
		}
		if key == "hello" {
			continue
		}
		if diff := compare(b, want[key], value, path+"."+key, loose || jsonColumn(key), inOrder); diff != "" {
			return diff
		}
	}
	if !loose && len(object) != len(want) {
		return fmt.Sprintf("%s has keys %v, want %v", path, slices.Sorted(maps.Keys(object)), slices.Sorted(maps.Keys(want)))
	}
	return ""
}

func compareInOrder(b bindings, want, got []any, path string, loose, inOrder bool) string {
	for i := range want {
		if diff := compare(b, want[i], got[i], fmt.Sprintf("%s[%d]", path, i), loose, inOrder); diff != "" {
			return diff
		}
	}
	return ""
}

// compareAnyOrder pairs the elements off, taking back a pairing that leaves no
// partner for a later element.
func compareAnyOrder(b bindings, want, got []any, path string) string {
	if len(want) == 0 {
		return ""
	}
	first := ""
	for i := range got {
		try := maps.Clone(b)
		diff := compare(try, want[0], got[i], path+"[]", false, false)
		if diff == "" {
			diff = compareAnyOrder(try, want[1:], slices.Concat(got[:i], got[i+1:]), path)
		}
		if diff == "" {
			maps.Copy(b, try)
			return ""
		}
		if first == "" {
			first = diff
		}
	}
	return first
}

// compareText matches a text that may hold placeholders.
func compareText(b bindings, want string, got any, path string) string {
	text, ok := got.(string)
	if !ok {
		return fmt.Sprintf("%s is %v, want %q", path, got, want)
	}
	var pattern strings.Builder
	pattern.WriteString("^")
	var names []string
	rest := want
	for _, at := range placeholder.FindAllStringIndex(want, -1) {
		pattern.WriteString(regexp.QuoteMeta(want[len(want)-len(rest) : at[0]]))
		pattern.WriteString("(.+?)")
		names = append(names, want[at[0]:at[1]])
		rest = want[at[1]:]
	}
	pattern.WriteString(regexp.QuoteMeta(rest) + "$")
	m := regexp.MustCompile(`(?s)` + pattern.String()).FindStringSubmatch(text)
	if m == nil {
		return fmt.Sprintf("%s is %q, want %q", path, text, want)
	}
	for i, name := range names {
		if diff := b.match(name, m[i+1]); diff != "" {
			return path + ": " + diff
		}
	}
	return ""
}

func (b bindings) match(name, text string) string {
	if strings.HasPrefix(name, "{{time") || strings.HasPrefix(name, "{{naive_time") {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05,999", "2006-01-02 15:04:05.999999"} {
			if _, err := time.Parse(layout, text); err == nil {
				return ""
			}
		}
		return fmt.Sprintf("%q is no timestamp", text)
	}
	if old, ok := b[name]; ok && old != text && !strings.HasPrefix(name, "{{generated") {
		return fmt.Sprintf("%s is %q, before it was %q", name, text, old)
	}
	b[name] = text
	return ""
}
