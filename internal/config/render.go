package config

import (
	"errors"
	"maps"
	"slices"
)

// References are the versions of the reference whose objects can be printed.
func References() []string {
	return []string{"0.11.0", "0.12.6", "0.13.19", "0.14.22", "0.15.13", "1.0.0", "1.2.4", "1.4.1"}
}

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
			Flags: []Flag{{Name: "reference"}}, Values: References(), Kind: Text,
			Help: "Print exactly the Job that this version of the Python agent makes: 0.11.0, 0.12.6, 0.13.19, 0.14.22, 0.15.13, 1.0.0, 1.2.4 or 1.4.1.",
		}, func(r *Render) any { return &r.Reference }},
		{Setting{
			Flags: []Flag{{Name: "output", Short: "o"}}, Values: []string{OutputYAML, OutputJSON}, Kind: Text, Default: OutputYAML,
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
func RenderSettings() []Setting { return bothForms(settingsOf(renderFields())) }

// bothForms adds the settings of the agent to those of a command that looks at one.
func bothForms(settings []Setting) []Setting {
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
// read as "agent kubernetes start" reads them, or as "agent start kubernetes" does
// where the flags, the reference or the only credential are of 0.11.0.
// Every error in the result is an *Error; several are joined, one a line.
func ResolveRender(src Sources) (Render, error) {
	own, err := resolve(renderFields(), src)
	if own == nil {
		return Render{}, err
	}
	settings := settingsOf(renderFields())
	core := formOf(settings, src)
	if own.Reference == Core0 {
		core = Core0
	}
	agent, _, errAgent := resolveEither(core, src)
	r := *own
	r.Agent = agent
	settings = append(settings, AgentSettings(agent.CoreVersion)...)
	return r, faults(err, unknownFlags(settings, src, ofOneForm+"; --reference 0.11.0 takes those of 0.11.0"), errAgent)
}

// ofOneForm is the mend for a flag of the other form of the agent's command.
const ofOneForm = "--verbose belongs to agent start kubernetes, --key, --tenant-id and --log-level to agent kubernetes start"

// formOf is the form of the agent's command whose flags are given beside a command's
// own: Core0 where one is given that only it has, or a token and nothing of Core1.
func formOf(own []Setting, src Sources) string {
	of1 := flagNames(slices.Concat(own, AgentSettings(Core1)))
	for name := range src.Flags {
		if !of1[name] || name == "token" && !onlyOf1(src) {
			return Core0
		}
	}
	return Core1
}

// onlyOf1 reports whether a flag is given that the form of 0.11.0 has not got.
func onlyOf1(src Sources) bool {
	of0, of1 := flagNames(AgentSettings(Core0)), flagNames(AgentSettings(Core1))
	for name := range src.Flags {
		if of1[name] && !of0[name] {
			return true
		}
	}
	return false
}

// resolveEither takes the other form where only that one finds a credential, or where
// all that is given is a token of 0.x and nothing else speaks for 1.x.
func resolveEither(core string, src Sources) (Agent, Origin, error) {
	agent, origin, err := resolveAgent(core, src)
	if err == nil && core == Core1 && (agent.CheckCredential() != nil || agent.Token && !onlyOf1(src)) {
		if old, oldOrigin, oldErr := resolveAgent(Core0, src); oldErr == nil && old.CheckCredential() == nil && old.Credential.IsSet() {
			return old, oldOrigin, nil
		}
	}
	agent.CoreVersion = core
	return agent, origin, err
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
