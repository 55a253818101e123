package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// flagValues collects what the command line says about one flag, as text:
// package config knows the types, and its errors name the flag.
type flagValues struct {
	kind    string
	given   []string
	foreign bool
	// bare is set for a switch of the reference, which takes no value.
	bare bool
}

// alone stands for the value of a switch that was given none. No command line can
// hold it.
const alone = "\x00"

// Set adds one occurrence.
func (v *flagValues) Set(text string) error {
	switch {
	case text == alone:
		text = "true"
	case v.bare:
		return errors.New("it takes no value")
	}
	v.given = append(v.given, text)
	return nil
}

// String is the default for pflag, which is always empty: defaults are written
// into the help text.
func (v *flagValues) String() string { return "" }

// Type is what the help shows behind the name.
func (v *flagValues) Type() string { return v.kind }

// addFlags gives a command the flags of its settings.
func addFlags(cmd *cobra.Command, settings []config.Setting) {
	cmd.Flags().SortFlags = false
	for _, s := range settings {
		for _, f := range s.Flags {
			ours := strings.HasPrefix(s.Key, "kube.")
			value := &flagValues{kind: shownKind(s, f), bare: f.Means != "" && !ours}
			added := cmd.Flags().VarPF(value, f.Name, f.Short, usage(s, f))
			if f.Means != "" {
				added.NoOptDefVal = alone
			}
			if possible := choices(s, f); len(possible) > 0 && f.Means == "" {
				// The error would mean that the flag does not exist or was completed twice.
				_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(possible, cobra.ShellCompDirectiveNoFileComp))
			}
		}
	}
}

func choices(s config.Setting, f config.Flag) []string {
	if len(f.Choices) > 0 {
		return f.Choices
	}
	return s.Values
}

func shownKind(s config.Setting, f config.Flag) string {
	switch {
	case f.Means != "":
		return "bool"
	case s.Kind == config.Pairs:
		return "NAME=value"
	case s.Kind == config.List, s.Kind == config.Secret, s.Kind == config.Bool:
		return string(config.Text)
	default:
		return string(s.Kind)
	}
}

// usage is the help of a flag: what it is, its default, and the variables that
// say the same.
func usage(s config.Setting, f config.Flag) string {
	text := s.Help
	if f.Help != "" {
		text = f.Help
	}
	var notes []string
	if s.Default != "" && f.Means == "" && s.Kind != config.Integer && !strings.Contains(s.Default, "${") {
		notes = append(notes, "default "+s.Default)
	}
	var variables []string
	for _, name := range append([]string{s.Variable(), s.FileVariable()}, s.Env...) {
		if name != "" {
			variables = append(variables, name)
		}
	}
	if len(variables) > 0 {
		notes = append(notes, "env "+strings.Join(variables, ", "))
	}
	if len(notes) == 0 {
		return text
	}
	return fmt.Sprintf("%s [%s]", text, strings.Join(notes, "; "))
}

// foreignFlags are the options of "prefect agent start" of 0.11 to 0.14 for other kinds
// of agents. It accepts them for this one, so we do.
func foreignFlags() []config.Flag {
	return []config.Flag{
		{Name: "import-path", Short: "p"},
		{Name: "show-flow-logs", Short: "f", Means: "true"},
		{Name: "no-pull", Means: "true"},
		{Name: "base-url", Short: "b"},
		{Name: "volume"},
		{Name: "network"},
		{Name: "no-docker-interface", Means: "true"},
		{Name: "storage-labels", Means: "true"},
		{Name: "no-storage-labels", Means: "true"},
		{Name: "hostname-label", Means: "true"},
		{Name: "no-hostname-label", Means: "true"},
		{Name: "docker-client-timeout"},
	}
}

func addForeign(cmd *cobra.Command, flags ...config.Flag) {
	for _, f := range flags {
		added := cmd.Flags().VarPF(&flagValues{kind: "text", foreign: true, bare: f.Means != ""}, f.Name, f.Short, "No effect: an option of another kind of agent.")
		added.Hidden = true
		if f.Means != "" {
			added.NoOptDefVal = alone
		}
	}
}

// helpful prints the help of a command; pflag would show what alone is.
func helpful(help func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.NoOptDefVal == alone {
				f.NoOptDefVal = "true"
			}
		})
		help(cmd, args)
	}
}

func foreignWarnings(cmd *cobra.Command) []string {
	var warnings []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if v, ok := f.Value.(*flagValues); ok && v.foreign {
			warnings = append(warnings, "--"+f.Name+" has no effect: it is an option of another kind of agent")
		}
	})
	return warnings
}
