package jobspec

import (
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
	template any
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

// readRunConfig loads the run config; null means an empty KubernetesRun.
func (b *builder) readRunConfig() (runConfig, error) {
	if absent(b.run.RunConfig) {
		return runConfig{}, nil
	}
	fields, err := readObject("run_config", b.run.RunConfig)
	if err != nil {
		return runConfig{}, err
	}
	kind, err := fields.text("type")
	if err != nil {
		return runConfig{}, err
	}
	if kind == nil {
		return runConfig{}, &FieldError{Field: "run_config.type", Problem: "is missing: missing data for required field", Mend: "register the flow again"}
	}
	if err := checkLabels(fields); err != nil {
		return runConfig{}, err
	}
	switch *kind {
	case kubernetesRun:
		return b.readKubernetesRun(fields)
	case universalRun:
		env, err := fields.entries("env")
		return runConfig{env: env}, err
	}
	if foreignRun(*kind) {
		return runConfig{}, &UnsupportedRunConfigError{FlowRun: string(b.run.ID), Type: *kind}
	}
	return runConfig{}, &FieldError{Field: "run_config.type", Value: *kind, Problem: "is an unsupported value", Mend: "use KubernetesRun or UniversalRun"}
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

func (b *builder) readKubernetesRun(fields object) (runConfig, error) {
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
		if err != nil {
			return runConfig{}, err
		}
		*field.target = value
	}
	var err error
	if c.env, err = fields.entries("env"); err != nil {
		return runConfig{}, err
	}
	if c.pullSecrets, err = fields.texts("image_pull_secrets"); err != nil {
		return runConfig{}, err
	}
	if err := checkPullPolicy(c.pullPolicy); err != nil {
		return runConfig{}, err
	}
	err = b.readTemplate(fields, &c)
	return c, err
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
		template, err := inlineTemplate(raw)
		if err != nil {
			return err
		}
		c.template = template
	case c.templatePath != nil && localPath(*c.templatePath):
		template, err := b.loadTemplate(*c.templatePath)
		if err != nil {
			return err
		}
		c.template, c.templatePath = template, nil
	}
	if !truthy(c.template) {
		c.template = nil
	}
	return nil
}

func inlineTemplate(raw json.RawMessage) (any, error) {
	value, err := decodeJSON("run_config.job_template", raw)
	if err != nil {
		return nil, err
	}
	text, ok := value.(string)
	if !ok {
		return value, nil
	}
	template, err := ParseYAML([]byte(text))
	if err != nil {
		return nil, &TemplateError{Source: "run_config.job_template", Err: err}
	}
	return template, nil
}

func localPath(path string) bool {
	scheme, _, found := strings.Cut(path, "://")
	return !found || scheme == "file" || scheme == "local"
}

func (b *builder) loadTemplate(path string) (any, error) {
	if b.settings.Template == nil {
		return nil, &TemplateError{Source: shown(path), Err: errors.New("no template paths can be read here; put the template into the run config's job_template")}
	}
	text, err := b.settings.Template(path)
	if err != nil {
		return nil, &TemplateError{Source: shown(path), Err: err}
	}
	value, err := ParseYAML(text)
	if err != nil {
		return nil, &TemplateError{Source: shown(path), Err: err}
	}
	return value, nil
}
