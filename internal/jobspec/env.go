package jobspec

import "reflect"

// The environment variables that flow runs read.
const (
	envAPI           = "PREFECT__CLOUD__API"
	envAPIKey        = "PREFECT__CLOUD__API_KEY"    //nolint:gosec // The name of a variable, not its value.
	envAuthToken     = "PREFECT__CLOUD__AUTH_TOKEN" //nolint:gosec // The name of a variable, not its value.
	envTenantID      = "PREFECT__CLOUD__TENANT_ID"
	envAgentLabels   = "PREFECT__CLOUD__AGENT__LABELS"
	envSendLogs      = "PREFECT__CLOUD__SEND_FLOW_RUN_LOGS"
	envLocalSecrets  = "PREFECT__CLOUD__USE_LOCAL_SECRETS" //nolint:gosec // The name of a variable, not its value.
	envBackend       = "PREFECT__BACKEND"
	envFlowRunID     = "PREFECT__CONTEXT__FLOW_RUN_ID"
	envFlowID        = "PREFECT__CONTEXT__FLOW_ID"
	envNamespace     = "PREFECT__CONTEXT__NAMESPACE"
	envImage         = "PREFECT__CONTEXT__IMAGE"
	envLogToCloud    = "PREFECT__LOGGING__LOG_TO_CLOUD"
	envLogLevel      = "PREFECT__LOGGING__LEVEL"
	envFlowRunner    = "PREFECT__ENGINE__FLOW_RUNNER__DEFAULT_CLASS"
	envTaskRunner    = "PREFECT__ENGINE__TASK_RUNNER__DEFAULT_CLASS"
	classFlowRunner  = "prefect.engine.cloud.CloudFlowRunner"
	classTaskRunner  = "prefect.engine.cloud.CloudTaskRunner"
	defaultAPI       = "https://api.prefect.io"
	logLevelOfPython = "DEBUG"
)

// entry is one environment variable. Its value is what the reference hands on
// unchecked, so it need not be a string. By is who sets it, in the words of a
// warning; empty where it is a default.
type entry struct {
	name  string
	value any
	by    string
}

// Who sets variables.
const (
	byTemplate  = "the job template"
	byAgent     = "--env"
	byRunConfig = "run_config.env"
	byUs        = "the agent itself"
)

// envList is a Python dict: set keeps the place of a name that is already there.
type envList struct {
	entries []entry
	index   map[string]int
	// lost are the names of what somebody set and somebody else has set otherwise.
	lost map[contest][]string
}

// contest is who lost a variable to whom.
type contest struct{ loser, winner string }

func (l *envList) set(e entry) {
	if i, ok := l.index[e.name]; ok {
		l.lose(l.entries[i], e)
		l.entries[i].value, l.entries[i].by = e.value, e.by
		return
	}
	if l.index == nil {
		l.index = map[string]int{}
	}
	l.index[e.name] = len(l.entries)
	l.entries = append(l.entries, e)
}

// lose notes that a variable has another value than one of its authors gave it.
func (l *envList) lose(loser, winner entry) {
	if loser.by == "" || loser.by == winner.by || reflect.DeepEqual(loser.value, winner.value) {
		return
	}
	if l.lost == nil {
		l.lost = map[contest][]string{}
	}
	c := contest{loser.by, winner.by}
	l.lost[c] = append(l.lost[c], loser.name)
}

func (l *envList) has(name string) bool {
	_, ok := l.index[name]
	return ok
}

func envTree(entries []entry, extra int) []any {
	out := make([]any, len(entries), len(entries)+extra)
	for i, e := range entries {
		out[i] = Tree{"name": e.name, "value": e.value}
	}
	return out
}
