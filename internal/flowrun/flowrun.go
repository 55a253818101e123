// Package flowrun holds the words that both generations of Prefect share: the
// id of a flow run, its states and their history, the mark we leave in states
// we write, what a history means once folded, the name of a Job, and the
// labels and annotations on it. It is pure: no clock, no network, no Kubernetes
// client.
package flowrun

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// ID is the id of a flow run, a UUID in text form.
type ID string

// Labels and annotations on Jobs and Pods. The prefect.io labels are those of
// Prefect 0.11.3 to 1.4.1 (agent/kubernetes/agent.py); tools that users have
// built on them keep working.
const (
	// LabelIdentifier holds the last part of the Job's name.
	LabelIdentifier = "prefect.io/identifier"
	// LabelFlowRunID holds the id of the flow run.
	LabelFlowRunID = "prefect.io/flow_run_id"
	// LabelFlowID holds the id of the flow.
	LabelFlowID = "prefect.io/flow_id"
	// LabelManagedBy tells our Jobs from those of the Python agents. Only Jobs that
	// carry it with the value ManagedBy, or that are certainly a Python agent's, are
	// ever deleted by us.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "prefect-kube"
	// AnnotationAttempt holds the attempt that the Job starts.
	AnnotationAttempt = "prefect-kube.io/attempt"
	// AnnotationFlowRunName holds the name of the flow run, for people.
	AnnotationFlowRunName = "prefect-kube.io/flow-run-name"
	// AnnotationEnvironment holds the type of an environment that may start another Job
	// for the flow, so that this one ends well without it.
	AnnotationEnvironment = "prefect-kube.io/environment"
	// AnnotationFlowName holds the name of the flow, for people.
	AnnotationFlowName = "prefect-kube.io/flow-name"
)

// Fence is the longest time a read of an offer may be acted on, counted on the
// monotonic clock from before the read was sent to the end of the create's
// deadline. See "Delivery" in ARCHITECTURE.md.
const Fence = 30 * time.Second

// Retention is the age, counted from its creation, below which a Job is never
// deleted: the name protects against a second start only while the Job exists,
// so it must outlive every create that may still be under way.
const Retention = 5 * time.Minute

// DefaultJobPrefix is the prefix of a Job's name unless the run config's own
// template names the Job.
const DefaultJobPrefix = "prefect-job"

const (
	maxPrefix      = 46
	identifierSize = 16
)

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Identifier is the part of a Job's name that is made of immutable facts only:
// 16 characters of the base32 form of SHA-256 over flow run id and attempt. Two
// readers of one offer compute the same, so the API server itself refuses the
// second Job.
func Identifier(id ID, attempt string) string {
	sum := sha256.Sum256([]byte(string(id) + "\x00" + attempt))
	return lowerBase32.EncodeToString(sum[:])[:identifierSize]
}

// JobName is the name of the Job that starts the given attempt. An empty prefix
// means DefaultJobPrefix; a longer one than 46 characters is cut, and what would
// not be a valid name at the cut is trimmed.
func JobName(prefix string, id ID, attempt string) string {
	if len(prefix) > maxPrefix {
		prefix = prefix[:maxPrefix]
	}
	prefix = strings.TrimRight(prefix, "-.")
	if prefix == "" {
		prefix = DefaultJobPrefix
	}
	return prefix + "-" + Identifier(id, attempt)
}

// Level is the severity of a run log line, in Prefect's own words.
type Level string

// The levels that write_run_logs accepts.
const (
	LevelDebug   Level = "DEBUG"
	LevelInfo    Level = "INFO"
	LevelWarning Level = "WARNING"
	LevelError   Level = "ERROR"
)

// Log is one line of a flow run's log. A zero Time means "when the server gets it".
type Log struct {
	FlowRunID ID
	Time      time.Time
	Name      string
	Level     Level
	Message   string
}
