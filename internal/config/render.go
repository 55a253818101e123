package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// References are the versions of the reference whose objects can be printed.
func References() []string { return []string{"0.11.0", "1.2.4", "1.4.1"} }

// The forms in which a Job can be printed.
const (
	OutputYAML = "yaml"
	OutputJSON = "json"
)

// Render is the configuration of render: the agent whose Jobs are shown, and how.
type Render struct {
	Agent
	// Reference is one of References; empty means the Job that start would create.
	Reference string
	// Output is OutputYAML or OutputJSON.
	Output string
	// Server asks the API server too, without creating anything.
	Server bool
}

func renderFields() []field[Render] {
	return []field[Render]{
		{Setting{
			Flags: []Flag{{Name: "reference", Choices: References()}}, Kind: Text,
			Help: "Print exactly the Job that this version of the Python agent makes: 0.11.0, 1.2.4 or 1.4.1.",
		}, func(r *Render) any { return &r.Reference }},
		{Setting{
			Flags: []Flag{{Name: "output", Short: "o", Choices: []string{OutputYAML, OutputJSON}}}, Kind: Text, Default: OutputYAML,
			Help: "Form of the Job: yaml or json.",
		}, func(r *Render) any { return &r.Output }},
		{Setting{
			Flags: []Flag{{Name: "server", Means: "true"}}, Kind: Bool, Default: "false",
			Help: "Send the Job to the API server as a dry run too, and show what it changes.",
		}, func(r *Render) any { return &r.Server }},
	}
}

// RenderSettings lists the settings of render: its own, and those of the agent in
// both forms of its command, each flag once.
func RenderSettings() []Setting {
	settings := settingsOf(renderFields())
	seen := map[string]bool{}
	for _, s := range slices.Concat(AgentSettings(Core1), AgentSettings(Core0)) {
		s.Flags = slices.DeleteFunc(slices.Clone(s.Flags), func(f Flag) bool {
			known := seen[f.Name]
			seen[f.Name] = true
			return known
		})
		if len(s.Flags) > 0 {
			settings = append(settings, s)
		}
	}
	return settings
}

// ResolveRender resolves and validates the settings of render. The agent's are
// read as the agent of the reference reads them, as that of 1.4.1 without one.
// Every error in the result is an *Error; several are joined, one a line.
func ResolveRender(src Sources) (Render, error) {
	own, err := resolve(renderFields(), src)
	if err != nil {
		return Render{}, err
	}
	core := Core1
	if own.Reference == Core0 {
		core = Core0
	}
	agent, err := ResolveAgent(core, src)
	r := *own
	r.Agent = agent
	return r, errors.Join(r.validateOwn(), unknownFlags(append(settingsOf(renderFields()), AgentSettings(core)...), src, "with --reference 0.11.0 the flags are those of 0.11.0, else those of 1.4.1"), err)
}

func (r Render) validateOwn() error {
	var problems []error
	if r.Reference != "" && !slices.Contains(References(), r.Reference) {
		problems = append(problems, &Error{Place: "--reference", Problem: fmt.Sprintf("%q is not a version that is known", short(r.Reference)), Mend: "use one of " + strings.Join(References(), ", ")})
	}
	if r.Output != OutputYAML && r.Output != OutputJSON {
		problems = append(problems, &Error{Place: "--output", Problem: fmt.Sprintf("%q is not a form", short(r.Output)), Mend: "use yaml or json"})
	}
	return errors.Join(problems...)
}

// unknownFlags refuses flags that this form of the command does not have.
func unknownFlags(settings []Setting, src Sources, mend string) error {
	known := flagNames(settings)
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(src.Flags)) {
		if !known[name] {
			problems = append(problems, &Error{Place: "--" + name, Problem: "is not a flag of this form of the command", Mend: mend})
		}
	}
	return errors.Join(problems...)
}

func flagNames(settings []Setting) map[string]bool {
	names := map[string]bool{}
	for _, s := range settings {
		for _, f := range s.Flags {
			names[f.Name] = true
		}
	}
	return names
}
