package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/plain"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// valueError is what is wrong with a value; the place is added by the caller.
type valueError struct {
	problem, mend string
}

func (e *valueError) Error() string { return e.problem }

func problem(place string, err error) error {
	if v, ok := errors.AsType[*valueError](err); ok {
		return &Error{Place: place, Problem: v.problem, Mend: v.mend}
	}
	return &Error{Place: place, Problem: err.Error()}
}

// assign puts the value of a setting where target points. What is empty gets
// the default: an empty NAMESPACE is an unset one (D-72).
func (s *stack) assign(setting Setting, target any) error {
	path := setting.id()
	if credential, ok := target.(*secret.Value); ok {
		return s.credential(setting, credential)
	}
	raw, _ := lookup(s.tree, path)
	place := s.place(path)
	if s.rank(path) != rankFlags {
		raw = s.text(setting, raw)
	}
	if raw == nil || raw == "" {
		raw, place = s.text(setting, setting.Default), "default"
	}
	if table, ok := raw.(map[string]any); ok && setting.Kind == Pairs {
		pairs, err := s.tablePairs(table)
		if err != nil {
			return problem(place, err)
		}
		raw = pairs
	}
	if err := put(target, raw); err != nil {
		return problem(place, err)
	}
	return nil
}

// text expands what is one text; lists and variables are literal.
func (s *stack) text(setting Setting, raw any) any {
	if text, ok := raw.(string); ok && setting.Kind != List && setting.Kind != Pairs {
		return s.resolve(s.expand(text))
	}
	return raw
}

// put converts a raw value to the type of the target.
func put(target, raw any) (err error) {
	switch t := target.(type) {
	case *string:
		*t, err = textOf(raw)
	case *bool:
		*t, err = convert(raw, parseBool)
	case *int:
		*t, err = convert(raw, parseInt)
	case *time.Duration:
		*t, err = convert(raw, parseDuration)
	case *[]string:
		*t, err = listOf(raw)
	case *[]Pair:
		*t, err = pairsOf(raw)
	default:
		panic(fmt.Sprintf("setting of type %T", target))
	}
	return err
}

// credential settles between the text and the file. A text is taken literally,
// except that one in a file may be the name of a variable.
func (s *stack) credential(setting Setting, target *secret.Value) error {
	path := setting.id()
	text, err := s.literal(path)
	if err != nil {
		return err
	}
	file, err := s.literal(fileID(path))
	if err != nil {
		return err
	}
	switch byText, byFile := s.rank(path), s.rank(fileID(path)); {
	case text != "" && file != "" && byText == byFile:
		return &Error{Place: s.place(path), Problem: "given twice, also by " + s.place(fileID(path)), Mend: "keep one of them"}
	case file != "" && (text == "" || byFile > byText):
		*target = secret.File(s.expand(file))
		s.credentials[joined(path)] = s.place(fileID(path))
	default:
		*target = secret.New(text)
		s.credentials[joined(path)] = s.place(path)
	}
	return nil
}

func fileID(path []string) []string {
	path = slices.Clone(path)
	path[len(path)-1] += "_file"
	return path
}

func (s *stack) literal(path []string) (string, error) {
	raw, _ := lookup(s.tree, path)
	text, err := textOf(raw)
	if err != nil {
		return "", problem(s.place(path), err)
	}
	if s.rank(path) == rankFile {
		text = s.expand(text)
	}
	return text, nil
}

// textOf gives what TOML has as number or switch the form it has as text.
func textOf(raw any) (string, error) {
	switch v := raw.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		text := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.ContainsAny(text, ".IN") {
			text += ".0"
		}
		return text, nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	case fmt.Stringer: // the local dates of TOML
		return v.String(), nil
	default:
		return "", &valueError{problem: "want one value, got a list or table"}
	}
}

func convert[T any](raw any, parse func(string) (T, error)) (T, error) {
	text, err := textOf(raw)
	if err != nil {
		var none T
		return none, err
	}
	return parse(strings.TrimSpace(text))
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	default:
		return false, &valueError{problem: fmt.Sprintf("%q is neither true nor false", short(text))}
	}
}

// underscored is an integer in which Python allows an underscore between digits.
var underscored = regexp.MustCompile(`^[-+]?\d+(_\d+)+$`)

func parseInt(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil && underscored.MatchString(text) {
		n, err = strconv.Atoi(strings.ReplaceAll(text, "_", ""))
	}
	if err != nil {
		return 0, &valueError{problem: fmt.Sprintf("%q is not a valid integer", short(text))}
	}
	return n, nil
}

// parseDuration accepts 90s, 2m and plain seconds, as Prefect's own settings have.
func parseDuration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 && seconds < 1e9 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, &valueError{problem: fmt.Sprintf("%q is not a duration", short(text)), mend: "write 30s, 2m or a number of seconds"}
	}
	return d, nil
}

// short cuts what is shown of a wrong value.
func short(text string) string { return plain.Line(text, 64) }

func listOf(raw any) ([]string, error) {
	switch v := raw.(type) {
	case nil:
		return nil, nil
	case []string:
		return v, nil
	case string:
		return parseList(v)
	case []any:
		return textsOf(v)
	default:
		text, err := textOf(raw)
		return []string{text}, err
	}
}

func textsOf(items []any) ([]string, error) {
	out := make([]string, 0, len(items))
	for _, item := range items {
		text, err := textOf(item)
		if err != nil {
			return nil, &valueError{problem: "want a list of texts"}
		}
		out = append(out, text)
	}
	return out, nil
}

func pairsOf(raw any) ([]Pair, error) {
	switch v := raw.(type) {
	case nil:
		return nil, nil
	case []Pair:
		return v, nil
	case string:
		return parsePairs(v)
	default:
		return nil, &valueError{problem: "want a table of names and values"}
	}
}

// tablePairs gives a table the order in which files and variables have its names.
func (s *stack) tablePairs(table map[string]any) ([]Pair, error) {
	var pairs []Pair
	for _, name := range slices.SortedFunc(maps.Keys(table), s.compareNames) {
		text, err := textOf(table[name])
		if err != nil {
			return nil, &valueError{problem: fmt.Sprintf("value of %q is a list or table", short(name)), mend: "write it as text in quotes"}
		}
		if name == "" {
			return nil, &valueError{problem: "a name is empty"}
		}
		pairs = append(pairs, Pair{Name: name, Value: text})
	}
	return pairs, nil
}
