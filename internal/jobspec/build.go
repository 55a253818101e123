package jobspec

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/python"
)

// fromRunConfig is generate_job_spec_from_run_config of Prefect 1.4.1 and 1.2.4
// (agent/kubernetes/agent.py).
func (b *builder) fromRunConfig() (Tree, error) {
	if err := b.checkTenant(); err != nil {
		return nil, err
	}
	config, err := b.readRunConfig()
	if err != nil {
		return nil, err
	}
	chosen, err := b.chooseTemplate(config)
	if err != nil {
		return nil, err
	}
	p, err := b.open(chosen)
	if err != nil {
		return nil, err
	}
	if err := b.setName(p.metadata, chosen); err != nil {
		return nil, err
	}
	b.setLabels(p)
	b.setPod(p.pod, config, chosen.own)
	if err := b.setContainer(p.container, config, chosen.source); err != nil {
		return nil, err
	}
	return p.job, nil
}

const maxReferencePrefix = 48

// setName cuts the template's name after 48 characters, as 1.3.0 and later do.
func (b *builder) setName(metadata Tree, t template) error {
	prefix := flowrun.DefaultJobPrefix
	value, given := metadata["name"]
	if value == nil && b.lenient {
		given = false
	}
	if given && b.reference() != Reference124 {
		text, ok := value.(string)
		if !ok {
			return &TemplateError{Source: t.source, Err: wrongKind("metadata.name", value, "string", b.places.value(metadata, "name"))}
		}
		prefix = text
		if t.own {
			b.prefix = text
		}
	}
	if runes := []rune(prefix); len(runes) > maxReferencePrefix {
		prefix = string(runes[:maxReferencePrefix])
	}
	metadata["name"] = prefix + "-" + b.identifier
	return nil
}

func (b *builder) setLabels(p parts) {
	for _, labels := range []Tree{p.jobLabels, p.podLabels} {
		labels[flowrun.LabelIdentifier] = b.identifier
		labels[flowrun.LabelFlowRunID] = string(b.run.ID)
		labels[flowrun.LabelFlowID] = b.run.FlowID
	}
}

// setPod lets the run config win over its own template, and both over the agent.
func (b *builder) setPod(pod Tree, c runConfig, own bool) {
	keep := func(key string) bool {
		value, given := pod[key]
		return own && given && (value != nil || !b.lenient)
	}
	account := c.serviceAccount
	if account == nil && !keep("serviceAccountName") {
		account = b.settings.ServiceAccountName
	}
	if account != nil {
		pod["serviceAccountName"] = *account
	}
	secrets := c.pullSecrets
	if len(secrets) == 0 {
		secrets = nil
		if !keep("imagePullSecrets") {
			secrets = b.settings.ImagePullSecrets
		}
	}
	if secrets != nil {
		pod["imagePullSecrets"] = references(secrets)
	}
	if value, given := pod["restartPolicy"]; !given || value == nil && b.lenient {
		pod["restartPolicy"] = "Never"
	}
}

func references(names []string) []any {
	out := make([]any, len(names))
	for i, name := range names {
		out[i] = Tree{"name": name}
	}
	return out
}

func (b *builder) setContainer(container Tree, c runConfig, source string) error {
	image, err := b.image(c, container["image"])
	if err != nil {
		return err
	}
	container["image"] = image
	if c.pullPolicy != nil {
		container["imagePullPolicy"] = *c.pullPolicy
	}
	command, err := runCommand(b.run.CoreVersion)
	if err != nil {
		return err
	}
	args := []any{}
	for word := range strings.FieldsSeq(command) {
		args = append(args, word)
	}
	container["args"] = args
	if err := b.setEnv(container, c, image); err != nil {
		return &TemplateError{Source: source, Err: err}
	}
	if err := b.setResources(container, c); err != nil {
		return &TemplateError{Source: source, Err: err}
	}
	return nil
}

// image is get_flow_image of Prefect 0.14.13 and later: Docker storage, the run
// config, the template, Prefect's own image of the flow's core version.
func (b *builder) image(c runConfig, fromTemplate any) (any, error) {
	store, err := b.readStorage()
	if err != nil {
		return nil, err
	}
	if !knownStorage[store.kind] && b.keepsStorage() {
		return nil, &UnsupportedStorageError{FlowRun: string(b.run.ID), Type: store.kind, Kept: "{'type': ['Unsupported value: " + shorten(store.kind) + "']}"}
	}
	if !knownStorage[store.kind] && !b.lenient {
		return nil, &FieldError{Field: "storage.type", Value: store.kind, Problem: "is an unsupported value"}
	}
	switch {
	case store.kind == dockerStorage:
		return store.image, nil
	case c.image != nil:
		return *c.image, nil
	case fromTemplate != nil:
		return fromTemplate, nil
	}
	version, _, _ := strings.Cut(b.run.CoreVersion, "+")
	if b.run.CoreVersion == "" {
		version = "latest"
	}
	return "prefecthq/prefect:" + version, nil
}

// setEnv merges the sources of spec 8.3 and then appends what the template has
// under other names, so that valueFrom entries survive.
func (b *builder) setEnv(container Tree, c runConfig, image any) error {
	const path = "spec.template.spec.containers[0]"
	fromTemplate, err := b.templateVariables(container, path)
	if err != nil {
		return err
	}
	merged := b.runConfigVariables(c, image)
	out := envTree(merged.entries, len(fromTemplate)+1)
	for i, item := range fromTemplate {
		place := fmt.Sprintf("%s.env[%d]", path, i)
		variable, ok := item.(Tree)
		if !ok {
			return wrongKind(place, item, "object", b.places.item(container, "env", i))
		}
		name, given := variable["name"]
		if !given {
			p := b.places.of(variable)
			return &FieldError{Field: place + ".name", Line: p.line, Column: p.column, Problem: "is missing", Mend: "give the variable a name"}
		}
		switch text := name.(type) {
		case string:
			if merged.has(text) {
				continue
			}
		case Tree, []any:
			return wrongKind(place+".name", name, "string", b.places.value(variable, "name"))
		}
		out = append(out, variable)
	}
	container["env"] = out
	return nil
}

// templateVariables takes an empty object or text for an empty list, as Python
// does, which goes over either.
func (b *builder) templateVariables(container Tree, path string) ([]any, error) {
	if value := container["env"]; value == "" || kind(value) == "object" && !truthy(value) {
		return nil, nil
	}
	return walker{b.lenient, b.places}.list(container, path, "env")
}

func (b *builder) runConfigVariables(c runConfig, image any) *envList {
	s := b.settings
	list := &envList{
		entries: make([]entry, 0, 16+len(s.EnvVars)+len(c.env)),
		index:   make(map[string]int, 16+len(s.EnvVars)+len(c.env)),
	}
	list.set(envLogLevel, s.FlowLogLevel)
	for _, v := range s.EnvVars {
		list.set(v.Name, v.Value)
	}
	for _, e := range c.env {
		list.set(e.name, e.value)
	}
	if !s.SendLogs || !list.has(envSendLogs) || b.reference() == Reference124 {
		list.set(envSendLogs, strconv.FormatBool(s.SendLogs))
	}
	b.setFixed(list, image)
	return list
}

func (b *builder) setFixed(list *envList, image any) {
	s := b.settings
	tenant := s.TenantID
	if s.Credential == "" {
		tenant = ""
	}
	for _, e := range []entry{
		{envBackend, s.Backend},
		{envAgentLabels, python.List(s.Labels)},
		{envAPI, s.API},
		{envAPIKey, s.Credential},
		{envTenantID, tenant},
		{envLocalSecrets, "false"},
		{envFlowRunID, string(b.run.ID)},
		{envFlowID, b.run.FlowID},
		{envImage, image},
		{envFlowRunner, classFlowRunner},
		{envLogToCloud, strconv.FormatBool(s.SendLogs)},
		{envAuthToken, s.Credential},
	} {
		list.set(e.name, e.value)
	}
}

func (b *builder) setResources(container Tree, c runConfig) error {
	const path = "spec.template.spec.containers[0]"
	w := walker{b.lenient, b.places}
	resources, err := w.object(container, path, "resources")
	if err != nil {
		return err
	}
	for _, group := range []struct {
		key         string
		cpu, memory *string
	}{
		{"requests", c.cpuRequest, c.memoryRequest},
		{"limits", c.cpuLimit, c.memoryLimit},
	} {
		cpu, memory := text(group.cpu), text(group.memory)
		child, err := w.object(resources, path+".resources", group.key)
		if err != nil && (cpu != "" || memory != "") {
			return err
		}
		if err == nil {
			setText(child, "cpu", cpu)
			setText(child, "memory", memory)
		}
	}
	return nil
}

func text(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}
