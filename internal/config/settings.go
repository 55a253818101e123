package config

import "strings"

// Kind says what values a setting takes.
type Kind string

// The kinds.
const (
	Text     Kind = "text"
	Secret   Kind = "secret"
	Bool     Kind = "bool"
	Integer  Kind = "int"
	Duration Kind = "duration"
	List     Kind = "list"
	Pairs    Kind = "pairs"
	Quantity Kind = "quantity"
)

// Flag is one way to give a setting on the command line.
type Flag struct {
	// Name has no dashes; Short is one letter or empty.
	Name, Short string
	// Means is what a switch without a value stands for; empty for flags with a value.
	Means string
	// Repeated is set when every occurrence counts, not only the last.
	Repeated bool
	// Choices are the possible values of the flag where the setting has more; empty means
	// those of the setting.
	Choices []string
	// Core is the form that has the flag, Core0 or Core1; empty means both.
	Core string
	// Help overrides that of the setting.
	Help string
}

// Setting is one row of the table that flags, environment variables, keys of
// config.toml and the documentation come from.
type Setting struct {
	// Key is the place in config.toml, dotted; empty means none. Below "kube" are our own.
	Key string
	// Env are variables besides the one that follows from the key.
	Env []string
	// Flags are the ways to give it on the command line.
	Flags []Flag
	// Kind says what values it takes.
	Kind Kind
	// Values are the possible values, taken in any case; empty means any.
	Values []string
	// Default is the built-in value as text.
	Default string
	// Core is the form that has the setting, Core0 or Core1; empty means both.
	Core string
	// Help says in one sentence what it is.
	Help string
}

// Variable is the environment variable that follows from the key: PREFECT__A__B
// for Prefect's own, PREFECT_KUBE_A for ours. It is empty without a key.
func (s Setting) Variable() string {
	if s.Key == "" {
		return ""
	}
	if name, ours := strings.CutPrefix(s.Key, "kube."); ours {
		return "PREFECT_KUBE_" + strings.ToUpper(name)
	}
	return "PREFECT__" + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "__"))
}

// FileVariable is the variable that names a file with the credential, empty for
// other kinds. Its key in config.toml ends in _file.
func (s Setting) FileVariable() string {
	if s.Kind != Secret || s.Key == "" {
		return ""
	}
	return s.Variable() + "_FILE"
}

// id is the place in the merged tree. What has no key in config.toml gets one
// that no file can reach, since keys are looked up part by part.
func (s Setting) id() []string {
	switch {
	case s.Key != "":
		return strings.Split(s.Key, ".")
	case len(s.Env) > 0:
		return []string{hidden, s.Env[0]}
	default:
		return []string{hidden, s.Flags[0].Name}
	}
}

// hidden is a branch of the merged tree that files and variables cannot name.
const hidden = "\x00"

// field ties a setting to its place in a draft. Without one the setting is only
// there for others to refer to.
type field[T any] struct {
	Setting
	at func(*T) any
}

func settingsOf[T any](fields []field[T]) []Setting {
	out := make([]Setting, len(fields))
	for i, f := range fields {
		out[i] = f.Setting
	}
	return out
}

// AgentSettings lists the settings of the agent in the given form of the
// command, Core0 or Core1, with the flags of that form only.
func AgentSettings(core string) []Setting { return settingsOf(agentFields(core)) }

// DevSettings lists the settings of the development backend.
func DevSettings() []Setting { return settingsOf(devFields()) }

// ours lists every key below [kube], whichever command it belongs to.
func ours() []string {
	var names []string
	for _, s := range append(append(AgentSettings(Core0), AgentSettings(Core1)...), DevSettings()...) {
		if name, ok := strings.CutPrefix(s.Key, "kube."); ok {
			names = append(names, name)
		}
	}
	return names
}
