package jobspec

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/python"
)

// fromEnvironment is deploy_flow and replace_job_spec_yaml of Prefect 0.11.0
// (agent/kubernetes/agent.py, job_spec.yaml).
func (b *builder) fromEnvironment() (Tree, error) {
	image, err := b.environmentImage()
	if err != nil {
		return nil, err
	}
	name := "prefect-job-" + b.identifier
	podLabels := Tree{"app": name, "identifier": b.identifier, "flow_run_id": string(b.run.ID)}
	jobLabels := Tree{"app": name, "identifier": b.identifier, "flow_run_id": string(b.run.ID), "flow_id": b.run.FlowID}
	container := Tree{
		"name":            "flow",
		"image":           image,
		"imagePullPolicy": "Always",
		"command":         []any{"/bin/sh", "-c"},
		"args":            []any{commandCloudFlow},
		"env":             b.environmentVariables(),
		"resources":       b.environmentResources(),
	}
	pod := Tree{
		"restartPolicy":    "Never",
		"imagePullSecrets": []any{Tree{"name": strings.Join(b.settings.ImagePullSecrets, ",")}},
		"containers":       []any{container},
	}
	return Tree{
		"apiVersion": "batch/v1",
		"kind":       "Job",
		"metadata":   Tree{"name": name, "labels": jobLabels},
		"spec":       Tree{"template": Tree{"metadata": Tree{"labels": podLabels}, "spec": pod}},
	}, nil
}

// keepsStorage is whether flows are refused by their storage as the reference
// does, whatever else is known of an image.
func (b *builder) keepsStorage() bool {
	return b.lenient && slices.Contains(b.settings.Keep, keepStorage)
}

// environmentImage takes Docker storage; 0.11.0 refuses every other one. Lenient,
// it knows metadata.image too, which 0.12.0 and later fill at registration and
// prefer, and the agent's default (D-34).
func (b *builder) environmentImage() (string, error) {
	if b.keepsStorage() {
		if store, err := b.readStorage(); err == nil && store.kind != dockerStorage {
			return "", &UnsupportedStorageError{FlowRun: string(b.run.ID), Type: store.kind, Kept: "Unsupported Storage type"}
		}
	}
	metadata := ""
	if b.lenient {
		var err error
		if metadata, err = b.metadataImage(); err != nil {
			return "", err
		}
		if metadata != "" && b.run.since(0, 12) {
			return metadata, nil
		}
	}
	store, err := b.readStorage()
	if err != nil {
		return "", err
	}
	if store.kind == dockerStorage {
		return store.image, nil
	}
	if image := cmp.Or(metadata, b.settings.DefaultJobImage); b.lenient && image != "" {
		return image, nil
	}
	return "", &UnsupportedStorageError{FlowRun: string(b.run.ID), Type: store.kind}
}

func (b *builder) metadataImage() (string, error) {
	if absent(b.run.Environment) {
		return "", nil
	}
	environment, err := readObject("environment", b.run.Environment)
	if err != nil || absent(environment.raw["metadata"]) {
		return "", err
	}
	metadata, err := readObject("environment.metadata", environment.raw["metadata"])
	if err != nil {
		return "", err
	}
	image, err := metadata.text("image")
	if err != nil || image == nil {
		return "", err
	}
	return *image, nil
}

func (b *builder) environmentVariables() []any {
	s := b.settings
	api := s.API
	if api == "" {
		api = defaultAPI
	}
	entries := []entry{
		{envAPI, api},
		{envAuthToken, s.Credential},
		{envFlowRunID, string(b.run.ID)},
		{envFlowID, b.run.FlowID},
		{envNamespace, s.NamespaceVariable},
		{envAgentLabels, python.List(s.Labels)},
		{envLogToCloud, strconv.FormatBool(s.SendLogs)},
		{envLocalSecrets, "false"},
		{envLogLevel, logLevelOfPython},
		{envFlowRunner, classFlowRunner},
		{envTaskRunner, classTaskRunner},
	}
	for _, v := range s.EnvVars {
		entries = append(entries, entry{v.Name, v.Value})
	}
	return envTree(entries, 1)
}

func (b *builder) environmentResources() Tree {
	s := b.settings
	requests, limits := Tree{"cpu": "100m"}, Tree{"cpu": "100m"}
	setText(requests, "memory", s.JobMemRequest)
	setText(limits, "memory", s.JobMemLimit)
	setText(requests, "cpu", s.JobCPURequest)
	setText(limits, "cpu", s.JobCPULimit)
	return Tree{"requests": requests, "limits": limits}
}

// setText sets a key unless the text is empty.
func setText(tree Tree, key, text string) {
	if text != "" {
		tree[key] = text
	}
}
