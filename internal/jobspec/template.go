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
	return template{tree: builtinTemplate(), source: "built-in template"}, nil
}

// builtinTemplate is job_template.yaml of Prefect 0.13.10 to 1.4.1.
func builtinTemplate() Tree {
	pod := Tree{"containers": []any{Tree{"name": "flow"}}}
	return Tree{"apiVersion": "batch/v1", "kind": "Job", "spec": Tree{"template": Tree{"spec": pod}}}
}

// parts are the places of a template that the reference writes to.
type parts struct {
	job, metadata, jobLabels, podLabels Tree
	pod, container                      Tree
}

// open finds or makes these places. The reference asks for spec.template.spec;
// lenient, it is made like the others (D-44).
func (b *builder) open(t template) (parts, error) {
	b.places = t.places
	p, err := b.openTree(t.tree)
	if err != nil {
		return parts{}, &TemplateError{Source: t.source, Err: err}
	}
	return p, nil
}

func (b *builder) openTree(value any) (parts, error) {
	w := walker{lenient: b.lenient, places: b.places}
	job, ok := value.(Tree)
	if !ok {
		return parts{}, noObject(value)
	}
	p := parts{job: job}
	var err error
	if p.metadata, err = w.object(job, "", "metadata"); err != nil {
		return parts{}, err
	}
	if p.jobLabels, err = w.object(p.metadata, "metadata", "labels"); err != nil {
		return parts{}, err
	}
	err = b.openPod(w, &p)
	return p, err
}

func (b *builder) openPod(w walker, p *parts) error {
	spec, err := w.object(p.job, "", "spec")
	if err != nil {
		return err
	}
	podTemplate, err := w.object(spec, "spec", "template")
	if err != nil {
		return err
	}
	metadata, err := w.object(podTemplate, "spec.template", "metadata")
	if err != nil {
		return err
	}
	if p.podLabels, err = w.object(metadata, "spec.template.metadata", "labels"); err != nil {
		return err
	}
	if _, given := podTemplate["spec"]; !given && !b.lenient {
		return &FieldError{Field: "spec.template.spec", Problem: "is missing", Mend: "write at least spec: {template: {spec: {containers: []}}}"}
	}
	if p.pod, err = w.object(podTemplate, "spec.template", "spec"); err != nil {
		return err
	}
	p.container, err = firstContainer(w, p.pod)
	return err
}

// firstContainer is the one that runs the flow, whatever its name.
func firstContainer(w walker, pod Tree) (Tree, error) {
	const path = "spec.template.spec"
	containers, err := w.list(pod, path, "containers")
	if err != nil {
		return nil, err
	}
	if len(containers) == 0 {
		container := Tree{}
		pod["containers"] = []any{container}
		return container, nil
	}
	container, ok := containers[0].(Tree)
	if !ok {
		return nil, wrongKind(path+".containers[0]", containers[0], "object", w.places.item(pod, "containers", 0))
	}
	return container, nil
}
