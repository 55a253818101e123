package jobspec

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kjson "sigs.k8s.io/json"
)

// Problem is one place of a Job that Kubernetes' types have no room for.
type Problem struct {
	// Path is the place, such as spec.template.spec.containers[flow].env[PORT].value.
	Path string
	// Unknown is whether the key does not exist; otherwise the value has the
	// wrong type. Kubernetes drops unknown keys silently.
	Unknown bool
	// Text says what is wrong, and the nearest valid key if there is one.
	Text string
}

// DecodeError lists what keeps a tree from being a Job.
type DecodeError struct{ Problems []Problem }

func (e *DecodeError) Error() string {
	texts := make([]string, 0, maxProblems+1)
	for _, p := range e.Problems[:min(len(e.Problems), maxProblems)] {
		texts = append(texts, shorten(p.Path)+" "+p.Text)
	}
	if more := len(e.Problems) - maxProblems; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return "job: " + strings.Join(texts, "; ")
}

// OnlyUnknown reports whether the Job would work, less the unknown keys.
func (e *DecodeError) OnlyUnknown() bool {
	return !slices.ContainsFunc(e.Problems, func(p Problem) bool { return !p.Unknown })
}

const maxProblems = 5

// Decode turns a tree into a Job. Unknown keys and values of the wrong type are
// a *DecodeError. If nothing but unknown keys is wrong, the Job comes with it.
func Decode(tree Tree) (*batchv1.Job, error) {
	if err := checkType(tree); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, &DecodeError{Problems: []Problem{{Text: "cannot be written as JSON: " + err.Error()}}}
	}
	job := new(batchv1.Job)
	unknown, err := kjson.UnmarshalStrict(raw, job)
	if err == nil && len(unknown) == 0 {
		return job, nil
	}
	found := &DecodeError{Problems: compare(nil, "", tree, reflect.TypeFor[batchv1.Job]())}
	if len(found.Problems) == 0 {
		// Our own look found nothing, so the decoder's word has to do.
		found.Problems = append(found.Problems, Problem{Unknown: err == nil, Text: shorten(errors.Join(append(unknown, err)...).Error())})
	}
	if err != nil {
		return nil, found
	}
	return job, found
}

func checkType(tree Tree) error {
	for key, want := range map[string]string{"apiVersion": "batch/v1", "kind": "Job"} {
		if value, given := tree[key]; given && value != want {
			return &DecodeError{Problems: []Problem{{Path: key, Text: fmt.Sprintf("is not %q; the template must be a Job", want)}}}
		}
	}
	return nil
}

// compare walks a tree beside a Go type and lists where they differ. Values are
// never repeated: they may be secret.
func compare(found []Problem, path string, value any, t reflect.Type) []Problem {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil {
		return found
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return compareOpaque(found, path, value, t)
	}
	switch v := value.(type) {
	case Tree:
		return compareObject(found, path, v, t)
	case []any:
		if t.Kind() != reflect.Slice {
			break
		}
		for i, item := range v {
			found = compare(found, path+"["+itemName(i, item)+"]", item, t.Elem())
		}
		return found
	}
	if !fits(value, t) {
		found = append(found, Problem{Path: path, Text: "is " + article(kind(value)) + ", not " + article(word(t)) + quoteHint(value, t)})
	}
	return found
}

// itemName is the name of a container, variable or volume: the index counts what
// we put in front, which the author of a template does not know.
func itemName(i int, item any) string {
	if tree, ok := item.(Tree); ok {
		if name, ok := tree["name"].(string); ok && name != "" {
			return shorten(name)
		}
	}
	return strconv.Itoa(i)
}

func compareObject(found []Problem, path string, tree Tree, t reflect.Type) []Problem {
	fields := fieldTypes(t)
	for _, key := range sortedKeys(tree) {
		place := join(path, key)
		switch field, ok := fields[key]; {
		case t.Kind() == reflect.Map:
			found = compare(found, place, tree[key], t.Elem())
		case t.Kind() != reflect.Struct:
			return append(found, Problem{Path: path, Text: "is an object, not " + article(word(t))})
		case ok:
			found = compare(found, place, tree[key], field)
		default:
			found = append(found, Problem{Path: place, Unknown: true, Text: "is an unknown key" + nearest(key, fields)})
		}
	}
	return found
}

// compareOpaque asks types such as Quantity, which read more than one JSON type.
func compareOpaque(found []Problem, path string, value any, t reflect.Type) []Problem {
	raw, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	if err != nil {
		text := "is not a valid " + t.Name()
		if quantity, ok := value.(string); ok && t == reflect.TypeFor[resource.Quantity]() {
			text = fmt.Sprintf("%q %s", shorten(quantity), text)
		}
		found = append(found, Problem{Path: path, Text: text})
	}
	return found
}

// fieldTypes maps a struct's JSON keys to the types behind them.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	if t.Kind() != reflect.Struct {
		return fields
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			maps.Copy(fields, fieldTypes(f.Type))
			continue
		}
		if name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}

func fits(value any, t reflect.Type) bool {
	switch value.(type) {
	case string:
		return t.Kind() == reflect.String
	case bool:
		return t.Kind() == reflect.Bool
	}
	raw, err := json.Marshal(value)
	return err == nil && json.Unmarshal(raw, reflect.New(t).Interface()) == nil
}

// word is what a person would call the type.
func word(t reflect.Type) string {
	switch k := t.Kind(); {
	case k == reflect.Struct || k == reflect.Map:
		return "object"
	case k == reflect.Slice:
		return "list"
	case k == reflect.Bool:
		return "boolean"
	case k >= reflect.Int && k <= reflect.Int64:
		return "whole number in range"
	}
	return t.Kind().String()
}

func quoteHint(value any, t reflect.Type) string {
	if k := kind(value); t.Kind() == reflect.String && (k == "number" || k == "boolean") {
		return "; put it in quotes"
	}
	return ""
}

const maxKey = 64

// nearest names the valid key with the fewest changes, if that is at most a
// third of it.
func nearest(key string, fields map[string]reflect.Type) string {
	best, least := "", len(key)/3+2
	for _, candidate := range sortedKeys(fields) {
		if len(key) > maxKey {
			break
		}
		if d := levenshtein.ComputeDistance(strings.ToLower(key), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		return "; remove it"
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
