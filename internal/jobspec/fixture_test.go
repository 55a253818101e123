package jobspec_test

import (
	"encoding/json"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

const (
	dockerStorage    = `{"type":"Docker","registry_url":"reg.io/team","image_name":"etl","image_tag":"v1"}`
	localStorage     = `{"type":"Local","directory":"/flows","flows":{}}`
	localEnvironment = `{"type":"LocalEnvironment","labels":[],"__version__":"0.11.0"}`
)

// environmentRun is a flow run of 0.11.0.
func environmentRun() jobspec.FlowRun {
	return jobspec.FlowRun{
		ID: "11111111-1111-4111-8111-111111111111", Name: "brave-fox",
		FlowID: "22222222-2222-4222-8222-222222222222", FlowName: "ETL",
		Environment: json.RawMessage(localEnvironment), Storage: json.RawMessage(dockerStorage),
	}
}

// configRun is a flow run of 1.4.1; an empty run config is null.
func configRun(runConfig string) jobspec.FlowRun {
	run := environmentRun()
	run.CoreVersion, run.Environment, run.Storage = "1.4.1", json.RawMessage("null"), json.RawMessage(localStorage)
	if runConfig != "" {
		run.RunConfig = json.RawMessage(runConfig)
	}
	return run
}

// templated is a KubernetesRun with an inline template.
func templated(template string) jobspec.FlowRun {
	return configRun(`{"type":"KubernetesRun","job_template":` + template + `}`)
}

func agent() jobspec.Settings {
	return jobspec.Settings{
		Backend: "server", API: "http://apollo:4200", Namespace: "flows", NamespaceVariable: "default",
		Labels: []string{"dev", "gpu"}, SendLogs: true, FlowLogLevel: "INFO",
	}
}
