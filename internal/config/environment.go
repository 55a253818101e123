package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	foreignPrefix = "PREFECT__"
	ourPrefix     = "PREFECT_KUBE_"
	// maxDepth bounds the parts of a PREFECT__ variable. Prefect's own settings have at most five.
	maxDepth = 16
)

// variables turns NAME=value into a map; the last of a name wins.
func variables(env []string) map[string]string {
	vars := make(map[string]string, len(env))
	for _, entry := range env {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			vars[name] = value
		}
	}
	return vars
}

// environment makes the layer of variables: PREFECT__A__B for any key,
// PREFECT_KUBE_A for ours, and plain names such as NAMESPACE.
func (s *stack) environment(settings []Setting) (layer, error) {
	tree := map[string]any{}
	names := map[string]string{} // place in the tree → variable
	set := func(path []string, variable, value string) {
		// configuration.py makes one Python literal of each variable, so quotes around it
		// are none of the value. Files of variables leave them.
		if inner, whole := unquoted(strings.TrimSpace(value)); whole && !belowEnvVars(path) {
			value = inner
		}
		if _, given := names[joined(path)]; given && value == "" {
			return // what another variable says counts
		}
		plant(tree, path, value)
		names[joined(path)] = variable
	}
	for _, name := range slices.Sorted(maps.Keys(s.vars)) {
		if path, ok := keyOf(name); ok {
			set(path, name, s.vars[name])
		}
	}
	for _, setting := range settings {
		for _, name := range append(slices.Clone(setting.Env), setting.Variable(), setting.FileVariable()) {
			value, ok := s.vars[name]
			if !ok || strings.HasPrefix(name, foreignPrefix) {
				continue
			}
			path := setting.id()
			if name == setting.FileVariable() {
				path = fileID(path)
			}
			set(path, name, value)
		}
	}
	err := s.envVars(tree, names)
	return layer{rank: rankEnv, tree: tree, place: func(path []string) string { return variableAt(names, path) }}, err
}

// namesOfVariables lists the X of PREFECT__CLOUD__AGENT__ENV_VARS__X in the order
// of the environment.
func namesOfVariables(env []string) []string {
	var names []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if path, ok := keyOf(name); ok {
			names = appendName(names, path)
		}
	}
	return names
}

// variableAt names the variable of a place, or the first one below it.
func variableAt(names map[string]string, path []string) string {
	at := joined(path)
	if name, ok := names[at]; ok {
		return name
	}
	for _, key := range slices.Sorted(maps.Keys(names)) {
		if strings.HasPrefix(key, at+"\x00") {
			return names[key]
		}
	}
	return "environment"
}

// keyOf splits PREFECT__A__B into a, b. The prefix is case-sensitive and the
// rest is lower-cased, as in configuration.py, except below env_vars: there the
// name of the variable is kept as it is, "__" included (D-04).
func keyOf(name string) ([]string, bool) {
	rest, ok := strings.CutPrefix(name, foreignPrefix)
	if !ok {
		return nil, false
	}
	const envVars = "cloud__agent__env_vars__"
	if len(rest) > len(envVars) && strings.EqualFold(rest[:len(envVars)], envVars) {
		return append(envVarsPath(), rest[len(envVars):]), true
	}
	path := strings.Split(strings.ToLower(rest), "__")
	if len(path) > maxDepth || slices.Contains(path, "") || slices.ContainsFunc(path, func(p string) bool { return strings.Contains(p, hidden) }) {
		return nil, false
	}
	return path, true
}

// belowEnvVars reports whether a place is a variable for flow runs, whose text is kept.
func belowEnvVars(path []string) bool {
	parent := envVarsPath()
	return len(path) > len(parent) && slices.Equal(path[:len(parent)], parent)
}

// envVars combines PREFECT__CLOUD__AGENT__ENV_VARS with the variables of the
// older form PREFECT__CLOUD__AGENT__ENV_VARS__X. The former replaces what files
// say, the latter add to it, so that their order does not matter.
func (s *stack) envVars(tree map[string]any, names map[string]string) error {
	path := envVarsPath()
	separate, _ := lookup(tree, path)
	branch, ok := separate.(map[string]any)
	if !ok {
		return nil
	}
	for name, value := range s.vars {
		rest, prefixed := strings.CutPrefix(name, foreignPrefix)
		if !prefixed || !strings.EqualFold(rest, "cloud__agent__env_vars") || value == "" {
			continue
		}
		pairs, err := parsePairs(value)
		if err != nil {
			return problem(name, err)
		}
		for _, key := range slices.SortedFunc(maps.Keys(branch), s.compareNames) {
			pairs = withPair(pairs, Pair{Name: key, Value: fmt.Sprint(branch[key])})
		}
		parent, _ := lookup(tree, path[:2])
		if table, ok := parent.(map[string]any); ok {
			table["env_vars"] = pairs
		}
		names[joined(path)] = name
	}
	return nil
}

// unknownKeys finds keys below [kube] that no command has.
func unknownKeys(layers []layer) error {
	known := ours()
	found := map[string]error{}
	for _, l := range layers {
		branch, _ := lookup(l.tree, []string{"kube"})
		table, _ := branch.(map[string]any)
		for key := range table {
			if !slices.Contains(known, key) {
				place := l.place([]string{"kube", key})
				found[place] = unknown(place, key, known, func(name string) string { return name })
			}
		}
	}
	return inOrder(found)
}

// serviceLink matches what Kubernetes sets in every pod for a Service whose name
// begins with prefect-kube (enableServiceLinks): it looks like a setting of ours.
var serviceLink = regexp.MustCompile(`(^|_)(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknownVariables finds variables with our prefix that no command has.
func unknownVariables(vars map[string]string) error {
	known := ours()
	found := map[string]error{}
	for name := range vars {
		rest, prefixed := strings.CutPrefix(name, ourPrefix)
		if !prefixed || slices.Contains(known, strings.ToLower(rest)) && rest == strings.ToUpper(rest) || serviceLink.MatchString(rest) {
			continue
		}
		found[name] = unknown(name, strings.ToLower(rest), known, func(key string) string { return ourPrefix + strings.ToUpper(key) })
	}
	return inOrder(found)
}

func unknown(place, name string, known []string, spell func(string) string) error {
	e := &Error{Place: place, Problem: "no such setting"}
	if best := Nearest(name, known); best != "" {
		e.Mend = "did you mean " + spell(best) + "?"
	}
	return e
}
