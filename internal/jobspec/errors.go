package jobspec

import (
	"fmt"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

const maxQuoted = 120

// FieldError says that one value of the flow run cannot be used.
type FieldError struct {
	// Field is the path of the value, such as run_config.cpu_limit.
	Field string
	// Line and Column are its place in a template's text, counted from one; zero
	// where it has none.
	Line, Column int
	// Value is the offending value, shortened; empty where it may be secret.
	Value string
	// Problem is what is wrong, Mend what to do about it.
	Problem, Mend string
}

func (e *FieldError) Error() string {
	var b strings.Builder
	b.WriteString(e.Field)
	if e.Line > 0 {
		fmt.Fprintf(&b, " (line %d, column %d)", e.Line, e.Column)
	}
	b.WriteByte(' ')
	if e.Value != "" {
		fmt.Fprintf(&b, "%q ", shorten(e.Value))
	}
	b.WriteString(e.Problem)
	if e.Mend != "" {
		b.WriteString("; ")
		b.WriteString(e.Mend)
	}
	return b.String()
}

// UnsupportedStorageError says that a flow's storage names no image and no other
// image is known.
type UnsupportedStorageError struct {
	FlowRun, Type string
	// Kept is the message of the reference, word for word, if that is kept.
	Kept string
}

func (e *UnsupportedStorageError) Error() string {
	if e.Kept != "" {
		return e.Kept
	}
	return fmt.Sprintf("unsupported Storage type: storage of flow run %s is %q, not Docker, and its environment names no image; "+
		"register the flow with Docker storage, set metadata.image of its environment, or give the agent a default job image", e.FlowRun, shorten(e.Type))
}

// UnsupportedRunConfigError says that a flow run has a run config for another
// kind of agent.
type UnsupportedRunConfigError struct{ FlowRun, Type string }

func (e *UnsupportedRunConfigError) Error() string {
	return fmt.Sprintf("flow run %s has a `run_config` of type `%s`, only `KubernetesRun` is supported; "+
		"give the flow a KubernetesRun or UniversalRun, or labels that this agent does not have", e.FlowRun, shorten(e.Type))
}

// TemplateError says that a Job template cannot be used.
type TemplateError struct {
	// Source is run_config.job_template, a template path, or agent template.
	Source string
	Err    error
	// named is whether Err names the source itself.
	named bool
}

func (e *TemplateError) Error() string {
	if e.named {
		return e.Err.Error()
	}
	return fmt.Sprintf("job template %q: %v", e.Source, e.Err)
}

// Unwrap returns the cause.
func (e *TemplateError) Unwrap() error { return e.Err }

// shown is a template path without what may be secret in a URL.
func shown(path string) string {
	path, _, _ = strings.Cut(path, "?")
	if scheme, rest, found := strings.Cut(path, "://"); found {
		if at := strings.LastIndexByte(rest, '@'); at >= 0 && !strings.ContainsRune(rest[:at], '/') {
			rest = rest[at+1:]
		}
		path = scheme + "://" + rest
	}
	return shorten(path)
}

func shorten(text string) string { return plain.Line(text, maxQuoted) }
