// Package jobspec decides what Job a flow run becomes. Build makes exactly what
// the reference agents (Prefect 0.11.0, 1.2.4, 1.4.1) would have made, as a JSON
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
	"encoding/hex"
	"encoding/json"
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

// Reference is the version of the Python agent whose Job Build makes.
type Reference uint8

// Auto takes Reference0110 for a flow without run config but with an
// environment, and Reference141 otherwise.
const (
	Auto Reference = iota
	Reference0110
	Reference124
	Reference141
)

func (r Reference) String() string {
	switch r {
	case Auto:
		return "auto"
	case Reference0110:
		return "0.11.0"
	case Reference124:
		return "1.2.4"
	case Reference141:
		return "1.4.1"
	}
	return "unknown"
}

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
	// CredentialFrom, if set, is what the Job refers to instead of holding Credential.
	CredentialFrom *SecretKey
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
	// Keep holds names of Keeps: changes that are not made.
	Keep []string
	// Template returns the text behind a template path as it was written, such
	// as "s3://bucket/job.yaml". It is called at most once per Job, and only if
	// the flow run needs it.
	Template func(path string) ([]byte, error)
}

// Job builds, hardens and decodes the Job that starts the given attempt. Its
// name is flowrun.JobName; only a template that came with the run config may
// change the prefix. Errors are of this package's types and name the place. A
// *DecodeError with OnlyUnknown comes with the Job: the API server would take it
// and drop the unknown keys.
func Job(run FlowRun, s Settings, attempt string) (*batchv1.Job, error) {
	return JobAs(run, s, attempt, "")
}

// JobAs is Job under a name that was promised before, as repair needs it
// whatever the templates say today. An empty name means Job's.
func JobAs(run FlowRun, s Settings, attempt, name string) (*batchv1.Job, error) {
	if err := checkIDs(run); err != nil {
		return nil, err
	}
	b := builder{run: run, settings: s, identifier: flowrun.Identifier(run.ID, attempt), lenient: true}
	tree, err := b.build()
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = flowrun.JobName(b.prefix, run.ID, attempt)
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return nil, &FieldError{Field: "metadata.name", Value: name, Problem: problems[0], Mend: "correct metadata.name in the job template"}
	}
	h := hardening{tree: tree, run: run, settings: s, name: name, attempt: attempt}
	h.apply()
	return decode(tree, b.places)
}

// Build makes the Job of the reference, defects included. The identifier is
// what the reference takes from a random UUID: eight hexadecimal characters.
// Inputs are never changed.
func Build(run FlowRun, s Settings, identifier string) (Tree, error) {
	b := builder{run: run, settings: s, identifier: identifier}
	return b.build()
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
	// places is where the template's objects stand, if it came as YAML.
	places *places
}

func (b *builder) build() (Tree, error) {
	switch b.reference() {
	case Reference0110:
		return b.fromEnvironment()
	case Auto, Reference124, Reference141:
		return b.fromRunConfig()
	}
	return nil, &FieldError{Field: "reference", Value: b.settings.Reference.String(), Problem: "is not a known version", Mend: "use 0.11.0, 1.2.4 or 1.4.1"}
}

func (b *builder) reference() Reference {
	if b.settings.Reference != Auto {
		return b.settings.Reference
	}
	if absent(b.run.RunConfig) && !absent(b.run.Environment) {
		return Reference0110
	}
	return Reference141
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
