package config

import (
	"errors"
	"slices"

	"github.com/agnivade/levenshtein"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// Error is a setting that cannot be used. It holds no value of a credential or
// of a variable for flow runs.
type Error struct {
	// Place is where the setting stands: a flag, a variable, or a file with the key.
	Place string
	// Problem says what is wrong.
	Problem string
	// Mend says what to write instead; it may be empty.
	Mend string
}

// Error is one line.
func (e *Error) Error() string {
	text := e.Place + ": " + e.Problem
	if e.Mend != "" {
		text += "; " + e.Mend
	}
	return plain.Line(text, maxLine)
}

// maxLine bounds an error and a warning, in bytes. Names of variables and files are foreign.
const maxLine = 2048

// faults joins errors, each once: two commands may look at the same setting.
func faults(errs ...error) error {
	seen := map[string]bool{}
	return errors.Join(slices.DeleteFunc(each(errs...), func(err error) bool {
		known := seen[err.Error()]
		seen[err.Error()] = true
		return known
	})...)
}

// each takes joined errors apart.
func each(errs ...error) []error {
	var all []error
	for _, err := range errs {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			all = append(all, each(many.Unwrap()...)...)
		} else if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Nearest is the candidate that most likely was meant, empty if none is near.
func Nearest(name string, candidates []string) string {
	if len(name) > 64 {
		return ""
	}
	best, distance := "", max(len(name)/3, 2)+1
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(name, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}
