package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// What a person typed is shown only where it is known to be no credential: a name that
// this program or Prefect has, or nearly one.

// noArguments refuses what stands behind a command that takes only options.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New("unexpected argument; this command takes options only: write the name of the option before a value")
	}
	return nil
}

// unknownCommand says which command was meant, or whose it is.
func unknownCommand(cmd *cobra.Command, name string) error {
	if about, ok := foreignCommands()[name]; ok {
		return fmt.Errorf("no such command: %q; %s", name, about)
	}
	known := names(cmd)
	if best := config.Nearest(name, known); best != "" {
		return fmt.Errorf("no such command: %q; did you mean %s?", name, best)
	}
	return fmt.Errorf("no such command; use one of %s", strings.Join(known, ", "))
}

// foreignCommands are those of Python's prefect, and what to do here.
func foreignCommands() map[string]string {
	const (
		kubernetes = "this program is the Kubernetes agent only; type agent kubernetes start, or run the other kinds of agents with Python's prefect"
		python     = "it is a command of Python's prefect; this program is the Kubernetes agent only"
	)
	about := map[string]string{
		"backend": "set the variable PREFECT__BACKEND to server or cloud",
		"auth":    "set the variable PREFECT__CLOUD__API_KEY, or PREFECT__CLOUD__AGENT__AUTH_TOKEN for a token of 0.x",
		"execute": "it runs a flow, in the image of the flow; this program is the Kubernetes agent only",
		"server":  "this program is the Kubernetes agent only; type dev for a backend for development and tests",
	}
	for _, kind := range []string{"local", "docker", "fargate", "ecs", "vertex", "nomad"} {
		about[kind] = kubernetes
	}
	for _, name := range []string{"build", "cloud", "config", "create", "delete", "describe", "diagnostics", "get", "heartbeat", "kv", "make-user-config", "register", "run", "summarize", "token"} {
		about[name] = python
	}
	return about
}

// flagError puts the errors of pflag into words that show no value.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return unknownOption(cmd, e)
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fmt.Errorf("option needs an argument: --%s", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s takes no value", e.GetFlag().Name)
	}
	return errors.New("an argument begins with - and is no option; write --name=value for a value that begins so")
}

// optionName is what an option may look like. Keys and tokens have capitals or digits.
var optionName = regexp.MustCompile(`^[a-z][a-z-]{0,31}$`)

func unknownOption(cmd *cobra.Command, e *pflag.NotExistError) error {
	name := e.GetSpecifiedName()
	if e.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("no such option: -%s%s", name, ownerOf(cmd, func(f *pflag.Flag) bool { return f.Shorthand == name }))
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	best := config.Nearest(name, known)
	owner := ownerOf(cmd, func(f *pflag.Flag) bool { return f.Name == name })
	switch {
	case owner != "":
		return fmt.Errorf("no such option: --%s%s", name, owner)
	case best != "":
		return fmt.Errorf("no such option: --%s; did you mean --%s?", name, best)
	case optionName.MatchString(name):
		return fmt.Errorf("no such option: --%s%s", name, othersOption(name))
	default:
		return errors.New("no such option; its name is not shown, since it may be a credential")
	}
}

// ownerOf names the form of the command that has an option, since which release, and
// what to type instead; empty if there is none.
func ownerOf(cmd *cobra.Command, is func(*pflag.Flag) bool) string {
	if cmd.Name() != "start" && cmd.Name() != "install" {
		return ""
	}
	text := map[bool]string{} // by whether it is the same verb, which counts more
	walk(cmd.Root(), func(other *cobra.Command) {
		if other == cmd || other.Name() != "start" && other.Name() != "install" {
			return
		}
		other.Flags().VisitAll(func(f *pflag.Flag) {
			if is(f) && f.Name != "help" {
				text[other.Name() == cmd.Name()] = fmt.Sprintf("; %q has it%s", commandLine(other), releasesOf(cmd, f.Name))
			}
		})
	})
	return cmp.Or(text[true], text[false])
}

// commandLine is a command as one types it. The kind of agent comes last in 0.11.0.
func commandLine(cmd *cobra.Command) string {
	_, path, _ := strings.Cut(cmd.CommandPath(), " ")
	if path == "agent start" || path == "agent install" {
		path += " kubernetes"
	}
	return path
}

func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

// since says which releases of Prefect have an option (cli/agent.py of 0.11.0 to 1.4.1),
// and what does the same in the other form.
type since struct{ releases, instead string }

func releasesOf(cmd *cobra.Command, name string) string {
	s, ok := optionReleases()[name]
	if !ok {
		return ""
	}
	text := ", as Prefect " + s.releases + " has"
	if _, flag, isFlag := strings.Cut(s.instead, "--"); isFlag {
		flag, _, _ = strings.Cut(flag, " ")
		if cmd.Flags().Lookup(flag) == nil {
			return text
		}
	}
	return text + s.instead
}

func optionReleases() map[string]since {
	const leaveOut = "; leave it out: it is for another kind of agent"
	return map[string]since{
		"verbose":          {"0.11 to 0.14", "; type --log-level DEBUG"},
		"log-level":        {"0.13 and later", "; type --verbose for DEBUG"},
		"key":              {"0.15 and later", "; type --token for a token of 0.x"},
		"tenant-id":        {"0.15 and later", ""},
		"import-path":      {"0.11 to 0.14", leaveOut},
		"show-flow-logs":   {"0.11 to 0.14", leaveOut},
		"no-pull":          {"0.11 to 0.14", leaveOut},
		"base-url":         {"0.11 to 0.14", leaveOut},
		"volume":           {"0.11 to 0.14", leaveOut},
		"network":          {"0.11 to 0.14", leaveOut},
		"hostname-label":   {"0.13 and 0.14", leaveOut},
		"storage-labels":   {"0.13 and 0.14", leaveOut},
		"resource-manager": {"0.11 to 0.13", ""},

		"no-hostname-label":     {"0.13 and 0.14", leaveOut},
		"no-storage-labels":     {"0.13 and 0.14", leaveOut},
		"no-docker-interface":   {"0.11 to 0.14", leaveOut},
		"docker-client-timeout": {"0.14", leaveOut},
	}
}

// othersOption names the kind of agent that an option belongs to.
func othersOption(name string) string {
	for kind, options := range map[string][]string{
		"ecs":    {"cluster", "launch-type", "task-role-arn", "execution-role-arn", "task-definition", "run-task-kwargs"},
		"vertex": {"project", "region-name", "service-account"},
	} {
		if slices.Contains(options, name) {
			return fmt.Sprintf("; it belongs to \"agent %s start\" of Prefect 0.13 and later, and this program is the Kubernetes agent only", kind)
		}
	}
	return ""
}
