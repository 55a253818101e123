package main

import (
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// secretsOf are the secrets of a command line and its environment, before it is known
// whether both can be understood: what addresses hold, and the values of the settings
// that are credentials.
func secretsOf(args, env []string) *secret.Set {
	s := secret.NewSet()
	flags, variables := credentials()
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if variables[name] {
			s.Add(secret.New(value))
		}
		if strings.Contains(value, "@") {
			s.AddAddress(value)
		}
	}
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		switch {
		case flags[name]:
			s.Add(secret.New(value))
		case len(arg) > 2 && flags[arg[:2]]: // -kVALUE
			s.Add(secret.New(arg[2:]))
		}
		if strings.Contains(arg, "@") || strings.Contains(arg, "://") {
			s.AddAddress(arg)
		}
	}
	return s
}

// credentials are the flags and variables that hold one.
func credentials() (flags, variables map[string]bool) {
	flags, variables = map[string]bool{}, map[string]bool{}
	for _, core := range []string{config.Core0, config.Core1} {
		for _, setting := range config.AgentSettings(core) {
			if setting.Kind != config.Secret {
				continue
			}
			for _, f := range setting.Flags {
				flags["--"+f.Name] = true
				if f.Short != "" {
					flags["-"+f.Short] = true
				}
			}
			for _, name := range append(slices.Clone(setting.Env), setting.Variable()) {
				variables[name] = true
			}
		}
	}
	return flags, variables
}
