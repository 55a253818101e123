package jobspec

// template is the tree that a Job starts from.
type template struct {
	tree   any
	source string
	// places is where its objects stand, if it came as YAML.
	places *places
	// own is whether it came with the run config: its service account, pull
	// secrets and name then count for more than the agent's.
	own bool
}

// chooseTemplate is the order of Prefect 1.4.1: the run config's template, its
// path, the agent's, the built-in one. Paths are read at every Job.
func (b *builder) chooseTemplate(c runConfig) (template, error) {
	s := b.settings
	switch {
	case c.template != nil:
		return template{tree: c.template, source: c.templateSource, places: c.places, own: true}, nil
	case c.templatePath != nil && *c.templatePath != "":
		tree, places, err := b.loadTemplate(*c.templatePath)
		return template{tree: tree, source: shown(*c.templatePath), places: places, own: true}, err
	case s.AgentTemplate != nil:
		return template{tree: clone(s.AgentTemplate), source: "agent template"}, nil
	case s.AgentTemplatePath != "":
		tree, places, err := b.loadTemplate(s.AgentTemplatePath)
		return template{tree: tree, source: shown(s.AgentTemplatePath), places: places}, err
	}
	return template{tree: b.builtinTemplate(), source: builtinSource}, nil
}

const builtinSource = "built-in template"

// builtinTemplate is job_template.yaml of the flow's own release.
func (b *builder) builtinTemplate() Tree {
	container := Tree{"name": "flow"}
	pod := Tree{"containers": []any{container}}
	if b.own.value(nameCommand) == inShell {
		container["command"] = []any{"/bin/sh", "-c"}
		pod["restartPolicy"] = "Never"
	}
	setText(container, "imagePullPolicy", b.own.value(namePullPolicy))
	if cpu := b.own.value(nameCPU); cpu != "" {
		container["resources"] = Tree{"requests": Tree{"cpu": cpu}, "limits": Tree{"cpu": cpu}}
	}
	return Tree{"apiVersion": "batch/v1", "kind": "Job", "spec": Tree{"template": Tree{"spec": pod}}}
}

// parts are the places of a template that the reference writes to.
type parts struct {
	job, metadata, jobLabels, podLabels Tree
	pod, container                      Tree
}

// open finds or makes these places. It reports whether there is a tree at all.
func (b *builder) open(t template) (parts, bool) {
	b.source, b.places = t.source, t.places
	job, ok := t.tree.(Tree)
	if !ok {
		b.faults.add(b.ofTemplate(noObject(t.tree)))
		return parts{}, false
	}
	if b.lenient && t.source != builtinSource && !b.vet(job) {
		return parts{}, false
	}
	p := parts{job: job, metadata: b.object(job, "", "metadata")}
	p.jobLabels = b.object(p.metadata, "metadata", "labels")
	spec := b.object(job, "", "spec")
	podTemplate := b.object(spec, "spec", "template")
	metadata := b.object(podTemplate, "spec.template", "metadata")
	p.podLabels = b.object(metadata, "spec.template.metadata", "labels")
	if _, given := podTemplate["spec"]; !given && !b.lenient {
		// Lenient, it is made like the others (D-44).
		b.faults.add(b.ofTemplate(&FieldError{Field: "spec.template.spec", Problem: "is missing", Mend: "write at least spec: {template: {spec: {containers: []}}}"}))
	}
	p.pod = b.object(podTemplate, "spec.template", "spec")
	p.container = b.firstContainer(p.pod)
	return p, true
}

// firstContainer is the one that runs the flow, whatever its name.
func (b *builder) firstContainer(pod Tree) Tree {
	const path = "spec.template.spec"
	containers := b.list(pod, path, "containers")
	if len(containers) == 0 {
		containers = []any{Tree{}}
		pod["containers"] = containers
	}
	container, ok := containers[0].(Tree)
	if !ok {
		b.faults.add(b.ofTemplate(wrongKind(path+".containers[0]", containers[0], "object", b.places.item(pod, "containers", 0))))
		container = Tree{}
		containers[0] = container
	}
	return container
}

func (b *builder) ofTemplate(err error) error { return &TemplateError{Source: b.source, Err: err} }

// object returns parent[key], which it makes if it is absent, and if it is something
// else, which is a fault. Null counts as absent if the builder is lenient (D-44).
func (b *builder) object(parent Tree, path, key string) Tree {
	value, given := parent[key]
	object, ok := value.(Tree)
	if ok {
		return object
	}
	if given && (value != nil || !b.lenient) {
		b.faults.add(b.ofTemplate(wrongKind(join(path, key), value, "object", b.places.value(parent, key))))
	}
	object = Tree{}
	parent[key] = object
	return object
}

// list returns parent[key], nil if it is absent, and if it is something else, which
// is a fault.
func (b *builder) list(parent Tree, path, key string) []any {
	value, given := parent[key]
	items, ok := value.([]any)
	if given && !ok && (value != nil || !b.lenient) {
		b.faults.add(b.ofTemplate(wrongKind(join(path, key), value, "list", b.places.value(parent, key))))
		delete(parent, key)
	}
	return items
}
