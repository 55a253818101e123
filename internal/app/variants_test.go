package app_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// variant is a recorded case with something changed, and what the reference would
// have done then by its own rules. Some change names and texts only, so that no
// row of differences can hang on those of the corpus; the others show what no
// public case does.
type variant struct {
	base string
	name string
	// texts are replaced in the whole file, old and new in turn.
	texts []string
	// edit changes input and expectation.
	edit func(v *vector)
}

const (
	runID   = "11111111-1111-4111-8111-111111111111"
	otherID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
	// theirJob is the one that the reference makes first in every case.
	theirJob = "prefect-job-4f0c1a9e"
)

// renamed are cases with other names, texts and numbers.
func renamed() []variant {
	return []variant{
		{base: "1.4.1/deploy-kubernetes-run", name: "other run and flow", texts: []string{runID, otherID, "22222222-2222", "99999999-2222"}},
		{base: "1.4.1/deploy-one-run-env-and-labels", name: "other run", texts: []string{runID, otherID}},
		{base: "0.11.0/deploy-one-run-env-and-labels", name: "other run", texts: []string{runID, otherID}},
		{base: "1.4.1/startup-labels-and-name", name: "unicode", texts: []string{`"dev"`, `"d\u00e9v \u2603"`}},
		{base: "0.11.0/create-job-403", name: "other refusal", texts: []string{`: 403`, `: 400`, `(403)`, `(400)`, `Forbidden`, `BadRequest`, `is forbidden`, `is \u201cbad\u201d`}},
		{base: "1.4.1/manage-job-failed-oom-with-message-and-signal", name: "other end", texts: []string{
			runID, otherID, "abcd0001", "ffff9999", "OOMKilled", "Error", "Code:: 137", "Code:: 139", `"exitCode": 137`, `"exitCode": 139`,
			`Signal: 9`, `Signal: 45`, `"signal": 9`, `"signal": 45`, "killed", "\u00fcbel \u201cx\u201d",
		}},
		{base: "1.4.1/manage-image-pull-back-off", name: "other image", texts: []string{runID, otherID, "abcd0001", "ffff9999", "nope:1", "r\u00e9g/\u00fcber@sha256:0"}},
		{base: "1.4.1/manage-several-jobs-mixed", name: "runs of their own", edit: apart},
		{base: "1.4.1/manage-pending-waiting-invalidimagename", name: "another reason", texts: []string{"InvalidImageName", "CreateContainerError"}},
	}
}

// managed are cases about Jobs in which something else is found or answered.
func managed() []variant {
	down := answer{Status: http.StatusInternalServerError, JSON: json.RawMessage(`{}`)}
	const failed, job = "1.4.1/manage-job-failed-run-submitted", "prefect-job-abcd0001"
	refuse := func(method, path string, status int) func(v *vector) {
		return func(v *vector) {
			v.Input.Cluster.Overrides = append(v.Input.Cluster.Overrides, &override{Method: method, Path: path, Answers: []answer{{Status: status}}})
		}
	}
	var all []variant
	for _, state := range []string{"Scheduled", "Pending", "Cancelling", "Queued"} {
		all = append(all, variant{base: failed, name: "run " + state, texts: []string{`"Submitted"`, `"` + state + `"`}})
	}
	for _, state := range []string{"Cancelled", "Success"} {
		all = append(all, variant{base: "1.4.1/manage-job-failed-run-already-timedout", name: "run " + state, texts: []string{`"TimedOut"`, `"` + state + `"`}})
	}
	for _, c := range []string{"succeeded", "failed"} {
		all = append(all, variant{base: "1.4.1/manage-job-of-deleted-flow-run", name: "of all runs, " + c, texts: []string{`"succeeded"`, `"` + c + `"`}, edit: func(v *vector) {
			v.Input.Backend["flow_run_by_pk"] = v.Input.Backend["flow_run_by_pk"][:1]
			v.undelete()
			v.left(job, "prefect-job-abcd0002")
		}})
	}
	return append(all,
		variant{base: failed, name: "pods refused", edit: func(v *vector) {
			refuse(http.MethodGet, "/pods$", http.StatusForbidden)(v)
			v.end("flow_run_by_pk")
			v.left(job)
		}},
		variant{base: failed, name: "delete fails", edit: func(v *vector) {
			refuse(http.MethodDelete, "/jobs/", http.StatusInternalServerError)(v)
			v.left(job)
		}},
		variant{base: failed, name: "no answer about the run", edit: func(v *vector) {
			v.Input.Backend["flow_run_by_pk"] = []answer{down}
			v.end("flow_run_by_pk")
			v.left(job)
		}},
		variant{base: failed, name: "no answer to the state", edit: func(v *vector) {
			v.insert("set_flow_run_states", down, 6)
			v.Input.Backend["set_flow_run_states"] = []answer{down}
			v.answer("set_flow_run_states", down)
			v.undelete()
			v.left(job)
		}},
		variant{base: "1.4.1/manage-image-pull-back-off", name: "twice and kept", edit: func(v *vector) {
			v.Input.Environment["DELETE_FINISHED_JOBS"], v.Input.Passes = "False", 2
			v.undelete()
			v.Expected.Exchanges = append(v.Expected.Exchanges, v.Expected.Exchanges...)
			v.left(job)
		}},
		variant{base: "1.4.1/manage-job-in-other-namespace", name: "by variable", edit: func(v *vector) {
			v.Input.Agent, v.Input.Environment["NAMESPACE"] = nil, "flows"
		}},
		variant{base: "1.4.1/heartbeat-with-polls", name: "a failed one", texts: []string{`"succeeded": 1`, `"failed": 1`}},
		variant{base: "1.4.1/create-job-500", name: "unavailable", texts: []string{`: 500`, `: 503`, `(500)`, `(503)`, `InternalError`, `ServiceUnavailable`}},
		variant{base: "1.4.1/create-job-500", name: "not known", texts: []string{`: 500`, `: 401`, `(500)`, `(401)`, `InternalError`, `Unauthorized`}},
		variant{base: "0.11.0/create-job-500", name: "not found", texts: []string{`: 500`, `: 404`, `(500)`, `(404)`, `InternalError`, `NotFound`}},
		variant{base: "1.4.1/create-job-409", name: "refused quota", texts: []string{`: 409`, `: 403`, `(409)`, `(403)`, `AlreadyExists`, `Forbidden`}, edit: func(v *vector) {
			v.Expected.Exchanges = slices.DeleteFunc(v.Expected.Exchanges, func(e exchange) bool { return rootOf(e) == "write_run_logs" })
			v.fail("(403) Forbidden jobs.batch \"prefect-job-4f0c1a9e\" already exists")
		}},
	)
}

// altered are cases in which something else happens.
func altered() []variant {
	down := answer{Status: http.StatusServiceUnavailable, JSON: json.RawMessage(`{}`)}
	busy := answer{Status: http.StatusTooManyRequests, JSON: json.RawMessage(`{}`)}
	both := func(name string, edit func(v *vector)) []variant {
		return []variant{{base: "0.11.0/deploy-null-parameters", name: name, edit: edit}, {base: "1.4.1/deploy-null-parameters", name: name, edit: edit}}
	}
	script := func(root string, answers ...answer) func(v *vector) {
		return func(v *vector) { v.Input.Backend[root] = answers }
	}
	return slices.Concat(
		[]variant{
			{base: "1.4.1/poll-two-empty", name: "too many requests", edit: func(v *vector) { v.insert("get_runs_in_queue", busy, 2) }},
			{base: "1.4.1/poll-two-empty", name: "busy", edit: func(v *vector) { v.insert("get_runs_in_queue", refused("API_ERROR", "busy"), 5) }},
			{base: "1.4.1/deploy-null-parameters", name: "metadata after an outage", edit: func(v *vector) { v.insert("flow_run", down, 2) }},
			{base: "1.4.1/deploy-null-parameters", name: "metadata after a long outage", edit: func(v *vector) { v.insert("flow_run", down, 5) }},
			{base: "1.4.1/deploy-null-parameters", name: "queue after a long outage", edit: func(v *vector) { v.insert("get_runs_in_queue", down, 5) }},
			{base: "1.4.1/deploy-null-parameters", name: "sized", edit: func(v *vector) {
				v.Input.Environment["JOB_MEM_REQUEST"], v.Input.Environment["IMAGE_PULL_POLICY"] = "1Gi", "Always"
			}},
			{base: "1.4.1/deploy-null-parameters", name: "claim while busy", edit: func(v *vector) { v.insert("set_flow_run_states", refused("API_ERROR", "busy"), 2) }},
			{base: "1.4.1/startup-labels-and-name", name: "outage at registration", edit: func(v *vector) { v.insert("register_agent", down, 3) }},
			{base: "0.11.0/poll-two-empty", name: "hello fails", edit: func(v *vector) {
				script("hello", down)(v)
				v.answer("hello", down)
			}},
			{base: "1.4.1/deploy-null-parameters", name: "queued by the server", edit: func(v *vector) {
				script("set_flow_run_states", answer{
					Data: json.RawMessage(`{"set_flow_run_states":{"states":[{"id":"` + runID + `","status":"QUEUED","message":null}]}}`),
				})(v)
				v.left(theirJob)
			}},
			{base: "1.4.1/deploy-null-parameters", name: "claim lost in an outage", edit: func(v *vector) {
				v.insert("set_flow_run_states", down, 2)
				v.left(theirJob)
			}},
			{base: "1.4.1/deploy-null-state", name: "beside a good one", edit: beside},
			{base: "1.4.1/manage-job-failed-exit-code", name: "twice and kept", edit: func(v *vector) {
				v.Input.Agent, v.Input.Passes = map[string]any{"delete_finished_jobs": false}, 2
				v.undelete()
				v.Expected.Exchanges = append(v.Expected.Exchanges, v.Expected.Exchanges...)
				v.left("prefect-job-abcd0001")
			}},
			{base: "1.4.1/manage-job-failed-exit-code", name: "log refused", edit: func(v *vector) {
				script("write_run_logs", refused("X", "no logs"))(v)
				v.end("write_run_logs")
				v.left("prefect-job-abcd0001")
			}},
			{base: "1.4.1/manage-job-failed-exit-code", name: "no cloud logs", edit: func(v *vector) { v.Input.Agent = map[string]any{"no_cloud_logs": true} }},
		},
		[]variant{
			{base: "1.4.1/deploy-kubernetes-run", name: "another run config", edit: runConfig("DockerRun")},
			{base: "1.4.1/deploy-kubernetes-run", name: "a run config of the future", edit: runConfig("QuantumRun")},
			{base: "0.11.0/deploy-local-storage", name: "another storage", texts: []string{`"Local"`, `"GCS"`, `"directory"`, `"bucket"`}},
		},
		both("log refused", func(v *vector) {
			script("write_run_logs", refused("X", "no logs"))(v)
			v.fail("no logs")
		}),
		both("claim refused", func(v *vector) {
			script("set_flow_run_states", refused("VERSION_LOCKING_ERROR", "locked"))(v)
			v.end("set_flow_run_states")
			v.left()
			v.fail("locked")
		}),
		both("taken by somebody else", func(v *vector) {
			script("set_flow_run_states", refused("X", "State update failed for flow run ID "+runID))(v)
			v.end("set_flow_run_states")
			v.left()
		}),
		both("no cloud logs", func(v *vector) {
			v.Input.Command = append(v.Input.Command, "--no-cloud-logs")
			if v.core == "1.4.1" {
				v.setEnv("PREFECT__LOGGING__LOG_TO_CLOUD", "false")
				v.setEnv("PREFECT__CLOUD__SEND_FLOW_RUN_LOGS", "false")
			}
		}),
		both("metadata refused", func(v *vector) {
			script("flow_run", refused("X", "no"))(v)
			v.answer("flow_run", refused("X", "no"))
			v.end("flow_run")
			v.left()
		}),
		both("id twice", func(v *vector) {
			script("get_runs_in_queue", answer{Data: json.RawMessage(`{"get_runs_in_queue":{"flow_run_ids":["` + runID + `","` + runID + `"]}}`)})(v)
		}),
		both("null in the queue", func(v *vector) {
			script("get_runs_in_queue", answer{Data: json.RawMessage(`{"get_runs_in_queue":null}`)})(v)
			v.end("get_runs_in_queue")
			v.left()
		}),
	)
}

func refused(code, message string) answer {
	text, _ := json.Marshal(map[string]any{"data": nil, "errors": []any{map[string]any{"message": message, "extensions": map[string]any{"code": code}}}})
	return answer{JSON: text}
}

// runConfig offers a run whose config is of another type, which fails it.
func runConfig(kind string) func(v *vector) {
	return func(v *vector) {
		a := &v.Input.Backend["flow_run"][0]
		a.Data = json.RawMessage(strings.ReplaceAll(string(a.Data), `"KubernetesRun"`, `"`+kind+`"`))
		v.end("set_flow_run_states")
		v.fail("only KubernetesRun")
		v.left()
	}
}

// beside offers a run that can be read beside the one of the case.
func beside(v *vector) {
	var data struct {
		Runs []map[string]any `json:"flow_run"`
	}
	a := &v.Input.Backend["flow_run"][0]
	convert(a.Data, &data)
	good := clone(data.Runs[0])
	good["id"] = otherID
	good["serialized_state"] = map[string]any{"type": "Scheduled", "start_time": "2022-11-30T11:59:00+00:00", "message": "m"}
	a.Data, _ = json.Marshal(map[string]any{"flow_run": append(data.Runs, good)})
	v.Input.Backend["get_runs_in_queue"] = []answer{{Data: json.RawMessage(`{"get_runs_in_queue":{"flow_run_ids":["` + runID + `","` + otherID + `"]}}`)}}
	for i, e := range v.Expected.Exchanges {
		if query := text(e.Request.Query); rootOf(e) == "flow_run" {
			v.Expected.Exchanges[i].Request.Query = strings.Replace(query, `"`+runID+`"`, `"`+runID+`", "`+otherID+`"`, 1)
		}
	}
	v.left()
}

// left says which Jobs the recording leaves behind.
func (v *vector) left(jobs ...string) {
	if v.Expected.ClusterAfter == nil {
		v.Expected.ClusterAfter = &struct{ Jobs, Pods []string }{}
	}
	v.Expected.ClusterAfter.Jobs = jobs
}

// apart gives each of the three Jobs of a case a run of its own. The third one is
// reported.
func apart(v *vector) {
	id := func(i int) string { return strings.Replace(runID, "1", strconv.Itoa(i%3+1), 1) }
	for i, o := range slices.Concat(v.Input.Cluster.Jobs, v.Input.Cluster.Pods) {
		labels, _ := metadata(o)["labels"].(map[string]any)
		labels["prefect.io/flow_run_id"] = id(i)
	}
	for i, e := range v.Expected.Exchanges {
		text := strings.ReplaceAll(encode(e.Request.Variables), runID, id(2))
		_ = json.Unmarshal([]byte(text), &v.Expected.Exchanges[i].Request.Variables)
	}
}

// rootOf is the root field of a request, empty for one to the cluster.
func rootOf(e exchange) string {
	d, err := parseDocument(e.Request.Query)
	if e.API != "prefect" || err != nil {
		return ""
	}
	return d.root
}

// end cuts the recording behind the first request of this root.
func (v *vector) end(root string) {
	for i, e := range v.Expected.Exchanges {
		if rootOf(e) == root {
			v.Expected.Exchanges = v.Expected.Exchanges[:i+1]
			return
		}
	}
}

// undelete leaves deletions out of the recording.
func (v *vector) undelete() {
	var kept []exchange
	for _, e := range v.Expected.Exchanges {
		if e.Request.Method != http.MethodDelete {
			kept = append(kept, e)
		}
	}
	v.Expected.Exchanges = kept
}

// answer changes the recorded answers to a root.
func (v *vector) answer(root string, a answer) {
	for i, e := range v.Expected.Exchanges {
		if rootOf(e) == root {
			v.Expected.Exchanges[i].Answer = a
		}
	}
}

// setEnv changes a variable in the recorded Jobs.
func (v *vector) setEnv(name, value string) {
	for i, e := range v.Expected.Exchanges {
		data, _ := json.Marshal(e.Request.Body)
		pattern := regexp.MustCompile(`\{"name":"` + name + `","value":"[^"]*"\}`)
		_ = json.Unmarshal(pattern.ReplaceAll(data, []byte(`{"name":"`+name+`","value":"`+value+`"}`)), &v.Expected.Exchanges[i].Request.Body)
	}
}

// insert makes the first n requests of a root be answered so before the others.
func (v *vector) insert(root string, a answer, n int) {
	var with []exchange
	for _, e := range v.Expected.Exchanges {
		if rootOf(e) == root && n > 0 {
			for range n {
				failed := e
				failed.Answer = a
				with = append(with, failed)
				v.Input.Backend[root] = append([]answer{a}, v.Input.Backend[root]...)
			}
			n = 0
		}
		with = append(with, e)
	}
	v.Expected.Exchanges = with
}

// fail is what the reference does about a run that it could not start.
func (v *vector) fail(message string) {
	line, state := exchange{API: "prefect"}, exchange{API: "prefect"}
	line.Request.Query = `mutation($input: write_run_logs_input!) { write_run_logs(input: $input) { success } }`
	line.Request.Variables = map[string]any{"input": map[string]any{"logs": []any{
		map[string]any{"flow_run_id": runID, "name": "agent", "message": message, "level": "ERROR"},
	}}}
	state.Request.Query = `mutation($input: set_flow_run_states_input!) { set_flow_run_states(input: $input) { states { id } } }`
	state.Request.Variables = map[string]any{"input": map[string]any{"states": []any{
		map[string]any{"flow_run_id": runID, "version": 1, "state": map[string]any{"type": "Failed", "message": message}},
	}}}
	v.Expected.Exchanges = append(v.Expected.Exchanges, line, state)
}

// conformVariant judges one variant like a case of the corpus.
func conformVariant(t *testing.T, root string, c variant, n *counts, used *usage) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "http", c.base+".json"))
	if err != nil {
		t.Fatal(err)
	}
	v := parseVector(t, path.Dir(c.base), strings.NewReplacer(c.texts...).Replace(string(data)))
	if c.edit != nil {
		c.edit(&v)
	}
	conform(t, v, n, used)
}
