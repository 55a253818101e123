package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// minPollInterval keeps a typing error from flooding the API.
const minPollInterval = 100 * time.Millisecond

// flagLevels are the log levels that a flag of the reference takes.
func flagLevels() []string { return []string{"DEBUG", "INFO", "WARNING", "ERROR"} }

// levelName gives the names that Python's logging has for one level one form.
func levelName(name string) string {
	name = strings.ToUpper(strings.TrimSpace(name))
	if canonical, ok := map[string]string{
		"WARN": "WARNING", "FATAL": "CRITICAL", "NOTSET": "DEBUG",
		"10": "DEBUG", "20": "INFO", "30": "WARNING", "40": "ERROR", "50": "CRITICAL",
	}[name]; ok {
		return canonical
	}
	return name
}

// Validate checks what is possible without a connection. Every error in the
// result is an *Error. Whether a credential is there is CheckCredential's
// question: the reference starts and fails on it.
func (a Agent) Validate() error {
	return errors.Join(
		a.validateBackend(),
		a.validateLevel("cloud.agent.level"),
		validateAPI(a.API, a.Backend),
		a.validateGraphQL(),
		positive("grace", a.Grace, 0),
		positive("max-poll-interval", a.MaxPollInterval, minPollInterval),
		positive("cloud.request_timeout", a.RequestTimeout, time.Millisecond),
		validateSecretKey(a.CredentialSecret),
	)
}

func (a Agent) validateBackend() error {
	if a.Backend == Cloud || a.Backend == Server {
		return nil
	}
	return &Error{Place: "backend", Problem: fmt.Sprintf("%q is not a backend", short(a.Backend)), Mend: "set PREFECT__BACKEND to cloud or server"}
}

func (c Common) validateLevel(place string) error {
	levels := append(flagLevels(), "CRITICAL")
	if slices.Contains(levels, c.LogLevel) {
		return nil
	}
	return &Error{Place: place, Problem: fmt.Sprintf("%q is not a log level", short(c.LogLevel)), Mend: "use one of " + strings.Join(flagLevels(), ", ")}
}

// validateAPI says nothing where the backend is wrong: then the address is empty
// for that reason.
func validateAPI(api, backend string) error {
	if api == "" && backend != Cloud && backend != Server {
		return nil
	}
	u, err := url.Parse(api)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	// The address may hold a password; what is not a URL is not shown.
	shown := "the address"
	if err == nil {
		shown = fmt.Sprintf("%q", short(u.Redacted()))
	}
	return &Error{Place: "api", Problem: shown + " is not an address", Mend: "set --api or PREFECT__CLOUD__API to one such as http://localhost:4200"}
}

func (a Agent) validateGraphQL() error {
	if a.GraphQL == "" {
		return nil
	}
	return placed("cloud.graphql, PREFECT__CLOUD__GRAPHQL", "write one such as http://localhost:4200/graphql", validateAPI(a.GraphQL, Cloud))
}

func positive(place string, d, least time.Duration) error {
	if d >= least {
		return nil
	}
	return &Error{Place: place, Problem: fmt.Sprintf("%s is too short", d), Mend: fmt.Sprintf("use at least %s", least)}
}

// CheckCredential reports that the file with the credential cannot be read, or that
// Prefect Cloud would refuse the agent for want of a credential. The error is an *Error.
func (a Agent) CheckCredential() error {
	if _, err := a.Credential.Reveal(); err != nil {
		place := map[string]string{Core0: "PREFECT__CLOUD__AGENT__AUTH_TOKEN_FILE", Core1: "PREFECT__CLOUD__API_KEY_FILE"}[a.CoreVersion]
		return &Error{Place: place, Problem: err.Error()}
	}
	switch {
	case a.Backend != Cloud || a.Credential.IsSet():
		return nil
	case a.CoreVersion == Core0:
		return &Error{
			Place: "--token", Problem: "Prefect Cloud needs an agent API token and none is provided",
			Mend: "give it, or set PREFECT__CLOUD__AGENT__AUTH_TOKEN or PREFECT__CLOUD__AGENT__AUTH_TOKEN_FILE; a Prefect Server needs PREFECT__BACKEND=server instead",
		}
	default:
		return &Error{
			Place: "--key", Problem: "Prefect Cloud needs an API key and none is provided",
			Mend: "give it, or set PREFECT__CLOUD__API_KEY or PREFECT__CLOUD__API_KEY_FILE; a token of 0.x goes with agent start kubernetes; a Prefect Server needs PREFECT__BACKEND=server instead",
		}
	}
}

// Validate checks what is possible without listening. Every error in the result
// is an *Error.
func (d Dev) Validate() error {
	problems := []error{d.validateLevel("--log-level")}
	if host, port, err := net.SplitHostPort(d.Listen); err != nil || port == "" || strings.Contains(host, "/") {
		problems = append(problems, &Error{Place: "--listen", Problem: fmt.Sprintf("%q is not host:port", short(d.Listen)), Mend: "write one such as 127.0.0.1:4200"})
	}
	for _, host := range d.AllowHosts {
		if !isHost(host) {
			problems = append(problems, &Error{Place: "--allow-host", Problem: fmt.Sprintf("%q is not the name of a host", short(host)), Mend: "write the name or address alone, such as prefect.local, without scheme, port and path"})
		}
	}
	if d.Generation != "0.11" && d.Generation != "1.x" {
		problems = append(problems, &Error{Place: "--generation", Problem: fmt.Sprintf("%q is not a generation", short(d.Generation)), Mend: "use 0.11 or 1.x"})
	}
	return errors.Join(problems...)
}

// isHost takes names and addresses as they stand in a URL, brackets or not.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return true
	}
	return strings.Trim(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_") == ""
}
