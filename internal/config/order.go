package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// envVarsPath is the table whose names are those of variables.
func envVarsPath() []string { return []string{"cloud", "agent", "env_vars"} }

var (
	// recentName matches what Kubernetes takes as the name of a variable since 1.32,
	// anyName what every release takes. Older ones refuse "." and what begins with ..
	// as well (k8s.io/apimachinery pkg/util/validation, IsEnvVarName).
	recentName = regexp.MustCompile(`^[ -<>-~]+$`)
	anyName    = regexp.MustCompile(`^([-_a-zA-Z]|\.[-_a-zA-Z0-9])[-._a-zA-Z0-9]*$`)
)

// recentNames warns of names for which an older cluster refuses every Job. What no
// cluster takes is an error elsewhere.
func (s *stack) recentNames(place []string, vars []Pair) []string {
	var warnings []string
	for _, v := range vars {
		if recentName.MatchString(v.Name) && !anyName.MatchString(v.Name) {
			at := cmp.Or(s.place(append(slices.Clone(place), v.Name)), s.place(place))
			warnings = append(warnings, plain.Line(fmt.Sprintf("%s: Kubernetes before 1.32 refuses every Job with a variable %q; use letters, digits, _, - and ., and a letter or _ at the beginning", at, short(v.Name)), maxLine))
		}
	}
	return warnings
}

// namesInOrder lists the names below [cloud.agent.env_vars] as the file has them:
// a Python dict keeps that order, a Go map does not. What is wrong with the file is
// not said here.
func namesInOrder(data []byte) []string {
	var names, table []string
	p := unstable.Parser{}
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.KeyValue {
			names = appendBelow(names, table, e)
		}
		if e.Kind == unstable.Table || e.Kind == unstable.ArrayTable {
			table = keyParts(e.Key())
			names = appendName(names, table)
		}
	}
	return names
}

func keyParts(it unstable.Iterator) []string {
	var parts []string
	for it.Next() {
		parts = append(parts, string(it.Node().Data))
	}
	return parts
}

// appendBelow goes down into inline tables.
func appendBelow(names, table []string, e *unstable.Node) []string {
	path := append(slices.Clip(table), keyParts(e.Key())...)
	if len(path) > maxDepth {
		return names
	}
	names = appendName(names, path)
	if value := e.Value(); value.Kind == unstable.InlineTable {
		for it := value.Children(); it.Next(); {
			names = appendBelow(names, path, it.Node())
		}
	}
	return names
}

func appendName(names, path []string) []string {
	parent := envVarsPath()
	if len(path) <= len(parent) || !slices.Equal(path[:len(parent)], parent) {
		return names
	}
	return append(names, path[len(parent)])
}

// noteNames remembers the order of names that variables of flow runs were given in;
// the first time counts, as in a Python dict.
func (s *stack) noteNames(names []string) {
	for _, name := range names {
		if _, known := s.order[name]; !known {
			s.order[name] = len(s.order)
		}
	}
}

// compareNames orders variables as they were given.
func (s *stack) compareNames(a, b string) int {
	i, known := s.order[a]
	j, alsoKnown := s.order[b]
	switch {
	case known && alsoKnown:
		return i - j
	case known:
		return -1
	case alsoKnown:
		return 1
	default:
		return strings.Compare(a, b)
	}
}
