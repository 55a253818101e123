package config

import (
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// Ineffective is a key of Prefect's configuration that changes nothing here.
type Ineffective struct {
	// Key is the place in config.toml, dotted.
	Key string
	// Core is the form that has it so, Core0 or Core1; empty means both.
	Core string
	// Default is Prefect's own value: whoever sets it misses nothing.
	Default string
	// Reason says why, and what to use instead.
	Reason string
}

// The reasons that several keys share.
const (
	ofServer  = "belongs to Prefect Server itself"
	ofFlowRun = "read by the process of a flow run, not by the agent; pass it on with --env"
	ofLog     = "log lines are JSON, or coloured text on a terminal"
	ofLimits  = "an answer 429 is obeyed: the pause is what Retry-After asks for, or grows by itself, and no other flow run waits for it"
)

// IneffectiveKeys lists what Prefect's own configuration has and the agent, in the
// given form of the command, does not use.
func IneffectiveKeys(core string) []Ineffective {
	var keys []Ineffective
	for _, k := range ineffective() {
		if k.Core == "" || k.Core == core {
			keys = append(keys, k)
		}
	}
	return keys
}

func ineffective() []Ineffective {
	return []Ineffective{
		{"server.ui.endpoint", "", "http://localhost:8080", ofServer},
		{"server.graphql.port", "", "4201", ofServer},
		{"server.hasura.port", "", "3000", ofServer},
		{"server.database.port", "", "5432", ofServer},
		{"cloud.graphql", Core1, "", "the agent of 1.4.1 sends everything to cloud.api"},
		{"cloud.use_local_secrets", "", "true", ofFlowRun},
		{"cloud.heartbeat_interval", "", "30.0", ofFlowRun},
		{"cloud.heartbeat_mode", "", "process", ofFlowRun},
		{"cloud.check_cancellation_interval", "", "15.0", ofFlowRun},
		{"cloud.logging_heartbeat", "", "5", ofFlowRun},
		{"cloud.queue_interval", "", "30.0", ofFlowRun},
		{"cloud.diagnostics", "", "false", "a dump of requests would show what flows are given; what fails is logged with its cause"},
		{"cloud.agent.kubernetes_keep_alive", "", "false", "connections to Kubernetes are always kept alive and probed"},
		{loopInterval, "", defaultLoopInterval, "endings are seen as they happen"},
		{"cloud.rate_limiting.backoff_s", "", "180", ofLimits},
		{"cloud.rate_limiting.backoff_multiplier", "", "10", ofLimits},
		{"cloud.rate_limiting.backoff_exponent", "", "2", ofLimits},
		{"cloud.rate_limiting.max_retries", "", "6", ofLimits},
		{"logging.format", "", "", ofLog},
		{"logging.datefmt", "", "", ofLog},
		{"logging.log_to_cloud", "", "false", "what flow runs log to the API is decided by cloud.send_flow_run_logs and --no-cloud-logs"},
		{"flows.defaults.storage.default_class", "", "", "read when a flow is registered, not when it runs"},
	}
}

// inVain says for each key without effect that was set where it stands and why it
// does nothing.
func (s *stack) inVain(core string) []string {
	var warnings []string
	for _, k := range IneffectiveKeys(core) {
		path := strings.Split(k.Key, ".")
		value, ok := lookup(s.tree, path)
		if text, err := textOf(value); !ok || s.rank(path) <= rankDefault || err == nil && (text == "" || same(text, k.Default)) {
			continue
		}
		warnings = append(warnings, plain.Line(s.place(path)+" has no effect: "+k.Reason, maxLine))
	}
	return warnings
}

// same compares as Prefect would, for which 30 and 30.0, true and True are one value.
func same(text, standard string) bool {
	return strings.EqualFold(strings.TrimSuffix(text, ".0"), strings.TrimSuffix(standard, ".0"))
}
