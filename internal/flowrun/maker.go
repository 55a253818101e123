package flowrun

import "strings"

// The labels that Prefect 0.11.0 to 0.11.2 put on Jobs and Pods
// (agent/kubernetes/agent.py). Other programs may use such common words too, so
// they count only together and on an object with a name of Prefect's.
const (
	LabelIdentifier0 = "identifier"
	LabelFlowRunID0  = "flow_run_id"
)

// RunLabels are the keys under which a Job or Pod may name its flow run. Where an
// object has several, the first one counts.
func RunLabels() []string { return []string{LabelFlowRunID, LabelFlowRunID0} }

// RunOf is the flow run that a Job or Pod of this name and with these labels
// belongs to, empty if it belongs to none.
func RunOf(name string, labels map[string]string) ID {
	if id, ok := labels[LabelFlowRunID]; ok {
		return ID(id)
	}
	if labels[LabelIdentifier0] == "" || !Prefixed(name) {
		return ""
	}
	return ID(labels[LabelFlowRunID0])
}

// Managed reports whether a Job or Pod with these labels is one of ours.
func Managed(labels map[string]string) bool { return labels[LabelManagedBy] == ManagedBy }

// MadeByPython reports whether a Job or Pod is one of a Python agent of Prefect
// 0.11.0 to 1.4.1: it has both labels of its release, and with those of 0.11.0 a
// name of Prefect's.
func MadeByPython(name string, labels map[string]string) bool {
	switch {
	case Managed(labels) || RunOf(name, labels) == "":
		return false
	case labels[LabelFlowRunID] != "":
		return labels[LabelIdentifier] != ""
	}
	return true
}

// Prefixed reports whether a name is one that every Python agent gave unless a
// template named the Job.
func Prefixed(name string) bool { return strings.HasPrefix(name, DefaultJobPrefix+"-") }
