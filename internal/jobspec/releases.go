package jobspec

import "strings"

// FlowKind is how a flow says where it runs: by an environment, as until 0.15.13,
// or by a run config, as from 0.13.10 on.
type FlowKind string

// The two kinds of flows.
const (
	ByEnvironment FlowKind = "environment"
	ByRunConfig   FlowKind = "run config"
)

// Default is what the Jobs of one kind of flow have where nobody says anything
// else, from one release of Prefect's KubernetesAgent on and before another.
type Default struct {
	Kind FlowKind
	// Name is a field of the Job or an environment variable.
	Name string
	// Value is what it has, in the words of the docs.
	Value string
	// Since is the first release that has it, Until the first that no longer has;
	// both are empty where there is no such release.
	Since, Until string
}

// The values of Defaults that are not texts of their own.
const (
	ofFlow             = "of the flow's release"
	ofAPI              = "the API's address"
	ofCredential       = "the credential"          //nolint:gosec // A word of the docs.
	ofCredentialOrNull = "the credential, or null" //nolint:gosec // A word of the docs.
	ofTenant           = "the tenant"
	ofFlowRun          = "the flow run's id"
	ofFlowID           = "the flow's id"
	ofLabels           = "the agent's labels"
	ofBackend          = "the backend"
	ofImage            = "the image"
	ofSendLogs         = "whether logs are sent"
	ofLevel            = "the agent's log level"
	ofVariable         = "the variable NAMESPACE"
	ofNamespace        = "the namespace of the Jobs"
	labelsOld          = "app, identifier, flow_run_id, flow_id"
	labelsBoth         = "prefect.io/*, and app and identifier without a value of the run"
	labelsNew          = "prefect.io/*"
	secretsAlways      = "one, without a name where none is set"
	secretsOne         = "one, if set"
	secretsList        = "a list, if set" //nolint:gosec // A word of the docs.
	imageAllExtras     = "prefecthq/prefect:all_extras-"
	imagePlain         = "prefecthq/prefect:"
	inShell            = "/bin/sh -c"
	oneWord            = "one word"
	inWords            = "words"
	inTemplate         = "in the Pod template, where they do nothing"
	inPod              = "in the Pod"
	isTrue             = "yes"
)

// Names of Defaults that are no variables.
const (
	nameCommand    = "command of the built-in template"
	nameRun        = "args"
	namePullPolicy = "imagePullPolicy"
	nameCPU        = "cpu"
	nameLabels     = "labels"
	nameImage      = "image where none is named"
	nameMetadata   = "image of the environment's metadata counts"
	nameSecrets    = "imagePullSecrets"
	nameLoads      = "the storage must be known, even where the metadata names an image"
	nameAccount    = "SERVICE_ACCOUNT_NAME and IMAGE_PULL_POLICY count"
	nameVolumes    = "volumes, volumeMounts and YAML_TEMPLATE count"
	nameOwnImage   = "image of the template counts"
	nameRestart    = "restartPolicy where none is named"
	namePodSpec    = "serviceAccountName and imagePullSecrets are set"
	nameName       = "name of the template counts"
	nameRunPolicy  = "image_pull_policy of the run config counts"
	nameNoSecrets  = "an empty list of image_pull_secrets hides the agent's"
	nameNullRun    = "a flow run without run config is one of defaults"
	nameEnvLevel   = "PREFECT__LOGGING__LEVEL of --env counts instead of the agent's"
	nameWeakLevel  = "PREFECT__LOGGING__LEVEL, where --env and run config have none"
	nameUniversal  = "env of a UniversalRun counts"
	nameOwnLogs    = "PREFECT__CLOUD__SEND_FLOW_RUN_LOGS of the flow counts"
)

// Defaults are all that changed in the Jobs of Prefect's KubernetesAgent from
// 0.11.0 to 1.4.1, read from agent/kubernetes/agent.py, job_spec.yaml and
// job_template.yaml beside it, and utilities/agent.py. Variables stand in the
// order of the Job.
func Defaults() []Default {
	env, run := ByEnvironment, ByRunConfig
	return []Default{
		{env, namePullPolicy, "Always", "", "0.12.0"},
		{env, namePullPolicy, "IfNotPresent", "0.12.0", ""},
		{env, nameLabels, labelsOld, "", "0.11.3"},
		{env, nameLabels, labelsBoth, "0.11.3", "0.13.2"},
		{env, nameLabels, labelsNew, "0.13.2", ""},
		{env, nameMetadata, isTrue, "0.12.0", ""},
		{env, nameLoads, isTrue, "0.13.10", ""},
		{env, nameAccount, isTrue, "0.12.0", ""},
		{env, nameRun, commandCloudFlow, "", "0.13.0"},
		{env, nameRun, commandFlowRun, "0.13.0", "0.13.1"},
		{env, nameRun, commandCloudFlow, "0.13.1", "0.13.2"},
		{env, nameRun, ofFlow, "0.13.2", ""},
		{env, nameSecrets, secretsAlways, "", "0.13.3"},
		{env, nameSecrets, secretsOne, "0.13.3", "0.13.14"},
		{env, nameSecrets, secretsList, "0.13.14", ""},
		{env, nameVolumes, isTrue, "0.13.4", ""},
		{env, nameEnvLevel, isTrue, "0.14.17", ""},
		{env, envAPI, ofAPI, "", ""},
		{env, envAuthToken, ofCredential, "", "0.15.0"},
		{env, envAuthToken, ofCredentialOrNull, "0.15.0", ""},
		{env, envFlowRunID, ofFlowRun, "", ""},
		{env, envFlowID, ofFlowID, "", ""},
		{env, envNamespace, ofVariable, "", "0.14.0"},
		{env, envNamespace, ofNamespace, "0.14.0", ""},
		{env, envAgentLabels, ofLabels, "", ""},
		{env, envSendLogs, ofSendLogs, "0.14.20", ""},
		{env, envLogToCloud, ofSendLogs, "", "0.14.20"},
		{env, envLogToCloud, ofLevel, "0.14.20", ""}, // by position, so one too far
		{env, envLogLevel, ofLevel, "0.13.3", "0.14.20"},
		{env, envLogLevel, "INFO", "0.14.20", ""},
		{env, envLocalSecrets, "false", "", ""},
		{env, envLogLevel, logLevelOfPython, "", "0.13.3"},
		{env, envFlowRunner, classFlowRunner, "", ""},
		{env, envTaskRunner, classTaskRunner, "", "1.2.3"},

		{run, nameCommand, inShell, "", "0.14.0"},
		{run, nameRun, oneWord, "", "0.14.0"},
		{run, nameRun, inWords, "0.14.0", ""},
		{run, namePullPolicy, "IfNotPresent", "", "0.13.11"},
		{run, nameCPU, "100m", "", "0.13.11"},
		{run, nameImage, imageAllExtras, "", "0.14.0"},
		{run, nameImage, imagePlain, "0.14.0", ""},
		{run, nameRestart, "Never", "0.14.0", ""},
		{run, namePodSpec, inTemplate, "0.13.19", "0.14.1"},
		{run, namePodSpec, inPod, "0.14.1", ""},
		{run, nameOwnImage, isTrue, "0.14.13", ""},
		{run, nameRunPolicy, isTrue, "0.14.18", ""},
		{run, nameUniversal, isTrue, "0.14.17", ""},
		{run, nameNoSecrets, isTrue, "", "0.15.11"},
		{run, nameNullRun, isTrue, "1.0.0", ""},
		{run, nameName, isTrue, "1.3.0", ""},
		{run, nameOwnLogs, isTrue, "1.4.0", ""},
		{run, nameWeakLevel, ofLevel, "0.14.17", ""},
		{run, envBackend, ofBackend, "0.14.7", ""},
		{run, envAgentLabels, ofLabels, "0.14.3", ""},
		{run, envAPI, ofAPI, "", ""},
		{run, envAuthToken, ofCredential, "", "1.0.0"},
		{run, envAPIKey, ofCredential, "0.15.0", ""},
		{run, envTenantID, ofTenant, "0.15.0", ""},
		{run, envLocalSecrets, "false", "", ""},
		{run, envSendLogs, ofSendLogs, "0.14.20", "1.4.0"},
		{run, envFlowRunID, ofFlowRun, "", ""},
		{run, envFlowID, ofFlowID, "", ""},
		{run, envImage, ofImage, "0.13.19", ""},
		{run, envLogLevel, ofLevel, "", "0.13.11"},
		{run, envLogToCloud, ofSendLogs, "", "0.14.20"},
		{run, envFlowRunner, classFlowRunner, "", ""},
		{run, envTaskRunner, classTaskRunner, "", "1.2.3"},
		{run, envLogToCloud, ofSendLogs, "0.14.20", ""},
		{run, envAuthToken, ofCredential, "1.0.0", ""},
	}
}

// storageSince is the first release that knows a storage type, if that is later than
// 0.11.0 (serialization/storage.py). An agent refuses what it does not know.
func storageSince(kind string) string {
	return map[string]string{
		"GitHub": "0.12.1", "Webhook": "0.13.0", "GitLab": "0.13.11", "Bitbucket": "0.13.19", "CodeCommit": "0.13.19", "Module": "0.14.7", "Git": "0.14.17",
	}[kind]
}

// The first and last releases whose agents made Jobs of each kind of flow.
const (
	firstEnvironment, lastEnvironment = "0.11.0", "0.15.13"
	firstRunConfig, lastRunConfig     = "0.13.10", "1.4.1"
)

// release is what the Jobs of one release's agent have, for one kind of flow.
type release []Default

func newRelease(kind FlowKind, v version) release {
	var r release
	for _, d := range Defaults() {
		if d.Kind == kind && !v.before(d.Since) && (d.Until == "" || v.before(d.Until)) {
			r = append(r, d)
		}
	}
	return r
}

// value is what the release has under a name; empty if it has no such thing.
func (r release) value(name string) string {
	for _, d := range r {
		if d.Name == name {
			return d.Value
		}
	}
	return ""
}

// does reports whether the release has something under a name.
func (r release) does(name string) bool { return r.value(name) != "" }

// variables are the environment variables that the release sets, in their order.
func (r release) variables() []Default {
	var found []Default
	for _, d := range r {
		if strings.HasPrefix(d.Name, "PREFECT__") && !strings.Contains(d.Name, " ") {
			found = append(found, d)
		}
	}
	return found
}

// versionOf is the release whose defaults a flow gets: that of its own core
// version. What no release made Jobs of gets the nearest one that did.
func versionOf(core string, kind FlowKind) version {
	first, last := firstEnvironment, lastEnvironment
	if kind == ByRunConfig {
		first, last = firstRunConfig, lastRunConfig
	}
	v, ok := parseVersion(core)
	switch {
	case (!ok || v.before(first)) && kind == ByRunConfig:
		// Such a flow was never run by an agent of its own release.
		v, _ = parseVersion(last)
	case !ok || v.before(first):
		v, _ = parseVersion(first)
	case !v.before(last):
		v, _ = parseVersion(last)
	}
	return v
}
