package jobspec

import "slices"

// serverOwned are the keys of an object's metadata that no template can set. The
// API server refuses an object with resourceVersion, ignores or overwrites uid,
// generation, creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds,
// selfLink and managedFields, and they come along with every kubectl get -o yaml
// (Kubernetes API reference, ObjectMeta). An owner that is gone has the Job
// collected at once, and finalizers that nobody removes keep it for ever
// (Kubernetes documentation, Owners and Dependents, Finalizers): neither is a
// flow's business.
func serverOwned() []string {
	return []string{
		"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generation",
		"managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid",
	}
}

// The labels and annotations by which the Job controller and kubectl know what is
// theirs. A Pod template with the labels of another Job is refused, or taken for
// that Job's (Kubernetes documentation, Jobs, "Specifying your own Pod selector").
func serverOwnedNames(key string) []string {
	if key == "labels" {
		return []string{"batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"}
	}
	return []string{"batch.kubernetes.io/job-tracking", "kubectl.kubernetes.io/last-applied-configuration"}
}

// dropServerOwned leaves out what only the cluster sets: metadata and labels, the
// selector that the Job controller makes, and status. managedBy hands the Job to
// another controller than the one that makes Pods, and suspend keeps it from making
// any, so that a run that is claimed would never begin (Kubernetes documentation,
// Jobs, "Suspending a Job", "Delegation of managing a Job object"). All that is
// left out is one warning.
func (h *hardening) dropServerOwned() {
	var dropped []string
	drop := func(tree Tree, path, key string) {
		value, given := tree[key]
		delete(tree, key)
		if given && truthy(value) {
			dropped = append(dropped, join(path, key))
		}
	}
	for _, m := range []struct {
		tree Tree
		path string
	}{{h.job, "metadata"}, {h.podMetadata, "spec.template.metadata"}} {
		for _, key := range serverOwned() {
			drop(m.tree, m.path, key)
		}
		for _, group := range []string{"labels", "annotations"} {
			for _, name := range serverOwnedNames(group) {
				drop(below(m.tree, group), m.path+"."+group, name)
			}
		}
	}
	for _, key := range []string{"selector", "manualSelector", "managedBy"} {
		drop(h.spec, "spec", key)
	}
	if h.spec["suspend"] == true {
		drop(h.spec, "spec", "suspend")
	}
	drop(h.tree, "", "status")
	if len(dropped) > 0 {
		slices.Sort(dropped)
		h.warnings.add("job template", "has "+enumerate(dropped)+", which are left out: the cluster sets them, or the Job would not be the agent's", "remove them")
	}
}
