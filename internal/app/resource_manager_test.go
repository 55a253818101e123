package app_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// managerDifference is one way in which our resource manager differs from that of
// 0.11.0 on purpose. In its patterns * stands for anything; a fact that is not
// there is absent.
type managerDifference struct {
	// id is the defect of the reference, or the name of the difference.
	id   string
	fact string
	want string // the reference
	got  string // ours
	why  string
}

var managerDifferences = []managerDifference{
	{"D-47", "job/foreign/*", "deleted", "left", "a Job of another program is none of our business"},
	{"D-47", "run/unknown/*", "*", absent, "nor is what it says of a run"},
	{"D-48", "pod/foreign/*", "deleted", "left", "nor is a Pod of another program"},
	{"D-48", "pod/orphan, Pending/*", "deleted", "left", "a Pod that has not ended may still run"},
	{"D-48", "pod/orphan, Unknown/*", "deleted", "left", "the same: its node does not answer, and may again"},
	{"D-48", "pod/orphan, Failed, run lives/*", "deleted", "left", "a witness stays until its run is final"},
	{"D-48", "pod/orphan, Succeeded, run lives/*", "deleted", "left", "the same"},
	{"D-48", "pod/orphan, *ed*/*", "left", "deleted", "our Pods that have ended go while there are Jobs too"},
	{"D-48", "run/with a live Pod/*/says/*", "ERROR resource-manager", absent, "a Pod of a run that another Pod executes is no ending, nor is a lost node; D-50: nor a reason that Kubernetes does not have"},
	{"D-49", "pass/*", "*", absent, "no object aborts a pass (D-52 too: no answer does)"},
	{"D-50", "run/*/*/says/image pull", absent, "ERROR resource-manager", "the real reasons are known"},
	{"D-51", "run/*/*/state", absent, "Failed", "a run whose process is gone is failed"},
	{"D-51", "run/*/*/says/cause", absent, "ERROR resource-manager", "with the cause and the evidence"},
	{"D-51", "run/*/*/says/the log", absent, "ERROR resource-manager", "the same: also where the pass was aborted before"},
	{"D-51", "run/whose Pod names the reason/*/says/the log", "ERROR resource-manager", absent, "the reason is told; no container is known whose log could tell more"},
	{"D-51", "*/stuck/*", "left", "deleted", "a Job that cannot start fails its run, and goes when that is over"},
	{"D-51", "run/*/*/says/evicted", absent, "ERROR resource-manager", "the same"},
	{"D-51", "run/*/*/says/an empty line", "ERROR resource-manager", absent, "an empty log is called so"},
	{"D-51", "run/without a name/*", "*", absent, "the Job says which run its Pod was of"},
	{"D-52", "*/left behind by an aborted pass/*", "left", "deleted", "the same: what comes behind is handled"},
	{"D-54", "job/retrying/*", "deleted", "left", "a failed Pod of a Job that has another one is no ending"},
	{"D-54", "pod/of a retrying Job, */*", "deleted", "left", "the same: the living Pod is not killed"},
	{"D-54", "run/with several Jobs/*/says/*", "ERROR resource-manager", absent, "a Job that a newer one took over from is no ending of the run"},
	{"D-54", "run/that succeeded/*/says/*", "ERROR resource-manager", absent, "a Job that succeeded after a failed Pod has not failed"},
	{"kept", "job/failed, run lives/*", "deleted", "left", "a Job says nothing of its run while a Pod of another one lives, and the newest one stays until the run is final"},
	{"kept", "pod/of a Job that failed, run lives/*", "deleted", "left", "the same"},
	{"kept", "job/succeeded, run lives/*", "deleted", "left", "the newest Job stays until its run is final: its retry is named after it"},
	{"kept", "pod/of a Job that succeeded, run lives/*", "deleted", "left", "the same"},
	{"unread", "job/whose Pods cannot be read/*", "deleted", "left", "nothing is done about a Job of which it is not known what became"},
	{"again", "*/refused/*", "left", "deleted", "a deletion that was refused is tried again"},
	{"owned", "pod/of a refused Job/*", "deleted", "left", "Pods go with their Job, by Kubernetes' own collector (D-53), and stay with it"},
	{"owned", "pod/of a later release, *ed*/*", "left", "deleted", "the same, whatever the labels of the release that made them"},
}

func TestConformanceResourceManager(t *testing.T) {
	used := &usage{rows: map[int]bool{}}
	for name, root := range corpora() {
		conformAll(t, name+"resource-manager", filepath.Join(root, "resource-manager"), func(t *testing.T, file string) comparison {
			v := readVector(t, file)
			w := v.imagine()
			got := v.manage(t, w, 1)
			jobs, pods := v.after()
			return w.compare(jobs, pods, v.Expected.Exchanges, got, used).with(got.log)
		})
	}
	var rows []string
	for _, row := range managerDifferences {
		rows = append(rows, fmt.Sprintf("%+v", row))
	}
	used.check(t, rows)
}

// compare reduces the recording and our own run to facts:
//
//	job/SITUATION/NAME, pod/...  left or deleted
//	run/SITUATION/ID/says/THING  level and logger of the lines that say it
//	run/SITUATION/ID/state       the states written
//	pass/N                       what aborted a pass
func (w *imagined) compare(jobs, pods []string, recorded []exchange, got outcome, used *usage) comparison {
	want := w.facts(jobs, pods, recorded)
	ours := w.facts(got.cluster.names("jobs"), got.cluster.names("pods"), got.exchanges)
	found := comparison{}
	all := maps.Clone(want)
	maps.Copy(all, ours)
	for _, fact := range slices.Sorted(maps.Keys(all)) {
		before, now := valueOf(want, fact), valueOf(ours, fact)
		if before == now {
			continue
		}
		matched := false
		for i, d := range managerDifferences {
			if like(d.fact, fact) && like(d.want, before) && like(d.got, now) {
				used.mark(i)
				matched = true
			}
		}
		if !matched {
			found.unnamed = append(found.unnamed, fmt.Sprintf("%s\n  - %s\n  + %s", fact, before, now))
			continue
		}
		found.named++
	}
	return found
}

func (w *imagined) facts(jobs, pods []string, exchanges []exchange) facts {
	f := facts{}
	left := func(kind, situation string, o map[string]any, names []string) {
		name := text(metadata(o)["name"])
		f[kind+"/"+situation+"/"+name] = "deleted"
		if slices.Contains(names, name) {
			f[kind+"/"+situation+"/"+name] = "left"
		}
	}
	for _, job := range w.vector.Input.Cluster.Jobs {
		left("job", w.jobSituation(job), job, jobs)
	}
	for _, pod := range w.vector.Input.Cluster.Pods {
		left("pod", w.podSituation(pod), pod, pods)
	}
	pass := 0
	for _, e := range exchanges {
		switch {
		case e.Pass > 0:
			pass = e.Pass
		case e.PassAbortedBy != nil:
			f[fmt.Sprintf("pass/%d", pass)] = fmt.Sprint(e.PassAbortedBy["class"])
		case e.API == "prefect":
			w.said(f, e)
		case strings.Contains(e.Request.Path, "/namespaces/") && !strings.Contains(e.Request.Path+"/", "/namespaces/"+w.namespace+"/"):
			f["outside of the namespace"] = e.Request.Path
		}
	}
	return f
}

func (w *imagined) said(f facts, e exchange) {
	d, err := parseDocument(e.Request.Query)
	if err != nil {
		f["broken document"] = err.Error()
		return
	}
	switch d.root {
	case "set_flow_run_states":
		for _, s := range statesOf(e.Request.Variables) {
			at := "run/" + w.runSituation(s.FlowRunID) + "/state"
			f[at] = strings.TrimSpace(f[at] + " " + text(s.State["type"]))
		}
	case "write_run_logs":
		var lines struct {
			Input struct {
				Logs []struct {
					ID                   *string `json:"flow_run_id"`
					Level, Name, Message string
				}
			}
		}
		convert(e.Request.Variables, &lines)
		for _, l := range lines.Input.Logs {
			id := ""
			if l.ID != nil {
				id = *l.ID
			}
			f["run/"+w.runSituation(id)+"/says/"+w.thing(l.Message)] = l.Level + " " + l.Name
		}
	}
}

// thing is what a line of a run log says.
func (w *imagined) thing(message string) string {
	lower := strings.ToLower(message)
	switch {
	case message == "":
		return "an empty line"
	case strings.Contains(lower, "evicted"):
		return "evicted"
	case strings.Contains(lower, "unknown state"):
		return "unknown state"
	case strings.Contains(lower, "image pull error"), strings.Contains(lower, "imagepull"):
		return "image pull"
	}
	for _, log := range w.vector.Input.Cluster.Logs {
		if end := strings.TrimRight(log, "\n"); end != "" && (message == log || strings.HasSuffix(message, "\n"+end)) {
			return "the log"
		}
	}
	return "cause"
}

// manage runs so many resource managers over one cluster and one Prefect for the
// recorded passes and an hour more: when something happens is not compared.
func (v *vector) manage(t *testing.T, w *imagined, managers int) outcome {
	t.Helper()
	var out outcome
	writeFiles(t, v.dir, v.Input.Files)
	writeFiles(t, v.home, v.Input.HomeFiles)
	src := config.Sources{HomeDir: v.home, Env: []string{"HOME=" + v.home}}
	for name, value := range v.Input.Environment {
		src.Env = append(src.Env, name+"="+value)
	}
	cfg, err := config.ResolveResourceManager(src)
	if err != nil {
		t.Fatal(err)
	}
	v.refuseOn()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(v.Input.Now))
		var log bytes.Buffer
		r := &recorder{}
		out.cluster = newCluster(r, v.Input.Cluster)
		prefect := &backend{recorder: r, script: v.Input.Backend, runs: map[string]map[string]any{}}
		for id, state := range w.runs {
			prefect.runs[id] = history(id, state)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(max(1, v.Input.Passes))*aPass+aftermath)
		defer cancel()
		logger := slog.New(slog.NewTextHandler(&log, nil))
		done := make(chan error)
		for range managers {
			go func() {
				done <- app.ResourceManagerOver(ctx, cfg, prefect, collected{out.cluster}, logger)
			}()
		}
		for range managers {
			if err := <-done; err != nil {
				t.Errorf("resource manager: %v", err)
			}
		}
		out.exchanges, out.log = r.exchanges, log.String()
	})
	return out
}

// refuseOn lets what the cluster refused until the end of the recording be refused
// for as long as we run.
func (v *vector) refuseOn() {
	for _, o := range v.Input.Cluster.Overrides {
		asked := 0
		for _, e := range v.Expected.Exchanges {
			if e.API == "kubernetes" && e.Request.Method == o.Method && regexp.MustCompile(o.Path).MatchString(e.Request.Path) {
				asked++
			}
		}
		if n := len(o.Answers); n > 0 && asked <= n && o.Answers[n-1].Default == nil {
			o.Answers = append(o.Answers, slices.Repeat(o.Answers[n-1:], 10000)...)
		}
	}
}

// history is a run that a Python agent started, in the state given.
func history(id, state string) map[string]any {
	var rows []any
	for _, kind := range []string{"Scheduled", "Submitted", "Running", "Success"} {
		rows = append(rows, row(float64(len(rows)+1), map[string]any{"type": kind}))
		if kind == state {
			break
		}
	}
	last, _ := rows[len(rows)-1].(map[string]any)
	return map[string]any{"id": id, "version": last["version"], "serialized_state": last["serialized_state"], "states": rows}
}

// collected is a cluster with a garbage collector: the Pods of a deleted Job go too.
type collected struct{ *cluster }

func (c collected) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.cluster.RoundTrip(req)
	parts := resourcePath.FindStringSubmatch(req.URL.Path)
	if err == nil && req.Method == http.MethodDelete && resp.StatusCode == http.StatusOK && parts[2] == "jobs" {
		c.collect()
	}
	return resp, err
}

func (c collected) collect() {
	c.lock.Lock()
	defer c.lock.Unlock()
	alive := map[any]bool{}
	for _, job := range c.objects["jobs"] {
		alive[metadata(job)["uid"]] = true
	}
	for key, pod := range c.objects["pods"] {
		owners, _ := metadata(pod)["ownerReferences"].([]any)
		for _, o := range owners {
			if owner, _ := o.(map[string]any); !alive[owner["uid"]] {
				delete(c.objects["pods"], key)
				c.tell("pods", "DELETED", pod)
			}
		}
	}
}

// Two resource managers over one cluster and one Prefect report and delete each
// Job as one does, and neither says that anything went wrong.
func TestTwoResourceManagersAreAsOne(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", "conformance", "resource-manager", "job-failed-pod-evicted.json")
	v := readVector(t, file)
	got := v.manage(t, v.imagine(), 2)
	writes, lines := 0, 0
	for _, e := range got.exchanges {
		if d, err := parseDocument(e.Request.Query); err == nil && d.root == "set_flow_run_states" {
			writes += len(statesOf(e.Request.Variables))
		} else if err == nil && d.root == "write_run_logs" {
			lines++
		}
	}
	if writes != 1 || lines != 1 {
		t.Errorf("got %d states and %d calls with lines, want one of each", writes, lines)
	}
	if jobs := got.cluster.names("jobs"); len(jobs) != 0 {
		t.Errorf("got %q left", jobs)
	}
	if strings.Contains(got.log, "level=WARN") || strings.Contains(got.log, "level=ERROR") {
		t.Errorf("not quiet:\n%s", got.log)
	}
}

// objectIn makes an object of a case.
func objectIn(name, namespace string, labels, status map[string]any) map[string]any {
	meta := map[string]any{"name": name, "namespace": namespace}
	if labels != nil {
		meta["labels"] = labels
	}
	return map[string]any{
		"metadata": meta, "status": status,
		"spec": map[string]any{"containers": []any{map[string]any{"name": "main"}}, "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "main"}}}}},
	}
}

// What other programs have in the namespace is not read about, not reported and not
// deleted, whatever its state (D-47, D-48, D-49).
func TestResourceManagerTouchesNothingForeign(t *testing.T) {
	t.Parallel()
	v := readVector(t, filepath.Join("..", "..", "conformance", "resource-manager", "job-succeeded-with-pod.json"))
	const run = "11111111-1111-4111-8111-111111111111"
	type m = map[string]any
	finished, dead := m{"succeeded": 1.0}, m{"failed": 1.0}
	for name, o := range map[string]struct{ labels, status m }{
		"backup":       {nil, finished},
		"etl":          {m{"app": "etl"}, dead},
		"train":        {m{"flow_run_id": run, "identifier": "x"}, dead},
		"prefect-job-": {m{"flow_run_id": run}, dead},
		"half":         {m{"prefect.io/flow_run_id": run}, dead},
		"version-2":    {m{"prefect.io/flow-run-id": run}, finished},
	} {
		v.Input.Cluster.Jobs = append(v.Input.Cluster.Jobs, objectIn(name, "default", o.labels, maps.Clone(o.status)))
		for _, phase := range []string{"Pending", "Running", "Succeeded", "Failed", "Unknown"} {
			v.Input.Cluster.Pods = append(v.Input.Cluster.Pods, objectIn(name+"-"+strings.ToLower(phase), "default", o.labels, m{"phase": phase}))
		}
	}
	got := v.manage(t, v.imagine(), 1)
	if jobs := got.cluster.names("jobs"); len(jobs) != 6 || slices.Contains(jobs, "prefect-job-abcd0001") {
		t.Errorf("got %q left, want the Jobs of others only", jobs)
	}
	if pods := got.cluster.names("pods"); len(pods) != 30 {
		t.Errorf("got %d Pods left, want those of others only: %q", len(pods), pods)
	}
	for _, e := range got.exchanges {
		if e.Request.Method == http.MethodDelete && !strings.HasSuffix(e.Request.Path, "/jobs/prefect-job-abcd0001") {
			t.Errorf("%s %s was sent", e.Request.Method, e.Request.Path)
		}
		if d, err := parseDocument(e.Request.Query); err == nil && d.root != "flow_run" {
			t.Errorf("%s was sent", d.root)
		}
	}
}

// What cannot work as configured is said before anything is sent.
func TestResourceManagerRefusesItsConfiguration(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]config.ResourceManager{
		"api":           {API: "x", CoreVersion: config.Core0, Namespace: "flows", Grace: time.Minute},
		"agent address": {API: apiURL, CoreVersion: config.Core0, Namespace: "flows", Grace: time.Minute, AgentAddress: "nowhere"},
	} {
		r := &recorder{}
		err := app.ResourceManagerOver(t.Context(), cfg, &backend{recorder: r}, newCluster(r, clusterState{}), slog.New(slog.DiscardHandler))
		if exitCode(err) != "2" || len(r.exchanges) != 0 {
			t.Errorf("%s: got %v after %d requests", name, err, len(r.exchanges))
		}
	}
}
