package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
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
		within("--grace, PREFECT_KUBE_GRACE", a.Grace, time.Millisecond),
		within("--max-poll-interval, PREFECT_KUBE_MAX_POLL_INTERVAL", a.MaxPollInterval, minPollInterval),
		within("PREFECT__CLOUD__REQUEST_TIMEOUT, cloud.request_timeout", a.RequestTimeout, time.Millisecond),
		validatePolls(a.MaxPolls),
		validateSecretKey(a.CredentialSecret),
		placed("--api-secret, PREFECT_KUBE_API_SECRET", "write NAME/KEY, such as prefect-agent-api/address", validateSecretKey(a.APISecret)),
	)
}

func (a Agent) validateBackend() error {
	if a.Backend == Cloud || a.Backend == Server {
		return nil
	}
	return &Error{Place: "backend", Problem: "is not a backend", Mend: "set PREFECT__BACKEND to cloud or server"}
}

func (c Common) validateLevel(place string) error {
	levels := append(flagLevels(), "CRITICAL")
	if slices.Contains(levels, c.LogLevel) {
		return nil
	}
	return problem(place, wrong(c.LogLevel, flagLevels()...))
}

// validateAPI says nothing where the backend is wrong: then the address is empty
// for that reason.
func validateAPI(api, backend string) error {
	if api == "" && backend != Cloud && backend != Server {
		return nil
	}
	u, err := url.Parse(api)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && isPort(u.Port()) {
		return nil
	}
	// The address may hold a password, or be a key that was put in the wrong place.
	return &Error{Place: "api", Problem: "is not an address", Mend: "set --api or PREFECT__CLOUD__API to one such as http://localhost:4200, with http:// or https:// in front; write % in a password as %25, / as %2F, @ as %40"}
}

func (a Agent) validateGraphQL() error {
	if a.GraphQL == "" {
		return nil
	}
	return placed("cloud.graphql, PREFECT__CLOUD__GRAPHQL", "write one such as http://localhost:4200/graphql", validateAPI(a.GraphQL, Cloud))
}

// longest keeps a typing error from meaning for ever, and sums of times from overflowing.
const longest = 365 * 24 * time.Hour

func within(place string, d, least time.Duration) error {
	switch {
	case d < least:
		return &Error{Place: place, Problem: fmt.Sprintf("%s is too short", d), Mend: fmt.Sprintf("use at least %s", least)}
	case d > longest:
		return &Error{Place: place, Problem: fmt.Sprintf("%s is too long", d), Mend: fmt.Sprintf("use at most %s", longest)}
	default:
		return nil
	}
}

func validatePolls(most int) error {
	if most >= -1 {
		return nil
	}
	return &Error{Place: "--max-polls", Problem: fmt.Sprintf("%d is no number of polls", most), Mend: "use -1 for no limit"}
}

// CheckCredential reports that the file with the credential cannot be read, or that
// Prefect Cloud would refuse the agent for want of a credential. The error is an *Error.
func (a Agent) CheckCredential() error {
	if _, err := a.Credential.Reveal(); err != nil {
		return a.unreadable(err)
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
			Mend: "give it, or set PREFECT__CLOUD__API_KEY or PREFECT__CLOUD__API_KEY_FILE, or --token for a token of 0.x; a Prefect Server needs PREFECT__BACKEND=server instead",
		}
	}
}

// unreadable says what is wrong with the file of the credential. A name that is no
// absolute path is not shown: it may be the credential itself.
func (a Agent) unreadable(err error) error {
	e := &Error{Place: "PREFECT__CLOUD__API_KEY_FILE", Problem: err.Error(), Mend: "name a file that holds the credential and nothing else"}
	if a.CoreVersion == Core0 || a.Token {
		e.Place = "PREFECT__CLOUD__AGENT__AUTH_TOKEN_FILE"
	}
	if !filepath.IsAbs(a.Credential.Path()) {
		e.Problem = "names no file that can be read; its name is not shown, since it may be the credential"
	}
	return e
}

// Validate checks what is possible without listening. Every error in the result
// is an *Error.
func (d Dev) Validate() error {
	problems := []error{d.validateLevel("--log-level, PREFECT_KUBE_LOG_LEVEL")}
	if host, port, err := net.SplitHostPort(d.Listen); err != nil || strings.Contains(host, "/") || port != "0" && (port == "" || !isPort(port)) {
		problems = append(problems, &Error{Place: "--listen, PREFECT_KUBE_LISTEN", Problem: "is not host:port", Mend: "write one such as 127.0.0.1:4200"})
	}
	for i, host := range d.AllowHosts {
		if !isHost(host) {
			problems = append(problems, &Error{Place: "--allow-host", Problem: fmt.Sprintf("the %d. is not the name of a host", i+1), Mend: "write the name or address alone, such as prefect.local, without scheme, port and path"})
		}
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
