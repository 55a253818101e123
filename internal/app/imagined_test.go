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
	removed   map[string]bool   // the same
	aborted   bool
	// blind is whether Pods were never listed although that was tried.
	blind bool
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
	w.watch(v.Expected.Exchanges)
	for _, job := range v.Input.Cluster.Jobs {
		if w.living(job) {
			status(job)["active"] = 1.0
		}
	}
	return w
}

// watch says what became of the objects in the recording.
func (w *imagined) watch(exchanges []exchange) {
	w.refused, w.removed = map[string]bool{}, map[string]bool{}
	listed, tried := false, false
	for _, e := range exchanges {
		w.aborted = w.aborted || e.PassAbortedBy != nil
		if parts := resourcePath.FindStringSubmatch(e.Request.Path); parts != nil && e.Request.Method == http.MethodDelete {
			name, refused := parts[2]+"/"+parts[3], e.Answer.status() >= http.StatusBadRequest
			w.refused[name], w.removed[name] = w.refused[name] || refused, w.removed[name] || !refused
		}
		w.aborted = w.aborted || e.Request.Method == http.MethodGet && strings.HasSuffix(e.Request.Path, "/jobs") && e.Answer.status() >= http.StatusBadRequest
		if e.Request.Method == http.MethodGet && strings.HasSuffix(e.Request.Path, "/pods") {
			listed, tried = listed || e.Answer.status() < http.StatusBadRequest, true
		}
	}
	w.blind = tried && !listed
	for name := range w.removed {
		w.refused[name] = w.refused[name] && !w.removed[name]
	}
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

// stuck reports whether a Pod of the Job waits for something that does not come.
func (w *imagined) stuck(job map[string]any) bool {
	v := vector{}
	v.Input.Cluster.Pods = slices.DeleteFunc(slices.Clone(w.vector.Input.Cluster.Pods), func(pod map[string]any) bool {
		owner := w.jobOf(pod)
		return owner == nil || metadata(owner)["name"] != metadata(job)["name"]
	})
	return slices.ContainsFunc(v.Input.Cluster.Pods, func(pod map[string]any) bool {
		return unstartable(&v, "pods/"+text(metadata(pod)["name"]))
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
	case w.aborted && !w.removed["jobs/"+text(metadata(job)["name"])]:
		return "left behind by an aborted pass"
	case w.blind:
		return "whose Pods cannot be read"
	case count(job, "failed") && !count(job, "succeeded") && w.living(job):
		return "retrying"
	case count(job, "failed") && !count(job, "succeeded") && w.othersLive(job):
		return "failed, run lives"
	case count(job, "failed") && !count(job, "succeeded"):
		return "failed"
	case count(job, "succeeded") && w.lives(job):
		return "succeeded, run lives"
	case count(job, "succeeded"):
		return "succeeded"
	case w.stuck(job):
		return "stuck"
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
		switch of := w.jobSituation(job); {
		case of == "retrying":
			return "of a retrying Job, " + phase
		case labelsOf(pod)["identifier"] == nil && of != "refused":
			return "of a later release, " + of
		case of == "succeeded, run lives":
			return "of a Job that succeeded, run lives"
		case of == "failed, run lives":
			return "of a Job that failed, run lives"
		case of == "refused":
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

// othersLive reports whether a Pod of the same run may still run.
func (w *imagined) othersLive(o map[string]any) bool {
	return slices.ContainsFunc(w.vector.Input.Cluster.Pods, func(other map[string]any) bool {
		phase := text(status(other)["phase"])
		return labelsOf(other)["flow_run_id"] == labelsOf(o)["flow_run_id"] && phase != "Succeeded" && phase != "Failed"
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
	jobs := map[any]bool{} // some may be known by their Pods only
	for _, o := range slices.Concat(w.vector.Input.Cluster.Jobs, w.vector.Input.Cluster.Pods) {
		if labels := labelsOf(o); text(labels["flow_run_id"]) == id || text(labels["prefect.io/flow_run_id"]) == id {
			jobs[cmp.Or(labels["identifier"], labels["prefect.io/identifier"])] = true
		}
	}
	switch {
	case slices.ContainsFunc(w.vector.Input.Cluster.Pods, func(pod map[string]any) bool {
		phase := text(status(pod)["phase"])
		return (text(labelsOf(pod)["flow_run_id"]) == id || text(labelsOf(pod)["prefect.io/flow_run_id"]) == id) && phase != "Succeeded" && phase != "Failed"
	}):
		return "with a live Pod/" + id
	case len(jobs) > 1:
		return "with several Jobs/" + id
	}
	if w.runs[id] == "Success" {
		return "that succeeded/" + id
	}
	if slices.ContainsFunc(w.vector.Input.Cluster.Pods, func(pod map[string]any) bool {
		reason := text(status(pod)["reason"])
		return labelsOf(pod)["flow_run_id"] == id && reason != "" && reason != "Evicted" && status(pod)["containerStatuses"] == nil
	}) {
		return "whose Pod names the reason/" + id
	}
	return "ended/" + id
}
