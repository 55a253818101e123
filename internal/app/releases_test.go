package app_test

import "strings"

// between cases were recorded from a release that is not the one whose wire it has.
func between(v *vector, _ string) bool {
	return v.release != v.core && strings.Contains(v.release, ".")
}

// oldForm cases start the Kubernetes agent as up to 0.12, in a release that registers everywhere.
func oldForm(v *vector, _ string) bool {
	return v.core == "1.4.1" && len(v.Input.Command) > 1 && v.Input.Command[1] == "start"
}

// tokenAlone cases have a token for an agent that knows keys only.
func tokenAlone(v *vector, _ string) bool {
	env := v.Input.Environment
	return strings.HasPrefix(v.release, "1.") && env["PREFECT__CLOUD__AGENT__AUTH_TOKEN"] != "" && env["PREFECT__CLOUD__API_KEY"] == ""
}

// byEnvironment runs are of flows with an environment.
func byEnvironment(v *vector, fact string) bool {
	run, ok := v.offer(fact)
	return ok && len(run.Flow.Environment) > 0
}

// environmentAt1 runs are of such flows, taken by an agent that knows no environments.
func environmentAt1(v *vector, fact string) bool {
	return strings.HasPrefix(v.release, "1.") && byEnvironment(v, fact)
}
