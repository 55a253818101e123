package jobspec

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// fromRunConfig is generate_job_spec_from_run_config of Prefect 0.13.10 to 1.4.1
// (agent/kubernetes/agent.py).
func (b *builder) fromRunConfig() Tree {
	b.faults.add(b.checkTenant())
	config, ok := b.readRunConfig()
	store, err := b.knownStorage()
	b.faults.add(err)
	if !ok {
		return nil
	}
	chosen, err := b.chooseTemplate(config)
	if err != nil {
		b.faults.add(err)
		return nil
	}
	p, ok := b.open(chosen)
	if !ok {
		return nil
	}
	b.setName(p.metadata, chosen)
	b.setLabels(p)
	b.setPod(p, config, chosen.own)
	b.setContainer(p.container, config, store)
	return p.job
}

const maxReferencePrefix = 48

// setName cuts the template's name after 48 characters, as 1.3.0 and later do.
func (b *builder) setName(metadata Tree, t template) {
	prefix := flowrun.DefaultJobPrefix
	value, given := metadata["name"]
	if value == nil && b.lenient {
		given = false
	}
	if given && b.release.does(nameName) {
		text, ok := value.(string)
		if !ok {
			b.faults.add(b.ofTemplate(wrongKind("metadata.name", value, "string", b.places.value(metadata, "name"))))
			text = prefix
		}
		prefix = text
		if t.own {
			b.prefix = text
		} else if ok && text != "" && text != flowrun.DefaultJobPrefix {
			b.warn(metadata, "metadata", "name", "has no effect in a template of the agent: Jobs are named after the flow run", "set it in the job template of a run config")
		}
	}
	if runes := []rune(prefix); len(runes) > maxReferencePrefix {
		prefix = string(runes[:maxReferencePrefix])
	}
	metadata["name"] = prefix + "-" + b.identifier
}

func (b *builder) setLabels(p parts) {
	for _, labels := range []Tree{p.jobLabels, p.podLabels} {
		labels[flowrun.LabelIdentifier] = b.identifier
		labels[flowrun.LabelFlowRunID] = string(b.run.ID)
		labels[flowrun.LabelFlowID] = b.run.FlowID
	}
}

// setPod lets the run config win over its own template, and both over the agent.
func (b *builder) setPod(p parts, c runConfig, own bool) {
	pod := p.pod
	switch b.release.value(namePodSpec) {
	case inPod:
		b.setOfPod(pod, c, own)
	case inTemplate:
		spec, _ := p.job["spec"].(Tree)
		podTemplate, _ := spec["template"].(Tree)
		b.setOfPod(podTemplate, c, own)
	}
	restart := b.release.value(nameRestart)
	if value, given := pod["restartPolicy"]; restart != "" && (!given || value == nil && b.lenient) {
		pod["restartPolicy"] = restart
	}
}

func (b *builder) setOfPod(pod Tree, c runConfig, own bool) {
	keep := func(key string) bool {
		value, given := pod[key]
		return own && given && (value != nil || !b.lenient)
	}
	account, place := c.serviceAccount, "run_config.service_account_name"
	if account == nil && !keep("serviceAccountName") {
		account, place = b.settings.ServiceAccountName, "the agent's service account"
	}
	if account != nil {
		b.warnLost(pod, inPodSpec, "serviceAccountName", *account, place)
		pod["serviceAccountName"] = *account
	}
	secrets, place := c.pullSecrets, "run_config.image_pull_secrets" //nolint:gosec // The name of a field.
	if secrets == nil || len(secrets) == 0 && !b.release.does(nameNoSecrets) {
		secrets = nil
		if !keep("imagePullSecrets") {
			secrets, place = b.settings.ImagePullSecrets, "the agent's image pull secrets"
		}
	}
	if secrets != nil {
		list := references(secrets)
		b.warnLost(pod, inPodSpec, "imagePullSecrets", list, place)
		pod["imagePullSecrets"] = list
	}
}

func references(names []string) []any {
	out := make([]any, len(names))
	for i, name := range names {
		out[i] = Tree{"name": name}
	}
	return out
}

func (b *builder) setContainer(container Tree, c runConfig, store storage) {
	image := b.image(c, store, container)
	container["image"] = image
	if c.pullPolicy != nil && b.release.does(nameRunPolicy) {
		b.warnLost(container, inContainer, "imagePullPolicy", *c.pullPolicy, "run_config.image_pull_policy")
		container["imagePullPolicy"] = *c.pullPolicy
	}
	command, err := runCommand(b.run.CoreVersion)
	b.faults.add(err)
	b.warnArgs(container, command)
	container["args"] = []any{command}
	if b.own.value(nameRun) == inWords {
		container["args"] = words(command)
	}
	b.setEnv(container, c, image)
	b.setResources(container, c)
}

func words(command string) []any {
	args := []any{}
	for word := range strings.FieldsSeq(command) {
		args = append(args, word)
	}
	return args
}

// knownStorage is the flow's storage, as far as the reference can load it.
func (b *builder) knownStorage() (storage, error) {
	store, err := b.readStorage()
	switch {
	case err != nil:
		return storage{}, err
	case !knownStorage[store.kind] && b.keepsStorage():
		return storage{}, &UnsupportedStorageError{FlowRun: string(b.run.ID), Type: store.kind, Kept: "{'type': ['Unsupported value: " + shorten(store.kind) + "']}"}
	case !b.lenient && (!knownStorage[store.kind] || b.version.before(storageSince(store.kind))):
		return storage{}, &FieldError{Field: "storage.type", Value: store.kind, Problem: "is an unsupported value"}
	}
	return store, nil
}

// image is get_flow_image: Docker storage, the run config, the template (from
// 0.14.13 on), Prefect's own image of the flow's core version.
func (b *builder) image(c runConfig, store storage, container Tree) any {
	ofTemplate := container["image"]
	switch {
	case store.kind == dockerStorage:
		if c.image != nil && *c.image != store.image {
			b.warnings.add("run_config.image", "has no effect: the flow's Docker storage names the image "+shorten(store.image), "register the flow with another storage, or leave the image out")
		}
		b.warnLost(container, inContainer, "image", store.image, "the flow's Docker storage")
		return store.image
	case c.image != nil:
		b.warnLost(container, inContainer, "image", *c.image, "run_config.image")
		return *c.image
	case ofTemplate != nil && b.release.does(nameOwnImage):
		return ofTemplate
	}
	version, _, _ := strings.Cut(b.run.CoreVersion, "+")
	if b.run.CoreVersion == "" {
		version = "latest"
	}
	return b.own.value(nameImage) + version
}

// setEnv merges the sources of spec 8.3 and then appends what the template has
// under other names, so that valueFrom entries survive.
func (b *builder) setEnv(container Tree, c runConfig, image any) {
	const path = inContainer
	fromTemplate := b.templateVariables(container, path)
	merged := b.runConfigVariables(c, image, fromTemplate)
	out := envTree(merged.entries, len(fromTemplate)+1)
	for _, item := range fromTemplate {
		variable, _ := item.(Tree)
		name, _ := variable["name"].(string)
		if i, set := merged.index[name]; set {
			merged.lose(entry{name, variable["value"], byTemplate}, merged.entries[i])
			continue
		}
		out = append(out, variable)
	}
	container["env"] = out
	b.warnLostVariables(merged)
}

// templateVariables are the variables of the template that have a name. An empty
// object or text is an empty list, as in Python, which goes over either.
func (b *builder) templateVariables(container Tree, path string) []any {
	if value := container["env"]; value == "" || kind(value) == "object" && !truthy(value) {
		return nil
	}
	var out []any
	for i, item := range b.list(container, path, "env") {
		place := fmt.Sprintf("%s.env[%d]", path, i)
		variable, ok := item.(Tree)
		if !ok {
			b.faults.add(b.ofTemplate(wrongKind(place, item, "object", b.places.item(container, "env", i))))
			continue
		}
		name, given := variable["name"]
		if !given {
			p := b.places.of(variable)
			b.faults.add(b.ofTemplate(&FieldError{Field: place + ".name", Line: p.line, Column: p.column, Problem: "is missing", Mend: "give the variable a name"}))
			continue
		}
		if k := kind(name); k == "object" || k == "list" {
			b.faults.add(b.ofTemplate(wrongKind(place+".name", name, "string", b.places.value(variable, "name"))))
			continue
		}
		out = append(out, variable)
	}
	return out
}

// runConfigVariables are those that the reference sets, in its order. What a
// template sets counts more than what nobody set.
func (b *builder) runConfigVariables(c runConfig, image any, fromTemplate []any) *envList {
	s := b.settings
	list := &envList{
		entries: make([]entry, 0, 20+len(s.EnvVars)+len(c.env)),
		index:   make(map[string]int, 20+len(s.EnvVars)+len(c.env)),
	}
	if b.release.does(nameWeakLevel) && !b.weak(s.Defaulted.FlowLogLevel, envLogLevel, fromTemplate) {
		list.set(entry{envLogLevel, cmp.Or(s.FlowLogLevel, "INFO"), ""})
	}
	for _, v := range s.EnvVars {
		list.set(entry{v.Name, v.Value, byAgent})
	}
	for _, e := range c.env {
		list.set(entry{e.name, e.value, byRunConfig})
	}
	if b.release.does(nameOwnLogs) && (!s.SendLogs || !list.has(envSendLogs)) {
		list.set(entry{envSendLogs, strconv.FormatBool(s.SendLogs), byUs})
	}
	for _, d := range b.release.variables() {
		if d.Name == envAPI && b.lenient && s.Defaulted.API && (list.has(envAPI) || b.weak(true, envAPI, fromTemplate)) {
			continue
		}
		list.set(entry{d.Name, b.valueOf(d, image), byUs})
	}
	return list
}

// weak reports whether a value that nobody set gives way to the template's.
func (b *builder) weak(defaulted bool, name string, fromTemplate []any) bool {
	return b.lenient && defaulted && indexOf(fromTemplate, name) >= 0
}

func (b *builder) setResources(container Tree, c runConfig) {
	const path = inContainer
	resources := b.object(container, path, "resources")
	for _, group := range []struct {
		key         string
		cpu, memory *string
	}{
		{"requests", c.cpuRequest, c.memoryRequest},
		{"limits", c.cpuLimit, c.memoryLimit},
	} {
		cpu, memory := text(group.cpu), text(group.memory)
		if k := kind(resources[group.key]); k != "object" && k != "null" && cpu == "" && memory == "" {
			continue // left to Decode, as the reference leaves it to the API server
		}
		child := b.object(resources, path+".resources", group.key)
		for _, quantity := range []struct{ key, value string }{{"cpu", cpu}, {"memory", memory}} {
			if quantity.value != "" {
				b.warnLost(child, path+".resources."+group.key, quantity.key, quantity.value, "the run config")
				child[quantity.key] = quantity.value
			}
		}
	}
}

func text(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}
