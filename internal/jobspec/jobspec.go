// Package jobspec decides what Job a flow run becomes. Build makes exactly what
// the reference agents (Prefect 0.11.0 to 1.4.1) would have made, as a JSON
// tree, because they write empty values and unknown keys that typed structs
// lose. Harden applies a named list of small changes to it, and Decode turns the
// tree strictly into a Job.
//
// The package is pure: it knows Prefect's run config, environment and storage
// JSON and Kubernetes' Job type. It knows no clock, network, file, client or
// configuration source; templates that live elsewhere are loaded by a function
// that the caller passes in.
package jobspec

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// Tree is a JSON object. Numbers in it are int64 or float64, or json.Number
// where neither holds the value.
type Tree = map[string]any

// FlowRun is what the Prefect API says about a flow run. Its JSON is foreign:
// nothing in it is trusted.
type FlowRun struct {
	ID   flowrun.ID
	Name string
	// FlowID, FlowName and CoreVersion describe the flow; an unknown core
	// version is empty.
	FlowID, FlowName, CoreVersion string
	// RunConfig, Environment and Storage are empty or null where absent.
	RunConfig, Environment, Storage json.RawMessage
}

// Reference is the release of Prefect whose agent's Job Build makes, such as
// "0.13.19".
type Reference string

// Auto takes the flow's own release, or the nearest that has environments, for a
// flow without run config but with an environment, and 1.4.1 otherwise.
const (
	Auto          Reference = ""
	Reference0110 Reference = "0.11.0"
	Reference124  Reference = "1.2.4"
	Reference141  Reference = "1.4.1"
)

// EnvVar is one environment variable that the agent adds to every flow run.
type EnvVar struct{ Name, Value string }

// SecretKey names one value in a Secret of the Job's namespace.
type SecretKey struct{ Secret, Key string }

// Settings are the facts about the agent that a Job depends on.
type Settings struct {
	// Reference pins the generation; its zero value lets the flow run decide.
	Reference Reference
	// Backend is "server" or "cloud", API the base URL that flow runs talk to.
	Backend, API string
	// Credential is the token or API key in clear text, empty if there is none.
	Credential string
	// Token is set when Credential is a token of 0.x, which a flow of 1.x must not take
	// for an API key (agent/kubernetes/agent.py of 0.15.13, generate_job_spec_from_run_config).
	Token bool
	// CredentialFrom, if set, is what the Job refers to instead of holding Credential.
	CredentialFrom *SecretKey
	// APIFrom, if set, is what the Job refers to instead of holding API: an address with
	// a password.
	APIFrom *SecretKey
	// TenantID is a UUID, passed on only together with a credential.
	TenantID string
	// Namespace gets the Jobs. NamespaceVariable is what 0.11.0 tells the flow
	// run instead (D-31): the agent's variable NAMESPACE, "default" if unset.
	Namespace, NamespaceVariable string
	Labels                       []string
	// EnvVars keep their order; where names repeat the last one wins.
	EnvVars []EnvVar
	// SendLogs is whether flow runs send their logs to Prefect.
	SendLogs bool
	// FlowLogLevel is the log level of flow runs, such as INFO.
	FlowLogLevel string
	// Defaulted are those of API and FlowLogLevel that nobody set, so that whatever
	// a flow sets counts instead.
	Defaulted struct{ API, FlowLogLevel bool }
	// ServiceAccountName is nil if unset; the reference writes an empty one.
	ServiceAccountName *string
	// ImagePullSecrets is nil if unset. 0.11.0 takes the variable as one name,
	// so Build joins them again with commas.
	ImagePullSecrets []string
	// ImagePullPolicy and the Job resources are empty if unset.
	ImagePullPolicy                                        string
	JobMemRequest, JobMemLimit, JobCPURequest, JobCPULimit string
	// Volumes and VolumeMounts are JSON of Kubernetes' types, for every Job.
	Volumes, VolumeMounts []Tree
	// DefaultJobImage is used for flows that name no image and have an
	// environment (D-34). Flows with a run config fall back to Prefect's own image.
	DefaultJobImage string
	// AgentTemplate is the agent's own Job template. AgentTemplatePath is used
	// if it is nil, through Template.
	AgentTemplate     Tree
	AgentTemplatePath string
	// EnvironmentTemplatePath is YAML_TEMPLATE of 0.13.4 to 0.15.13: what the Jobs
	// of flows with an environment start from. It is read through Template.
	EnvironmentTemplatePath string
	// Keep holds names of Keeps: changes that are not made.
	Keep []string
	// Template returns the text behind a template path as it was written, such
	// as "s3://bucket/job.yaml". It is called at most once per Job, and only if
	// the flow run needs it.
	Template func(path string) ([]byte, error)
}

// Job builds, hardens and decodes the Job that starts the given attempt. Its
// name is flowrun.JobName; only a template that came with the run config may
// change the prefix. Errors are of this package's types and name the place; all
// that is wrong is one *FaultsError. Warnings say what is in the Job otherwise than
// it was written, keys that Kubernetes does not know among them.
func Job(run FlowRun, s Settings, attempt string) (*batchv1.Job, []Warning, error) {
	return JobAs(run, s, attempt, "")
}

// JobAs is Job under a name that was promised before, as repair needs it
// whatever the templates say today. An empty name means Job's.
func JobAs(run FlowRun, s Settings, attempt, name string) (*batchv1.Job, []Warning, error) {
	if err := checkIDs(run); err != nil {
		return nil, nil, err
	}
	b := builder{run: run, settings: s, identifier: flowrun.Identifier(run.ID, attempt), lenient: true}
	tree := b.build()
	if tree == nil {
		return nil, nil, b.faults.err()
	}
	if name == "" {
		name = flowrun.JobName(b.prefix, run.ID, attempt)
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		b.faults.add(&FieldError{Field: "metadata.name", Value: name, Problem: problems[0], Mend: "correct metadata.name in the job template"})
	}
	h := hardening{tree: tree, run: run, settings: s, name: name, attempt: attempt, warnings: &b.warnings}
	h.apply()
	job, err := decode(tree, b.places)
	if problems, ok := errors.AsType[*DecodeError](err); ok && job != nil {
		for _, p := range problems.Problems {
			b.warnings.add(p.place(), p.Text+", which Kubernetes drops", p.Mend)
		}
		if problems.More > 0 {
			b.warnings.add("job template", fmt.Sprintf("has %d more unknown keys, which Kubernetes drops", problems.More), "remove them")
		}
		err = nil
	}
	b.faults.add(err)
	if err := b.faults.err(); err != nil {
		return nil, b.warnings.all(), err
	}
	return job, b.warnings.all(), nil
}

// Build makes the Job of the reference, defects included. The identifier is
// what the reference takes from a random UUID: eight hexadecimal characters.
// Inputs are never changed.
func Build(run FlowRun, s Settings, identifier string) (Tree, error) {
	b := builder{run: run, settings: s, identifier: identifier}
	tree := b.build()
	if err := b.faults.err(); err != nil {
		return nil, err
	}
	return tree, nil
}

// builder holds what one Job is made of. lenient repairs what the reference
// refuses for no good reason (D-28, D-34, D-44).
type builder struct {
	run        FlowRun
	settings   Settings
	identifier string
	lenient    bool
	// prefix is the Job's name as the run config's own template has it.
	prefix string
	// source names the template in errors, places is where its objects stand, if it
	// came as YAML.
	source string
	places *places
	// release is the one whose Job is made; own is the flow's, as far as what a Job
	// has by default goes.
	release, own release
	version      version
	faults       faults
	warnings     warnings
}

// build makes the tree; it is nil if there is nothing to start from. What is wrong
// is in faults.
func (b *builder) build() Tree {
	kind, core := b.kind(), b.run.CoreVersion
	form := string(b.settings.Reference)
	switch {
	case form != "" && !known(form):
		b.faults.add(&FieldError{Field: "reference", Value: form, Problem: "is not a known release", Mend: "use one from 0.11.0 to 1.4.1"})
		return nil
	case form == "" && kind == ByEnvironment:
		form = core
	case form == "":
		form = lastRunConfig
	}
	b.version = versionOf(form, kind)
	b.release = newRelease(kind, b.version)
	b.own = b.release
	if b.lenient && b.settings.Reference == Auto {
		b.own = newRelease(kind, versionOf(core, kind))
	}
	if kind == ByEnvironment {
		return b.fromEnvironment()
	}
	return b.fromRunConfig()
}

// known reports whether there is an agent of that release.
func known(reference string) bool {
	v, ok := parseVersion(reference)
	return ok && !v.before(firstEnvironment) && compareRelease(v.release, lastRunConfig) <= 0
}

// kind is how the reference takes the flow: 1.0.0 and later know no environments,
// the releases before 0.13.10 no run configs.
func (b *builder) kind() FlowKind {
	release := cmp.Or(string(b.settings.Reference), b.run.CoreVersion)
	v, ok := parseVersion(release)
	switch {
	case ok && b.settings.Reference != Auto && v.before(firstRunConfig):
		return ByEnvironment
	case ok && !v.before("1.0.0"), !absent(b.run.RunConfig), absent(b.run.Environment):
		return ByRunConfig
	}
	return ByEnvironment
}

func absent(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// checkTenant refuses what the reference's client refuses (client/client.py).
func (b *builder) checkTenant() error {
	if b.settings.Credential == "" || b.settings.TenantID == "" {
		return nil
	}
	text := strings.NewReplacer("urn:", "", "uuid:", "", "-", "", "{", "", "}", "").Replace(b.settings.TenantID)
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == uuidBytes {
		return nil
	}
	return &FieldError{Field: "tenant_id", Value: b.settings.TenantID, Problem: "is not a UUID", Mend: "correct --tenant-id or PREFECT__CLOUD__TENANT_ID"}
}

const uuidBytes = 16

// checkIDs keeps ids that Kubernetes would refuse as label values out of Jobs.
func checkIDs(run FlowRun) error {
	for _, id := range []struct{ field, value string }{{"flow_run.id", string(run.ID)}, {"flow_run.flow.id", run.FlowID}} {
		if problems := validation.IsValidLabelValue(id.value); len(problems) > 0 {
			return &FieldError{Field: id.field, Value: id.value, Problem: "cannot be a label value", Mend: "Prefect's ids are UUIDs; check the API"}
		}
	}
	if run.ID == "" {
		return &FieldError{Field: "flow_run.id", Problem: "is empty", Mend: fmt.Sprintf("check the API's answer for flow run %q", run.Name)}
	}
	return nil
}
