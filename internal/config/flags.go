package config

import (
	"errors"
	"slices"
	"strings"
)

// flagLayer makes the layer of flags.
func flagLayer(settings []Setting, given map[string][]string) (layer, error) {
	tree := map[string]any{}
	names := map[string]string{}
	var problems []error
	for _, s := range settings {
		for _, f := range s.Flags {
			value, err := flagValue(s, f, given[f.Name])
			if err != nil {
				problems = append(problems, problem("--"+f.Name, err))
			}
			if value != nil {
				plant(tree, s.id(), value)
				names[joined(s.id())] = "--" + f.Name
			}
		}
	}
	return layer{rank: rankFlags, tree: tree, place: func(path []string) string { return names[joined(path)] }}, errors.Join(problems...)
}

// flagValue is what a flag says about its setting, nil if nothing. An empty
// text says nothing: the reference has "value or config" everywhere.
func flagValue(s Setting, f Flag, given []string) (any, error) {
	switch {
	case len(given) == 0:
		return nil, nil
	case s.Kind == Pairs:
		return flagPairs(given)
	case f.Repeated:
		return slices.Clone(given), nil
	}
	last := given[len(given)-1]
	if f.Means != "" {
		return switchValue(s, f, last)
	}
	if last == "" && len(f.Choices) == 0 {
		return nothing(s)
	}
	if len(f.Choices) > 0 && !slices.ContainsFunc(f.Choices, func(c string) bool { return strings.EqualFold(c, last) }) {
		return nil, wrong(last, f.Choices...)
	}
	return last, nil
}

// nothing is what an empty value says, unless a number is wanted.
func nothing(s Setting) (any, error) {
	if s.Kind != Integer {
		return nil, nil
	}
	_, err := parseInt("")
	return nil, err
}

// switchValue turns --flag and --flag=false into the value of the setting.
func switchValue(s Setting, f Flag, given string) (any, error) {
	on, err := parseBool(given)
	switch {
	case err != nil:
		return nil, err
	case on:
		return f.Means, nil
	case s.Kind == Bool:
		return map[string]string{"true": "false", "false": "true"}[f.Means], nil
	default:
		return nil, nil // switched off is as good as not given
	}
}

// flagPairs reads NAME=value. The first equal sign ends the name (D-02).
func flagPairs(given []string) (any, error) {
	var pairs []Pair
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			// The text may be a value whose name was forgotten, so it is not shown.
			return nil, &valueError{problem: "want NAME=value", mend: "write an equal sign after the name, also before an empty value"}
		}
		pairs = withPair(pairs, Pair{Name: name, Value: value})
	}
	return pairs, nil
}

// withPair adds a pair. A name that is there keeps its place and gets the new
// value, as in a Python dict.
func withPair(pairs []Pair, p Pair) []Pair {
	for i := range pairs {
		if pairs[i].Name == p.Name {
			pairs[i].Value = p.Value
			return pairs
		}
	}
	return append(pairs, p)
}
