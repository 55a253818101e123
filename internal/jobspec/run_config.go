package jobspec

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// runConfig is a KubernetesRun or UniversalRun as it was loaded.
type runConfig struct {
	env            []entry
	image          *string
	cpuLimit       *string
	cpuRequest     *string
	memoryLimit    *string
	memoryRequest  *string
	serviceAccount *string
	pullSecrets    []string
	pullPolicy     *string
	// template is nil unless the run config brings one that Python calls true.
	template       any
	templateSource string
	places         *places
	// templatePath is read when the Job is built.
	templatePath *string
}

const (
	kubernetesRun = "KubernetesRun"
	universalRun  = "UniversalRun"
)

// The other run configs that Prefect 1.4.1 can load (serialization/run_config.py).
func foreignRun(kind string) bool {
	return slices.Contains([]string{"DockerRun", "LocalRun", "ECSRun", "VertexRun"}, kind)
}

// readRunConfig loads the run config; null means an empty KubernetesRun. It reports
// whether it is one that a Job can be made of; what is wrong is a fault.
func (b *builder) readRunConfig() (runConfig, bool) {
	if absent(b.run.RunConfig) {
		return runConfig{}, true
	}
	fields, err := readObject("run_config", b.run.RunConfig)
	if err != nil {
		b.faults.add(err)
		return runConfig{}, false
	}
	kind, err := fields.text("type")
	if err != nil || kind == nil {
		b.faults.add(cmp.Or(err, error(&FieldError{Field: "run_config.type", Problem: "is missing: missing data for required field", Mend: "register the flow again"})))
		return runConfig{}, false
	}
	switch {
	case *kind == kubernetesRun:
		return b.readKubernetesRun(fields), true
	case *kind == universalRun:
		b.faults.add(checkLabels(fields))
		env, err := fields.entries("env")
		b.faults.add(err)
		if !b.release.does(nameUniversal) {
			env = nil
		}
		return runConfig{env: env}, true
	case foreignRun(*kind):
		if err := fields.follow(runConfigRules(*kind)); err != nil && !b.lenient {
			b.faults.add(err)
			return runConfig{}, false
		}
		b.faults.add(&UnsupportedRunConfigError{FlowRun: string(b.run.ID), Type: *kind})
	default:
		b.faults.add(&FieldError{Field: "run_config.type", Value: *kind, Problem: "is an unsupported value", Mend: "use KubernetesRun or UniversalRun"})
	}
	return runConfig{}, false
}

// checkLabels refuses what Prefect cannot load, although no label reaches the Job.
func checkLabels(fields object) error {
	raw, given := fields.raw["labels"]
	if given && absent(raw) {
		return &FieldError{Field: "run_config.labels", Problem: "may not be null", Mend: "write [] or leave it out"}
	}
	_, err := fields.texts("labels")
	return err
}

func (b *builder) readKubernetesRun(fields object) runConfig {
	b.faults.add(checkLabels(fields))
	var c runConfig
	for _, field := range []struct {
		key    string
		target **string
	}{
		{"job_template_path", &c.templatePath},
		{"image", &c.image},
		{"cpu_limit", &c.cpuLimit},
		{"cpu_request", &c.cpuRequest},
		{"memory_limit", &c.memoryLimit},
		{"memory_request", &c.memoryRequest},
		{"service_account_name", &c.serviceAccount},
		{"image_pull_policy", &c.pullPolicy},
	} {
		value, err := fields.text(field.key)
		b.faults.add(err)
		*field.target = value
	}
	var err error
	c.env, err = fields.entries("env")
	b.faults.add(err)
	c.pullSecrets, err = fields.texts("image_pull_secrets")
	b.faults.add(err)
	b.faults.add(checkPullPolicy(c.pullPolicy))
	b.faults.add(b.readTemplate(fields, &c))
	return c
}

func checkPullPolicy(policy *string) error {
	if policy == nil || slices.Contains([]string{"Always", "IfNotPresent", "Never"}, *policy) {
		return nil
	}
	return &FieldError{Field: "run_config.image_pull_policy", Value: *policy, Problem: "is an invalid image_pull_policy", Mend: "use Always, IfNotPresent or Never"}
}

// readTemplate takes an inline template, as an object or as YAML text. A path on
// the agent's own disk is read here, as the reference does when it loads the run
// config; any other path is read when the Job is built.
func (b *builder) readTemplate(fields object, c *runConfig) error {
	raw := fields.raw["job_template"]
	if !absent(raw) && c.templatePath != nil {
		return &FieldError{Field: "run_config.job_template_path", Value: shown(*c.templatePath), Problem: "is given together with job_template: cannot provide both `job_template_path` and `job_template`", Mend: "keep one of them"}
	}
	switch {
	case !absent(raw):
		var err error
		c.templateSource = inlineSource
		if c.template, c.places, err = b.inlineTemplate(raw); err != nil {
			return err
		}
	case c.templatePath != nil && localPath(*c.templatePath):
		var err error
		c.templateSource = shown(*c.templatePath)
		if c.template, c.places, err = b.loadTemplate(*c.templatePath); err != nil {
			return err
		}
		c.templatePath = nil
	}
	return c.checkTemplate()
}

// checkTemplate refuses what is no object; an empty one counts as none.
func (c *runConfig) checkTemplate() error {
	tree, ok := c.template.(Tree)
	if c.template != nil && !ok {
		return &TemplateError{Source: c.templateSource, Err: noObject(c.template)}
	}
	if len(tree) == 0 {
		c.template = nil
	}
	return nil
}

func noObject(template any) error {
	return &FieldError{Field: "template", Problem: "is " + article(kind(template)) + ", not an object", Mend: "write a Job"}
}

const inlineSource = "run_config.job_template"

func (b *builder) inlineTemplate(raw json.RawMessage) (any, *places, error) {
	value, err := decodeJSON(inlineSource, raw)
	if err != nil {
		return nil, nil, err
	}
	text, ok := value.(string)
	if !ok {
		return value, nil, nil
	}
	return b.parse([]byte(text), inlineSource)
}

// parse shares what aliases name as Python does, unless it is lenient: then our
// own changes of one place must not show in another.
func (b *builder) parse(text []byte, source string) (any, *places, error) {
	value, places, err := parseYAML(text, source, !b.lenient)
	if err != nil {
		return nil, nil, &TemplateError{Source: source, Err: err}
	}
	if places != nil {
		for _, a := range places.again {
			p := Problem{Path: a.path, Line: a.line, Column: a.column, Source: source}
			b.warnings.add(p.place(), "is there twice, and the first one has no effect", "make one of them")
		}
	}
	return value, places, nil
}

func localPath(path string) bool {
	return slices.Contains([]string{"", "file", "local"}, scheme(path))
}

// scheme is what Python's urlsplit takes for one, in lower case.
func scheme(path string) string {
	name, _, found := strings.Cut(path, ":")
	letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
	other := func(r rune) bool { return !letter(r) && !strings.ContainsRune("0123456789+-.", r) }
	if !found || name == "" || !letter(rune(name[0])) || strings.ContainsFunc(name, other) {
		return ""
	}
	return strings.ToLower(name)
}

func (b *builder) loadTemplate(path string) (any, *places, error) {
	if b.settings.Template == nil {
		return nil, nil, &TemplateError{Source: shown(path), Err: errors.New("no template paths can be read here; put the template into the run config's job_template")}
	}
	text, err := b.settings.Template(path)
	if err != nil {
		return nil, nil, &TemplateError{Source: shown(path), Err: err, named: true}
	}
	return b.parse(text, shown(path))
}
