package main

import (
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// onPurpose is a difference from the reference that is there on purpose.
type onPurpose struct {
	defect, fact string // a pattern of path.Match
	applies      func(vector, difference) bool
	reason       string
}

// listed is the number of differences that a case itself lists, unnamed of those
// that nobody explains.
const (
	listed  = -1
	unnamed = -2
)

// namedDifferences are those that cases do not list, by what is in a case and never
// by its name. Every row must match a case, recorded or imagined.
func namedDifferences() []onPurpose {
	return []onPurpose{
		{"F4", "credential", token, "a token of 0.x is found, which the agents of 1.0 and later pass over"},
		{"D-01", "*", labelsAre0, "labels from files and variables may have any form; 0.11.0 reads nothing but a text with a list in it, and only in the agent itself"},
		{"D-02", "*", namelessVariable, "a variable for flow runs without a name is refused"},
		{"D-04", "env", separateVariables, "names of variables keep their case, values stay text"},
		{"D-05", "env", expandable, "values of variables for flow runs are literal"},
		{"D-06", "*", typed, "what looks like a number, a switch or a list stays text"},
		{"D-07", "*", mangled, "no backslash is decoded, and text is UTF-8"},
		{"D-08", "exit", tracebacks, "an exception that nobody catches is exit code 1 in Python; what is wrong with the configuration is one line and exit code 2 here"},
		{"D-11", "*", hopeless, "a setting that cannot work is refused at once"},
		{"D-11", "exit", waits, "an API that is away at the start is waited for, and a stop is then clean"},
		{"D-32", "secrets", emptySecret, "image pull secrets without a name are left out"},
		{"D-62", "delete", deletionVariable, "DELETE_FINISHED_JOBS is true or false in any spelling"},
		{"D-70", "*", variablesAreText, "a JSON object with true, false or null in it is one too, and nothing else is taken for one"},
		{"D-71", "*", labelsAre1, "one word or a comma list are labels, not their letters"},
		{"D-72", "name", emptyName, "empty is unset"},
		{"D-02", "*", splitting, "the first equal sign of a variable ends its name, and an option without one is taken or refused, where Python's own code breaks"},
		{"D-08", "*", tolerated, "an option that is none is refused; agent start of 0.x passes it over"},
		{"F4", "labels", sameLabels, "the form of 0.x keeps labels as they are given, as 0.11.0 does; 0.12 makes a set of them, 0.13 sorts it"},
		{"F4", "*", between, "an option that releases between 0.11.0 and 1.4.1 have works in the form that they have it in"},
	}
}

// namedBy is the number of the row that explains a difference.
func namedBy(v vector, d difference) int {
	if slices.ContainsFunc(v.Deviates, func(x deviation) bool { return covers(x.Path, d.fact) }) {
		return listed
	}
	for i, n := range namedDifferences() {
		if ok, _ := path.Match(n.fact, d.fact); ok && n.applies(v, d) {
			return i
		}
	}
	return unnamed
}

// covers tells whether a JSON pointer into what is expected means a fact.
func covers(pointer, fact string) bool {
	switch part, key, _ := strings.Cut(strings.TrimPrefix(pointer, "/"), "/"); part {
	case "":
		return true
	case "exit_code", "exception":
		return fact == "exit"
	case "arguments", "config":
		key, _, _ = strings.Cut(strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~"), "/")
		return key == "" || factOf(key) == fact
	default:
		return false
	}
}

// factOf is the fact that an argument or a key of the configuration ends up in.
func factOf(key string) string {
	if fact, ok := map[string]string{
		"env_vars": "env", "agent_address": "address", "no_cloud_logs": "send_logs", "send_flow_run_logs": "send_logs",
		"delete_finished_jobs": "delete", "image_pull_secrets": "secrets", "job_template_path": "template", "service_account_name": "account",
		"agent_config_id": "config_id", "auth_token": "credential", "api_key": "credential", "tenant_id": "tenant",
	}[key[strings.LastIndexByte(key, '.')+1:]]; ok {
		return fact
	}
	return key[strings.LastIndexByte(key, '.')+1:]
}

func starting(v vector) bool { return v.Input.Capture != "install" && v.Expected.Arguments != nil }

// configured is what the reference's configuration says, unless a flag says it.
func configured(v vector, argument, key string) any {
	if starting(v) && missing(v.Expected.Arguments[argument]) {
		return v.Expected.Config[key]
	}
	return nil
}

func labelsAre0(v vector, d difference) bool {
	labels := configured(v, "labels", "cloud.agent.labels")
	return v.core == config.Core0 && labels != nil && labels != "[]" && (d.fact == "labels" || refused(d))
}

func labelsAre1(v vector, d difference) bool {
	_, text := configured(v, "labels", "cloud.agent.labels").(string)
	return v.core == config.Core1 && text && (d.fact == "labels" || refused(d))
}

// refused is the one difference that is left when nothing starts: all facts are
// gone, and the exit code is 2.
func refused(d difference) bool {
	return d.fact == "exit" && d.got == "2" || d.fact != "exit" && d.got == ""
}

func namelessVariable(v vector, d difference) bool {
	variables, _ := v.Expected.Arguments["env_vars"].(map[string]any)
	_, nameless := variables[""]
	return nameless && refused(d)
}

func separateVariables(v vector, _ difference) bool {
	return anyVariable(v, func(name, _ string) bool {
		return strings.HasPrefix(strings.ToUpper(name), "PREFECT__CLOUD__AGENT__ENV_VARS__")
	})
}

func expandable(v vector, _ difference) bool {
	return anyVariable(v, func(name, value string) bool {
		return strings.EqualFold(name, "PREFECT__CLOUD__AGENT__ENV_VARS") && strings.ContainsAny(value, `$~\`)
	})
}

func mangled(v vector, _ difference) bool {
	return v.core == config.Core0 && anyVariable(v, func(name, value string) bool {
		return strings.HasPrefix(name, "PREFECT__") && strings.ContainsFunc(value, func(r rune) bool { return r == '\\' || r > 127 })
	})
}

func anyVariable(v vector, is func(name, value string) bool) bool {
	for name, value := range v.Input.Environment {
		if is(name, value) {
			return true
		}
	}
	return false
}

// typed compares with what the variable says: text where the reference has
// something else.
func typed(v vector, d difference) bool {
	for key, value := range v.Expected.Config {
		if factOf(key) != d.fact {
			continue
		}
		recorded, isText := value.(string)
		if !isText && len(v.Input.HomeFiles) > 0 {
			return true
		}
		return d.fact == "send_logs" && isText || anyVariable(v, func(name, text string) bool {
			return strings.EqualFold(name, "PREFECT__"+strings.ReplaceAll(key, ".", "__")) && text == d.got && (!isText || strings.Trim(text, `'"`) == recorded)
		})
	}
	return false
}

func tracebacks(_ vector, d difference) bool { return d.want == "1" && d.got == "2" }

func waits(v vector, d difference) bool {
	return v.Feature == "real-start" && d.got == waited
}

func hopeless(v vector, d difference) bool {
	if v.Expected.Arguments == nil || !refused(d) {
		return false
	}
	args, conf := v.Expected.Arguments, v.Expected.Config
	if !starting(v) {
		return args["backend"] != nil && !isBackend(args["backend"]) || args["api"] != nil && !isAddress(args["api"])
	}
	_, doubtful := conf["cloud.send_flow_run_logs"].(string)
	return doubtful || !isBackend(conf["backend"]) || !isAddress(conf["cloud.api"]) ||
		!slices.Contains([]string{"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}, level(conf["cloud.agent.level"]))
}

func isBackend(value any) bool { return value == config.Cloud || value == config.Server }

func isAddress(value any) bool {
	text, _ := value.(string)
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func emptySecret(v vector, _ difference) bool {
	secrets, _ := v.Expected.Arguments["image_pull_secrets"].([]any)
	return slices.Contains(secrets, any("")) || strings.HasSuffix(v.Input.Environment["IMAGE_PULL_SECRETS"], ",")
}

func deletionVariable(v vector, _ difference) bool {
	value, given := v.Input.Environment["DELETE_FINISHED_JOBS"]
	return given && value != "True"
}

func variablesAreText(v vector, d difference) bool {
	_, text := configured(v, "env_vars", "cloud.agent.env_vars").(string)
	return text && (d.fact == "env" || refused(d))
}

func token(v vector, d difference) bool {
	return v.core == config.Core1 && d.want == "" && d.got == written(v.Expected.Config["cloud.agent.auth_token"])
}

// splitting is Python's error where a text has another number of equal signs than one.
func splitting(v vector, _ difference) bool {
	e := v.Expected.Exception
	return e != nil && e.Class == "ValueError" && (strings.HasPrefix(e.Message, "dictionary update sequence") || strings.Contains(e.Message, "to unpack"))
}

// tolerated reports whether agent start of 0.x passes an option over that nobody has.
func tolerated(v vector, d difference) bool {
	if v.core != config.Core0 || v.Expected.ExitCode != 0 || !refused(d) {
		return false
	}
	known := map[string]bool{}
	for _, s := range config.AgentSettings(config.Core0) {
		for _, f := range s.Flags {
			known["--"+f.Name] = true
		}
	}
	for _, f := range foreignFlags() {
		known["--"+f.Name] = true
	}
	return slices.ContainsFunc(v.Input.Command, func(word string) bool {
		name, _, _ := strings.Cut(word, "=")
		return strings.HasPrefix(name, "--") && !known[name]
	})
}

func sameLabels(v vector, d difference) bool {
	set := func(text string) []string {
		words := strings.Fields(strings.Trim(text, "[]"))
		slices.Sort(words)
		return slices.Compact(words)
	}
	return v.core == config.Core0 && slices.Equal(set(d.got), set(d.want))
}

// between reports whether a release refuses what another one has.
func between(v vector, _ difference) bool {
	said := strings.ToLower(v.Expected.Stderr)
	return v.Expected.ExitCode == 2 && (strings.Contains(said, "no such option") || strings.Contains(said, "no such command"))
}

func emptyName(_ vector, d difference) bool { return d.want == "" && d.got == "agent" }

// imagined are cases that were never recorded, with what the sources of the
// reference say. Each shows a difference that the recorded ones do not.
func imagined() []vector {
	start := func(core string, arguments, conf map[string]any, environment map[string]string, flags ...string) vector {
		v := vector{core: core}
		command := map[string][]string{config.Core0: {"agent", "start", "kubernetes"}, config.Core1: {"agent", "kubernetes", "start"}}[core]
		v.Input.Command = slices.Concat(command, flags)
		v.Input.Environment = map[string]string{"PREFECT__BACKEND": "server"}
		v.Expected.Arguments = map[string]any{"delete_finished_jobs": true}
		v.Expected.Config = map[string]any{
			"backend": "server", "cloud.api": "http://localhost:4200", "cloud.agent.level": "INFO", "cloud.agent.name": "agent", "cloud.agent.agent_address": "",
			"cloud.agent.auth_token": "", "cloud.api_key": "", "cloud.tenant_id": "", "cloud.send_flow_run_logs": true,
		}
		maps.Copy(v.Input.Environment, environment)
		maps.Copy(v.Expected.Arguments, arguments)
		maps.Copy(v.Expected.Config, conf)
		return v
	}
	broken := start(config.Core1, nil, nil, nil)
	broken.Input.HomeFiles, broken.Expected.Arguments, broken.Expected.ExitCode = map[string]string{".prefect/config.toml": "a ="}, nil, 1
	stored := start(config.Core1, nil, map[string]any{
		"cloud.agent.name": 5.0, "cloud.agent.labels": []any{1.0, "a"}, "cloud.agent.env_vars": map[string]any{"N": 5.0, "B": true, "T": "x"}, "cloud.agent.level": "debug", "cloud.api": "http://x:1",
	}, nil)
	stored.Input.HomeFiles = map[string]string{
		".prefect/config.toml": "[cloud]\napi = 'http://x:1'\n[cloud.agent]\nname = 5\nlabels = [1, 'a']\nlevel = 'debug'\nenv_vars = {N = 5, B = true, T = 'x'}\n",
		".prefect/auth.toml":   "[x-1]\napi_key = 'K'\n",
	}
	install := vector{core: config.Core1}
	install.Input.Command, install.Input.Capture = []string{"agent", "kubernetes", "install", "-b", "other"}, "install"
	install.Expected.Arguments = map[string]any{"backend": "other", "rbac": false, "latest": false, "labels": []any{}, "env_vars": map[string]any{}}
	const agent = "PREFECT__CLOUD__AGENT__"
	return []vector{
		broken,
		stored,
		install,
		start(config.Core0, nil, map[string]any{"cloud.agent.labels": []any{"a"}}, map[string]string{agent + "LABELS": "['a']"}),
		start(config.Core0, nil, map[string]any{"cloud.agent.labels": "dev"}, map[string]string{agent + "LABELS": "dev"}),
		start(config.Core1, map[string]any{"env_vars": map[string]any{"": "x"}}, nil, nil, "-e", "=x"),
		start(config.Core1, nil, map[string]any{"cloud.agent.env_vars": map[string]any{"x": true}}, map[string]string{agent + "ENV_VARS__X": "True"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.env_vars": map[string]any{"A": "b/x"}}, map[string]string{agent + "ENV_VARS": `{"A": "$B/x"}`, "B": "b"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.name": 1000.0}, map[string]string{agent + "NAME": "1_000"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.name": "q"}, map[string]string{agent + "NAME": "'q'"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.name": nil}, map[string]string{agent + "NAME": "None"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.name": "{{HOME}}/x"}, map[string]string{agent + "NAME": "$HOME/x"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.name": "http://localhost:4200/z"}, map[string]string{agent + "NAME": "${server.endpoint}/z"}),
		start(config.Core1, nil, map[string]any{"cloud.send_flow_run_logs": 0.0}, map[string]string{"PREFECT__CLOUD__SEND_FLOW_RUN_LOGS": "0"}),
		start(config.Core1, nil, map[string]any{"cloud.send_flow_run_logs": "maybe"}, map[string]string{"PREFECT__CLOUD__SEND_FLOW_RUN_LOGS": "maybe"}),
		start(config.Core0, nil, map[string]any{"cloud.agent.name": "hÃ©"}, map[string]string{agent + "NAME": "hé"}),
		start(config.Core1, nil, map[string]any{"backend": "bogus", "cloud.api": ""}, map[string]string{"PREFECT__BACKEND": "bogus"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.level": "LOUD"}, map[string]string{agent + "LEVEL": "LOUD"}),
		start(config.Core1, map[string]any{"image_pull_secrets": []any{"a", ""}}, nil, nil, "--image-pull-secrets", "a,"),
		start(config.Core1, nil, nil, map[string]string{"DELETE_FINISHED_JOBS": "1"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.env_vars": `{"A": true}`}, map[string]string{agent + "ENV_VARS": `{"A": true}`}),
		start(config.Core1, nil, map[string]any{"cloud.agent.env_vars": `A=1`}, map[string]string{agent + "ENV_VARS": `A=1`}),
		start(config.Core1, nil, map[string]any{"cloud.agent.labels": "dev"}, map[string]string{agent + "LABELS": "dev"}),
		start(config.Core1, nil, map[string]any{"cloud.agent.name": ""}, map[string]string{agent + "NAME": "${UNSET}"}),
	}
}
