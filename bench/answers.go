package main

import (
	"strings"
	"time"
)

// fixedAnswers are the answers that depend on nothing, by a text that only their
// documents hold.
func fixedAnswers() map[string]string {
	return map[string]string{
		"__type": `{"data":{
			"queue":{"inputFields":[{"name":"before"},{"name":"labels"},{"name":"tenant_id"}]},
			"run":{"fields":[{"name":"id"},{"name":"run_config"},{"name":"states"},{"name":"labels"},{"name":"tenant_id"}]},
			"flow":{"fields":[{"name":"id"},{"name":"core_version"},{"name":"environment"}]}}}`,
		"tenant {":        `{"data":{"tenant":[{"id":"9c8b7f0e-0000-4000-8000-000000000001"}]}}`,
		"register_agent(": `{"data":{"register_agent":{"id":"9c8b7f0e-0000-4000-8000-000000000002"}}}`,
		"hello":           `{"data":{"hello":"hello"}}`,
	}
}

// offered is the part of a run that a claim replaces.
const offered = `"version":1,"state":"Scheduled"`

// scheduled is a state as Prefect Server of 1.x shows it.
const scheduled = `{"type":"Scheduled","message":"Flow run scheduled.","start_time":"$start","context":{},"cached_inputs":{},` +
	`"_result":{"type":"NoResultType","__version__":"1.4.1"},"__version__":"1.4.1"}`

// runText is a flow run of a flow with a KubernetesRun and an image, the most
// common kind.
const runText = `{"id":"$id","name":"run-$id",` +
	`"flow":{"id":"9c8b7f0e-0000-4000-8000-000000000003","name":"two-tasks","core_version":"1.4.1","environment":null,` +
	`"storage":` + flowStorage + `},"run_config":` + flowRunConfig + `,` +
	offered + `,"serialized_state":` + scheduled + `,"states":[{"version":1,"serialized_state":` + scheduled + `}]}`

const (
	flowStorage = `{"type":"Docker","registry_url":"registry.example.com","image_name":"flows","image_tag":"1","flows":{},` +
		`"flow_file":null,"stored_as_script":false,"__version__":"1.4.1"}`
	flowRunConfig = `{"type":"KubernetesRun","image":null,"env":{"STAGE":"test"},"labels":[],"cpu_request":"100m","cpu_limit":null,` +
		`"memory_request":"256Mi","memory_limit":null,"job_template":null,"job_template_path":null,"service_account_name":null,` +
		`"image_pull_secrets":null,"image_pull_policy":null,"__version__":"1.4.1"}`
)

func encodeOffer(id string, start time.Time) []byte {
	return []byte(strings.NewReplacer("$id", id, "$start", start.UTC().Format("2006-01-02T15:04:05.000000-07:00")).Replace(runText))
}
