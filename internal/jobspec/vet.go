package jobspec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// vet refuses templates that would run something else than the flow, once, and
// tells what of them has no effect. It reports whether it is a Job at all.
func (b *builder) vet(job Tree) bool {
	if err := checkType(job, b.places); err != nil {
		b.faults.add(err)
		return false
	}
	misplaced := b.vetContainers(job)
	if !misplaced && !slices.ContainsFunc([]string{"kind", "metadata", "spec"}, func(key string) bool { return job[key] != nil }) {
		b.faults.add(b.ofTemplate(&FieldError{Field: "template", Problem: "is no Job: it has none of kind, metadata and spec at its top", Mend: "write a Job, or check what the template's path leads to"}))
		return false
	}
	b.vetPods(job)
	b.warnLostMetadata(job)
	return !misplaced
}

// vetContainers looks for containers that Kubernetes would not find: without them
// the run would start in Prefect's own image, without a word of its author's.
func (b *builder) vetContainers(job Tree) (misplaced bool) {
	pod := below(below(below(job, "spec"), "template"), "spec")
	if own, _ := pod["containers"].([]any); len(own) > 0 {
		b.warnFlowBehind(own)
		return false // what stands elsewhere is an unknown key, and told as one
	}
	finder := containersFinder{}
	finder.look(job, "", 0)
	for _, f := range finder.found {
		if f.path == inPodSpec+".containers" {
			continue
		}
		misplaced = true
		p := b.places.key(f.parent, f.key)
		b.faults.add(b.ofTemplate(&FieldError{Field: shorten(f.path), Line: p.line, Column: p.column, Problem: "is at a place where Kubernetes has no containers", Mend: "move it to " + inPodSpec + ".containers, as a list"}))
	}
	return misplaced
}

// warnFlowBehind tells of a container that is meant for the flow but is not the first.
func (b *builder) warnFlowBehind(containers []any) {
	for i, item := range containers {
		c, _ := item.(Tree)
		if c["name"] != "flow" {
			continue
		}
		if i > 0 {
			b.warn(c, fmt.Sprintf("%s.containers[%d]", inPodSpec, i), "name", "is flow, but the flow runs in the first container", "move this container to the front")
		}
		return
	}
}

// below is an object inside an object; empty if there is none.
func below(parent Tree, key string) Tree {
	child, _ := parent[key].(Tree)
	return child
}

// containersFinder lists the keys that are meant to be containers.
type containersFinder struct{ found []foundKey }

type foundKey struct {
	parent    Tree
	path, key string
}

const maxFound = 3

func (f *containersFinder) look(value any, path string, depth int) {
	if depth > maxDepth || len(f.found) == maxFound {
		return
	}
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			f.look(item, path+"[]", depth+1)
		}
	case Tree:
		for _, key := range sortedKeys(v) {
			k := kind(v[key])
			// A slip of two letters still means them.
			if len(key) < maxKey && levenshtein.ComputeDistance(strings.ToLower(key), "containers") <= 2 && (k == "list" || k == "object") && truthy(v[key]) && len(f.found) < maxFound {
				f.found = append(f.found, foundKey{v, join(path, key), key})
				continue
			}
			f.look(v[key], join(path, key), depth+1)
		}
	}
}

// vetPods refuses what makes several Pods of one flow run, or none: each would be
// a process of the same run.
func (b *builder) vetPods(job Tree) {
	spec := below(job, "spec")
	for _, key := range []string{"parallelism", "completions", "completionMode"} {
		value := spec[key]
		if value == nil || value == int64(1) || value == "NonIndexed" && key == "completionMode" {
			continue
		}
		p := b.places.value(spec, key)
		b.faults.add(b.ofTemplate(&FieldError{
			Field: "spec." + key, Line: p.line, Column: p.column, Problem: "is set, but one flow run is one Pod",
			Mend: "remove it; to run tasks side by side give the flow an executor such as DaskExecutor",
		}))
		delete(spec, key)
	}
}

// warnLostMetadata tells of names that the agent gives itself.
func (b *builder) warnLostMetadata(job Tree) {
	metadata := below(job, "metadata")
	if namespace := metadata["namespace"]; namespace != nil && b.settings.Namespace != "" && namespace != b.settings.Namespace {
		b.warn(metadata, "metadata", "namespace", "has no effect: Jobs are made in the agent's namespace, "+shorten(b.settings.Namespace), "start an agent with --namespace for the other one")
	}
	if metadata["generateName"] != nil {
		b.warn(metadata, "metadata", "generateName", "has no effect: the Job's name is made of the flow run", "write what it should begin with as metadata.name")
	}
	ours := map[string][]string{
		"labels":      {flowrun.LabelManagedBy, flowrun.LabelIdentifier, flowrun.LabelFlowRunID, flowrun.LabelFlowID},
		"annotations": {flowrun.AnnotationAttempt, flowrun.AnnotationEnvironment, flowrun.AnnotationFlowName, flowrun.AnnotationFlowRunName},
	}
	for _, m := range []struct {
		tree Tree
		path string
	}{{metadata, "metadata"}, {below(below(below(job, "spec"), "template"), "metadata"), "spec.template.metadata"}} {
		for _, key := range sortedKeys(ours) {
			var lost []string
			for _, name := range ours[key] {
				// A copy of job_spec.yaml has the texts that are to be replaced.
				if value := below(m.tree, key)[name]; value != nil && value != flowrun.ManagedBy && value != "UUID" {
					lost = append(lost, name)
				}
			}
			if len(lost) > 0 {
				b.warn(m.tree, m.path, key, "has "+enumerate(lost)+" without effect: the agent sets them itself", "remove them")
			}
		}
	}
}
