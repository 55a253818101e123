package jobspec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/python"
)

// fromEnvironment is deploy_flow and replace_job_spec_yaml of Prefect 0.11.0, and
// generate_job_spec_from_environment of 0.13.10 to 0.15.13 (agent/kubernetes/agent.py).
func (b *builder) fromEnvironment() Tree {
	image, err := b.environmentImage()
	b.faults.add(err)
	t, ok := b.environmentTemplate()
	if !ok {
		return nil
	}
	p, ok := b.open(t)
	if !ok {
		return nil
	}
	p.metadata["name"] = flowrun.DefaultJobPrefix + "-" + b.identifier
	b.setEnvironmentLabels(p)
	p.container["image"] = image
	b.setEnvironmentCommand(p.container)
	b.setEnvironmentVariables(p.container)
	b.setEnvironmentPod(p.pod, p.container)
	return p.job
}

// environmentTemplate is YAML_TEMPLATE, or job_spec.yaml of the release.
func (b *builder) environmentTemplate() (template, bool) {
	if path := b.settings.EnvironmentTemplatePath; path != "" && (b.lenient || b.release.does(nameVolumes)) {
		tree, places, err := b.loadTemplate(path)
		b.faults.add(err)
		return template{tree: tree, source: shown(path), places: places}, err == nil
	}
	if b.settings.AgentTemplatePath != "" {
		b.warnings.put(Warning{
			Place: "the agent's job template", Text: "has no effect for flows with an environment: the Python agents used YAML_TEMPLATE for them",
			Mend: "name a job spec by the variable YAML_TEMPLATE, or register the flow with a run config", OfAgent: true,
		})
	}
	container := Tree{
		"name":            "flow",
		"imagePullPolicy": b.own.value(namePullPolicy),
		"command":         []any{"/bin/sh", "-c"},
		"resources":       Tree{"requests": Tree{"cpu": "100m"}, "limits": Tree{"cpu": "100m"}},
	}
	pod := Tree{
		"restartPolicy":    "Never",
		"imagePullSecrets": []any{Tree{"name": ""}},
		"containers":       []any{container},
	}
	return template{tree: Tree{
		"apiVersion": "batch/v1", "kind": "Job", "spec": Tree{"template": Tree{"spec": pod}},
	}, source: "built-in template"}, true
}

func (b *builder) setEnvironmentLabels(p parts) {
	name := flowrun.DefaultJobPrefix + "-" + b.identifier
	style := b.own.value(nameLabels)
	if style != labelsNew {
		for _, labels := range []Tree{p.jobLabels, p.podLabels} {
			labels["app"], labels["identifier"] = name, b.identifier
			if style == labelsBoth && !b.lenient { // job_spec.yaml's own text, which nothing replaced
				labels["app"], labels["identifier"] = "prefect-job-UUID", "UUID"
			}
		}
	}
	if style == labelsOld {
		p.jobLabels["flow_run_id"], p.jobLabels["flow_id"] = string(b.run.ID), b.run.FlowID
		p.podLabels["flow_run_id"] = string(b.run.ID)
		return
	}
	b.setLabels(p)
}

func (b *builder) setEnvironmentCommand(container Tree) {
	command := b.own.value(nameRun)
	if command == ofFlow {
		var err error
		command, err = runCommand(b.run.CoreVersion)
		b.faults.add(err)
	}
	if b.settings.EnvironmentTemplatePath != "" {
		b.warnArgs(container, command)
	}
	container["args"] = []any{command}
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
	var found faults
	if b.release.does(nameLoads) && !b.lenient {
		if _, err := b.knownStorage(); err != nil {
			return "", err
		}
	}
	metadata := ""
	if b.lenient || b.release.does(nameMetadata) {
		var err error
		metadata, err = b.metadataImage()
		found.add(err)
		if metadata != "" && b.own.does(nameMetadata) {
			return metadata, found.err()
		}
	}
	store, err := b.readStorage()
	found.add(err)
	if err := found.err(); err != nil {
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

// setEnvironmentVariables sets what the release sets, each by its name. What --env
// has comes last and wins.
func (b *builder) setEnvironmentVariables(container Tree) {
	env := b.templateVariables(container, inContainer)
	if b.settings.EnvironmentTemplatePath != "" && b.release.does(nameVolumes) && !b.lenient {
		b.setByPosition(env)
	} else {
		env = b.setByName(env)
	}
	for _, v := range b.settings.EnvVars {
		env = append(env, Tree{"name": v.Name, "value": v.Value})
	}
	container["env"] = env
}

// setByPosition is what the reference does with YAML_TEMPLATE, whatever the
// variables there are (D-22).
func (b *builder) setByPosition(env []any) {
	const positions = 8
	if len(env) < positions {
		b.faults.add(b.ofTemplate(&FieldError{Field: inContainer + ".env", Problem: fmt.Sprintf("has fewer than %d variables", positions), Mend: "begin with a copy of job_spec.yaml"}))
		return
	}
	for i, d := range b.release.variables()[:positions] {
		if variable, ok := env[i].(Tree); ok {
			variable["value"] = b.valueOf(d, nil)
		}
	}
}

func (b *builder) setByName(env []any) []any {
	for _, d := range b.release.variables() {
		value := b.valueOf(d, nil)
		if b.lenient && d.Name == envLogToCloud {
			value = strconv.FormatBool(b.settings.SendLogs)
		}
		switch i := indexOf(env, d.Name); {
		case i < 0:
			env = append(env, Tree{"name": d.Name, "value": value})
		case value == d.Value, d.Name == envLogLevel && b.settings.Defaulted.FlowLogLevel:
			// The built-in template is what says it, so another template may say something else.
		default:
			env[i] = Tree{"name": d.Name, "value": value}
		}
	}
	return env
}

func indexOf(env []any, name string) int {
	return slices.IndexFunc(env, func(item any) bool {
		variable, ok := item.(Tree)
		return ok && variable["name"] == name
	})
}

// valueOf is the value of a variable that the release sets; image is that of the Job.
func (b *builder) valueOf(d Default, image any) any {
	s := b.settings
	switch d.Value {
	case ofAPI:
		return cmp.Or(s.API, defaultAPI)
	case ofCredential:
		if s.Token && d.Name == envAPIKey {
			return ""
		}
		return s.Credential
	case ofCredentialOrNull:
		if s.Credential == "" && !b.lenient {
			return nil
		}
		return s.Credential
	case ofTenant:
		if s.Credential == "" || s.Token {
			return ""
		}
		return s.TenantID
	case ofFlowRun:
		return string(b.run.ID)
	case ofFlowID:
		return b.run.FlowID
	case ofLabels:
		return python.List(s.Labels)
	case ofBackend:
		return s.Backend
	case ofImage:
		return image
	case ofSendLogs:
		return strconv.FormatBool(s.SendLogs)
	case ofLevel:
		return b.level()
	case ofVariable:
		return s.NamespaceVariable
	case ofNamespace:
		return s.Namespace
	}
	return d.Value
}

// level is the log level that the release tells flow runs.
func (b *builder) level() string {
	if b.release.does(nameEnvLevel) {
		for _, v := range slices.Backward(b.settings.EnvVars) {
			if v.Name == envLogLevel {
				return v.Value
			}
		}
	}
	return cmp.Or(b.settings.FlowLogLevel, "INFO")
}

// setEnvironmentPod sets what the agent's variables say. Their lists take the place
// of the template's first item and of all volumes, as there; where they are not set
// the template's own stay (the reference deletes them).
func (b *builder) setEnvironmentPod(pod, container Tree) {
	s := b.settings
	b.setEnvironmentSecrets(pod)
	resources := b.object(container, "spec.template.spec.containers[0]", "resources")
	requests := b.object(resources, "spec.template.spec.containers[0].resources", "requests")
	limits := b.object(resources, "spec.template.spec.containers[0].resources", "limits")
	setText(requests, "memory", s.JobMemRequest)
	setText(limits, "memory", s.JobMemLimit)
	setText(requests, "cpu", s.JobCPURequest)
	setText(limits, "cpu", s.JobCPULimit)
	if b.release.does(nameAccount) && !b.lenient {
		setText(container, "imagePullPolicy", s.ImagePullPolicy)
		if s.ServiceAccountName != nil {
			setText(pod, "serviceAccountName", *s.ServiceAccountName)
		}
	}
	if b.release.does(nameVolumes) && !b.lenient {
		replace(pod, "volumes", s.Volumes)
		replace(container, "volumeMounts", s.VolumeMounts)
	}
}

// replace sets a list, or deletes it if there is nothing to set.
func replace(parent Tree, key string, items []Tree) {
	delete(parent, key)
	for _, item := range items {
		list, _ := parent[key].([]any)
		parent[key] = append(list, clone(item))
	}
}

func (b *builder) setEnvironmentSecrets(pod Tree) {
	present := b.list(pod, "spec.template.spec", "imagePullSecrets")
	names := b.settings.ImagePullSecrets
	joined := strings.Join(names, ",")
	switch style := b.own.value(nameSecrets); {
	case style == secretsAlways, style == secretsOne && joined != "":
		names = []string{joined}
	case style == secretsOne, b.lenient && joined == "":
		names = nil
	}
	switch {
	case len(names) > 0:
		pod["imagePullSecrets"] = append(references(names), present[min(len(present), 1):]...)
	case !b.lenient:
		delete(pod, "imagePullSecrets")
	}
}

// setText sets a key unless the text is empty.
func setText(tree Tree, key, text string) {
	if text != "" {
		tree[key] = text
	}
}
