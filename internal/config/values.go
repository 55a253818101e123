package config

import (
	"cmp"
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
	if items, ok := target.(*[]string); ok {
		found, err := s.list(raw, place)
		if *items = found; err != nil {
			return problem(place, err)
		}
		return nil
	}
	err := put(target, raw, setting.Values)
	if text, ok := target.(*string); ok && setting.Kind == Quantity && err == nil {
		*text, err = parseQuantity(*text)
	}
	if err != nil {
		// The default is no fault of its own; Validate is to find the others.
		err = errors.Join(problem(place, err), put(target, s.text(setting, setting.Default), nil))
	}
	if len(setting.Values) > 0 {
		plant(s.tree, path, *target.(*string)) //nolint:forcetypeassert // only texts have values; others may refer to this one
	}
	return err
}

// text expands what is one text; lists and variables are literal.
func (s *stack) text(setting Setting, raw any) any {
	if text, ok := raw.(string); ok && setting.Kind != List && setting.Kind != Pairs {
		return s.resolve(s.expand(text))
	}
	return raw
}

// list takes any spelling of a list. What is odd about a text is a warning: it never
// keeps an agent from starting.
func (s *stack) list(raw any, place string) ([]string, error) {
	switch v := raw.(type) {
	case nil:
		return nil, nil
	case []string:
		return v, nil
	case []any:
		return textsOf(v)
	case string:
		items, odd := parseList(v)
		if odd != nil {
			s.warnings = append(s.warnings, fmt.Sprintf("%v; it is read as a list of %d", problem(place, odd), len(items)))
		}
		return items, nil
	default:
		text, err := textOf(raw)
		return []string{text}, err
	}
}

// put converts a raw value to the type of the target.
func put(target, raw any, values []string) (err error) {
	switch t := target.(type) {
	case *string:
		if *t, err = textOf(raw); err == nil {
			*t, err = oneOf(*t, values)
		}
	case *bool:
		*t, err = convert(raw, parseBool)
	case *int:
		*t, err = convert(raw, parseInt)
	case *time.Duration:
		*t, err = convert(raw, parseDuration)
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

// oneOf takes a value in any case.
func oneOf(text string, values []string) (string, error) {
	for _, v := range values {
		if strings.EqualFold(v, strings.TrimSpace(text)) {
			return v, nil
		}
	}
	if text == "" || len(values) == 0 {
		return text, nil
	}
	return "", wrong(text, values...)
}

// wrong describes a value that is none of the possible ones. It shows the value only
// where that is nearly one of them: anything else may be a credential in the wrong place.
func wrong(text string, possible ...string) error {
	mend := "use one of " + strings.Join(possible, ", ")
	if best := Nearest(strings.ToLower(text), lower(possible)); best != "" {
		return &valueError{problem: fmt.Sprintf("%q is not a possible value", text), mend: mend}
	}
	return &valueError{problem: "not a possible value", mend: mend}
}

func lower(texts []string) []string {
	var out []string
	for _, text := range texts {
		out = append(out, strings.ToLower(text))
	}
	return out
}

// harmless is what an error may show of a number or duration that cannot be used.
var harmless = regexp.MustCompile(`^[-+0-9._ smhunµ]{0,16}$`)

// shown is a wrong number for an error. Anything but digits and units may be a
// credential in the wrong place.
func shown(text string) string {
	if harmless.MatchString(text) {
		return strconv.Quote(text)
	}
	return "the value"
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
		return false, &valueError{problem: shown(text) + " is neither true nor false", mend: "write true or false"}
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
		return 0, &valueError{problem: shown(text) + " is not a valid integer", mend: "write digits, such as 10"}
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
		return 0, &valueError{problem: shown(text) + " is not a duration", mend: "write 30s, 2m or a number of seconds"}
	}
	return d, nil
}

// short cuts what is shown of a wrong value.
func short(text string) string { return plain.Line(text, 64) }

// textsOf reads the list of a file. An item may be a table with nothing but a name, as
// Kubernetes lists references.
func textsOf(items []any) ([]string, error) {
	out := make([]string, 0, len(items))
	for _, item := range items {
		if table, ok := item.(map[string]any); ok && len(table) == 1 {
			item = cmp.Or(table["name"], item)
		}
		text, err := textOf(item)
		if err != nil {
			return nil, &valueError{problem: "want a list of texts", mend: `write ["a", "b"]`}
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
