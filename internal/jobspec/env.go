package jobspec

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
// unchecked, so it need not be a string.
type entry struct {
	name  string
	value any
}

// envList is a Python dict: set keeps the place of a name that is already there.
type envList struct {
	entries []entry
	index   map[string]int
}

func (l *envList) set(name string, value any) {
	if i, ok := l.index[name]; ok {
		l.entries[i].value = value
		return
	}
	if l.index == nil {
		l.index = map[string]int{}
	}
	l.index[name] = len(l.entries)
	l.entries = append(l.entries, entry{name, value})
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
