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

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kjson "sigs.k8s.io/json"
)

// Problem is one place of a Job that Kubernetes' types have no room for.
type Problem struct {
	// Path is the place, such as spec.template.spec.containers[flow].env[PORT].value.
	Path string
	// Line and Column are the place in the template's text, which Source names;
	// zero where the template did not come as YAML or the value is not from it.
	Line, Column int
	Source       string
	// Unknown is whether the key does not exist; otherwise the value has the
	// wrong type. Kubernetes drops unknown keys silently.
	Unknown bool
	// Text says what is wrong, Mend what to do about it: where the key belongs,
	// or the nearest one that there is.
	Text, Mend string
}

// DecodeError lists what keeps a tree from being a Job: all values of a wrong
// type, and the first twenty unknown keys.
type DecodeError struct {
	Problems []Problem
	// More is how many unknown keys are not listed.
	More int
}

func (e *DecodeError) Error() string {
	texts := make([]string, 0, maxProblems+1)
	for _, p := range e.Problems[:min(len(e.Problems), maxProblems)] {
		texts = append(texts, p.String())
	}
	if more := len(e.Problems) + e.More - maxProblems; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return "job: " + strings.Join(texts, "; ")
}

func (p Problem) String() string {
	return Warning{Place: p.place(), Text: p.Text, Mend: p.Mend}.String()
}

func (p Problem) place() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s (line %d, column %d of %q)", shorten(p.Path), p.Line, p.Column, shorten(p.Source))
	}
	return shorten(p.Path)
}

// OnlyUnknown reports whether the Job would work, less the unknown keys.
func (e *DecodeError) OnlyUnknown() bool {
	return !slices.ContainsFunc(e.Problems, func(p Problem) bool { return !p.Unknown })
}

const (
	maxProblems = 5
	// maxListed bounds the unknown keys of a DecodeError.
	maxListed = 20
)

// Decode turns a tree into a Job. Unknown keys and values of the wrong type are
// a *DecodeError. If nothing but unknown keys is wrong, the Job comes with it.
func Decode(tree Tree) (*batchv1.Job, error) { return decode(tree, nil) }

func decode(tree Tree, places *places) (*batchv1.Job, error) {
	if err := checkType(tree, places); err != nil {
		return nil, err
	}
	if oddQuantities(tree, false) {
		c := comparer{places: places}
		if c.compare(spot{}, tree, reflect.TypeFor[batchv1.Job]()); len(c.found) > 0 {
			return nil, &DecodeError{Problems: c.found}
		}
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
	c := comparer{places: places}
	c.compare(spot{}, tree, reflect.TypeFor[batchv1.Job]())
	found := &DecodeError{Problems: c.found, More: max(c.unknown-maxListed, 0)}
	if len(found.Problems) == 0 {
		// Our own look found nothing, so the decoder's word has to do.
		found.Problems = append(found.Problems, Problem{Unknown: err == nil, Text: shorten(errors.Join(append(unknown, err)...).Error())})
	}
	if err != nil {
		return nil, found
	}
	return job, found
}

func checkType(tree Tree, places *places) error {
	for _, must := range []struct{ key, want string }{{"kind", "Job"}, {"apiVersion", "batch/v1"}} {
		if value := tree[must.key]; value != nil && value != must.want {
			c := comparer{places: places}
			c.add(spot{path: must.key, position: places.value(tree, must.key)}, fmt.Sprintf("is not %q", must.want)).Mend = mendKind(value)
			return &DecodeError{Problems: c.found}
		}
	}
	return nil
}

// comparer walks a tree beside a Go type and lists where they differ. Values are
// never repeated: they may be secret.
type comparer struct {
	found  []Problem
	places *places
	// unknown counts the unknown keys; only the first are listed.
	unknown int
}

// spot is a place in the tree and in the text behind it.
type spot struct {
	path     string
	position position
}

func (c *comparer) add(s spot, text string) *Problem {
	problem := Problem{Path: s.path, Text: text}
	if s.position.line > 0 {
		problem.Line, problem.Column, problem.Source = s.position.line, s.position.column, c.places.source
	}
	c.found = append(c.found, problem)
	return &c.found[len(c.found)-1]
}

func (c *comparer) compare(s spot, value any, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil {
		return
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		c.compareOpaque(s, value, t)
		return
	}
	if tree, ok := value.(Tree); ok {
		c.compareObject(s, tree, t)
		return
	}
	if !fits(value, t) {
		c.add(s, "is "+article(kind(value))+", not "+article(word(t))).Mend = quoteHint(value, t)
	}
}

// compareMember compares a value that may be a list, whose items are looked up by
// the object and key that hold it.
func (c *comparer) compareMember(path string, parent Tree, key string, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	list, ok := parent[key].([]any)
	if !ok || t.Kind() != reflect.Slice {
		c.compare(spot{path, c.places.value(parent, key)}, parent[key], t)
		return
	}
	for i, item := range list {
		c.compare(spot{path + "[" + itemName(i, item) + "]", c.places.item(parent, key, i)}, item, t.Elem())
	}
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

func (c *comparer) compareObject(s spot, tree Tree, t reflect.Type) {
	if t.Kind() != reflect.Map && t.Kind() != reflect.Struct {
		c.add(s, "is an object, not "+article(word(t)))
		return
	}
	fields := fieldTypes(t)
	for _, key := range sortedKeys(tree) {
		path := join(s.path, key)
		switch field, ok := fields[key]; {
		case t.Kind() == reflect.Map:
			c.compareMember(path, tree, key, t.Elem())
		case ok:
			c.compareMember(path, tree, key, field)
		default:
			if c.unknown++; c.unknown <= maxListed {
				problem := c.add(spot{path, c.places.key(tree, key)}, "is an unknown key")
				problem.Unknown, problem.Mend = true, mendKey(key, fields)
			}
		}
	}
}

// compareOpaque asks types such as Quantity, which read more than one JSON type.
func (c *comparer) compareOpaque(s spot, value any, t reflect.Type) {
	raw, err := json.Marshal(value)
	odd := t == reflect.TypeFor[resource.Quantity]() && oddQuantity(strings.Trim(string(raw), `"`))
	if err == nil && !odd {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	if err != nil || odd {
		text, mend := "is not a valid "+t.Name(), ""
		if t == reflect.TypeFor[resource.Quantity]() {
			mend = "write it like 500m or 2 for CPU, 512Mi or 2Gi for memory"
			if quantity, ok := value.(string); ok {
				text = fmt.Sprintf("%q %s", shorten(quantity), text)
			}
		}
		c.add(s, text).Mend = mend
	}
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
		return "put it in quotes"
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
