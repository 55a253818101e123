package app_test

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// imagined is what the cluster of a case means, and what Prefect would say of it:
// the recording holds neither, since the original never asks.
type imagined struct {
	vector    *vector
	namespace string
	runs      map[string]string // state by id
	refused   map[string]bool   // by resource/name
	aborted   bool
}

// imagine says what each object is, by its labels, name and status alone. A run
// whose objects have all succeeded is Success; any other is Running, or Submitted
// where nothing of it ever ran.
func (v *vector) imagine() *imagined {
	w := &imagined{vector: v, namespace: cmp.Or(v.Input.Environment["NAMESPACE"], "default"), runs: map[string]string{}}
	for _, o := range slices.Concat(v.Input.Cluster.Jobs, v.Input.Cluster.Pods) {
		meta := metadata(o)
		if meta["creationTimestamp"] == nil {
			meta["creationTimestamp"] = v.Input.Now.Add(-time.Hour).UTC().Format(time.RFC3339)
		}
		if w.ofPrefect(o) {
			w.progress(o)
		}
	}
	w.refused = map[string]bool{}
	for _, e := range v.Expected.Exchanges {
		w.aborted = w.aborted || e.PassAbortedBy != nil
		if parts := resourcePath.FindStringSubmatch(e.Request.Path); parts != nil && e.Request.Method == http.MethodDelete && e.Answer.status() >= http.StatusBadRequest {
			w.refused[parts[2]+"/"+parts[3]] = true
		}
	}
	for _, job := range v.Input.Cluster.Jobs {
		if w.living(job) {
			status(job)["active"] = 1.0
		}
	}
	return w
}

// progress adds what an object says of its run.
func (w *imagined) progress(o map[string]any) {
	id := text(labelsOf(o)["flow_run_id"]) + text(labelsOf(o)["prefect.io/flow_run_id"])
	state := "Running"
	switch phase := text(status(o)["phase"]); {
	case phase == "Pending":
		state = "Submitted"
	case phase == "Succeeded", phase == "" && count(o, "succeeded"), phase == "Failed" && w.jobOf(o) != nil && count(w.jobOf(o), "succeeded"):
		state = "Success"
	case phase == "" && !count(o, "active") && !count(o, "failed"):
		state = "Submitted"
	}
	rank := []string{"", "Success", "Submitted", "Running"}
	if slices.Index(rank, state) > slices.Index(rank, w.runs[id]) {
		w.runs[id] = state
	}
}

func labelsOf(o map[string]any) map[string]any {
	labels, _ := metadata(o)["labels"].(map[string]any)
	return labels
}

func status(o map[string]any) map[string]any {
	s, ok := o["status"].(map[string]any)
	if !ok {
		s = map[string]any{}
		o["status"] = s
	}
	return s
}

func count(o map[string]any, name string) bool { n, _ := status(o)[name].(float64); return n > 0 }

// ofPrefect reports whether a Python agent made the object.
func (w *imagined) ofPrefect(o map[string]any) bool {
	labels, meta := labelsOf(o), metadata(o)
	old := text(labels["identifier"]) != "" && text(labels["flow_run_id"]) != "" && strings.HasPrefix(text(meta["name"]), "prefect-job-")
	later := text(labels["prefect.io/identifier"]) != "" && text(labels["prefect.io/flow_run_id"]) != ""
	id := cmp.Or(text(labels["prefect.io/flow_run_id"]), text(labels["flow_run_id"]))
	_, err := uuid.Parse(id)
	return (old || later) && err == nil && cmp.Or(text(meta["namespace"]), w.namespace) == w.namespace
}

// jobOf is the Job that a Pod belongs to.
func (w *imagined) jobOf(pod map[string]any) map[string]any {
	for _, job := range w.vector.Input.Cluster.Jobs {
		for _, key := range []string{"identifier", "prefect.io/identifier"} {
			if id := labelsOf(job)[key]; id != nil && id == labelsOf(pod)[key] && metadata(job)["namespace"] == metadata(pod)["namespace"] {
				return job
			}
		}
	}
	return nil
}

// living reports whether a Pod of the Job may still run.
func (w *imagined) living(job map[string]any) bool {
	return slices.ContainsFunc(w.vector.Input.Cluster.Pods, func(pod map[string]any) bool {
		phase := text(status(pod)["phase"])
		owner := w.jobOf(pod)
		return owner != nil && metadata(owner)["name"] == metadata(job)["name"] && phase != "Succeeded" && phase != "Failed"
	})
}

func (w *imagined) lives(o map[string]any) bool {
	id := text(labelsOf(o)["flow_run_id"]) + text(labelsOf(o)["prefect.io/flow_run_id"])
	return w.runs[id] != "Success"
}

func (w *imagined) jobSituation(job map[string]any) string {
	switch {
	case cmp.Or(text(metadata(job)["namespace"]), w.namespace) != w.namespace:
		return "elsewhere"
	case !w.ofPrefect(job):
		return "foreign"
	case w.refused["jobs/"+text(metadata(job)["name"])]:
		return "refused"
	case w.aborted:
		return "left behind by an aborted pass"
	case count(job, "failed") && !count(job, "succeeded") && w.living(job):
		return "retrying"
	case count(job, "failed") && !count(job, "succeeded"):
		return "failed"
	case count(job, "succeeded") && w.lives(job):
		return "succeeded, run lives"
	case count(job, "succeeded"):
		return "succeeded"
	}
	return "live"
}

func (w *imagined) podSituation(pod map[string]any) string {
	phase := text(status(pod)["phase"])
	job := w.jobOf(pod)
	switch {
	case cmp.Or(text(metadata(pod)["namespace"]), w.namespace) != w.namespace:
		return "elsewhere"
	case w.refused["pods/"+text(metadata(pod)["name"])]:
		return "refused"
	case job != nil:
		switch of := w.jobSituation(job); of {
		case "retrying":
			return "of a retrying Job, " + phase
		case "succeeded, run lives":
			return "of a Job that succeeded, run lives"
		case "refused":
			return "of a refused Job"
		default:
			return of
		}
	case !w.ofPrefect(pod):
		return "foreign"
	case phase == "Failed" && w.othersLive(pod):
		return "orphan, Failed, run lives"
	case phase == "Succeeded" && w.lives(pod):
		return "orphan, Succeeded, run lives"
	}
	return "orphan, " + phase
}

func (w *imagined) othersLive(pod map[string]any) bool {
	return slices.ContainsFunc(w.vector.Input.Cluster.Pods, func(other map[string]any) bool {
		phase := text(status(other)["phase"])
		return labelsOf(other)["flow_run_id"] == labelsOf(pod)["flow_run_id"] && (phase == "Running" || phase == "Unknown")
	})
}

// runSituation is what a line or a state is about.
func (w *imagined) runSituation(id string) string {
	switch {
	case id == "":
		return "without a name"
	case w.runs[id] == "":
		return "unknown/" + id
	}
	jobs := 0
	for _, job := range w.vector.Input.Cluster.Jobs {
		if text(labelsOf(job)["flow_run_id"]) == id || text(labelsOf(job)["prefect.io/flow_run_id"]) == id {
			jobs++
		}
	}
	switch {
	case slices.ContainsFunc(w.vector.Input.Cluster.Pods, func(pod map[string]any) bool {
		phase := text(status(pod)["phase"])
		return (text(labelsOf(pod)["flow_run_id"]) == id || text(labelsOf(pod)["prefect.io/flow_run_id"]) == id) && phase != "Succeeded" && phase != "Failed"
	}):
		return "with a live Pod/" + id
	case jobs > 1:
		return "with several Jobs/" + id
	}
	if w.runs[id] == "Success" {
		return "that succeeded/" + id
	}
	return "ended/" + id
}
