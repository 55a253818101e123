package app_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// facts are what a case fixes, by name.
type facts map[string]string

// traffic is one run of an agent: the reference's or ours.
type traffic struct {
	exchanges []exchange
	// repeats is whether the agent sends a request again after a lost or failed
	// one. The agent of 0.11.0 does not over plain HTTP: there an equal request is
	// a new poll.
	repeats bool
	exit    string
	// left are the names of what the cluster holds at the end, nil if not recorded.
	left map[string][]string
	// passes is set where only passes of manage_jobs were recorded.
	passes bool
	// tellable are the words about the case's Pods and events that a report may hold.
	tellable map[string]*regexp.Regexp
}

// reduce turns a run into the facts that must agree. The same function reduces
// the recording and our own traffic:
//
//	exit                       class of the exit code; "waiting" if the agent went on instead of ending; where recorded
//	start/order                root fields up to the first poll, each once
//	start/ROOT/...             to (path), header, reads (fields), input, tries
//	poll/N/...                 the same without input; labels, tenant, before (relative to the time of the request)
//	poll/N/runs, due           the runs whose metadata is read, and how long a retry must be due
//	run/ID/order               states, task states, Jobs and log lines in their order
//	run/ID/state/N ...         type, version and message of each state written, type and start of the state inside
//	run/ID/task-state/N, log/N the same of task runs, and run log lines
//	run/ID/job/N/...           namespace, tries, and the leaves of the body
//	run/ID/told/WORD           what the reports of ended and stuck Jobs tell about Pods and events
//	deleted/KIND/NAME, left/KIND/NAME
//	request/ROOT/tries         how often a write was sent again
//
// Names of Jobs that we make and their identifiers are masked. A message about an
// answer of the Kubernetes API counts by what it must hold: status, reason and the
// server's text. A report of the clean-up loop counts by the words it tells, lines
// of one level in a row by their level. Left out, and why:
//
//   - introspection of the schema, which only tells us which documents to send
//   - reads of flow runs by id alone, which verify claims and precede verdicts: the
//     reference trusts the answer to its write instead (D-16, D-17)
//   - metadata reads beyond the first of a poll, which look again before a claim (D-24)
//   - which fields of a flow run are read: we read its history and leave out what we do not use
//   - the context of states, which holds our marks, and Python's empty members of them
//   - empty objects, lists and nulls in Jobs, which mean nothing to Kubernetes
//   - everything read from the cluster: the reference lists every minute, we watch
//   - sleeps, whose effects are in tries and order
//   - start and polls where only passes of manage_jobs were recorded, and when within
//     or after them something happens: the reference looks once a minute
func (t traffic) reduce() facts {
	r := reducer{traffic: t, facts: facts{}, jobs: map[string]string{}, masks: map[string]string{}, counts: map[string]int{}, written: map[string]string{}}
	r.set("exit", t.exit)
	for _, e := range t.exchanges {
		switch e.API {
		case "prefect":
			r.prefect(e)
		case "kubernetes":
			r.kubernetes(e)
		}
	}
	r.set("start/order", strings.Join(r.order, " "))
	for kind, names := range t.left {
		for _, name := range names {
			r.set("left/"+kind+"/"+r.mask(name), "yes")
		}
	}
	for name, value := range r.facts {
		r.facts[name] = r.mask(value)
	}
	return r.facts
}

type reducer struct {
	traffic
	facts   facts
	order   []string // roots at start
	polls   int
	jobs    map[string]string // fact name by Job name
	masks   map[string]string
	counts  map[string]int
	written map[string]string // message by fact name of a state
	// refusal is the last answer of the cluster that was a failure.
	refusal *answer
	last    exchange
	lastAt  string // fact name of the last request to Prefect
	tries   int    // how often that was sent
}

// set leaves an empty value out, so that it equals one that is not there.
func (r *reducer) set(name, value string) {
	if value != "" {
		r.facts[name] = value
	}
}

// again counts a repetition of what a fact is about, if it is about any.
func (r *reducer) again(at string) {
	if at != "" {
		r.counts[at]++
		r.set(at+"/tries", strconv.Itoa(r.counts[at]+1))
	}
}

// next numbers facts of one kind.
func (r *reducer) next(name string) string {
	r.counts[name]++
	return fmt.Sprintf("%s/%d", name, r.counts[name])
}

func (r *reducer) mask(text string) string {
	for _, name := range slices.SortedFunc(maps.Keys(r.masks), func(a, b string) int { return len(b) - len(a) }) {
		text = strings.ReplaceAll(text, name, r.masks[name])
	}
	return text
}

func (r *reducer) prefect(e exchange) {
	d, err := parseDocument(e.Request.Query)
	if err != nil {
		r.set("broken document", err.Error())
		return
	}
	read := d.root == "__type" || d.root == "flow_run_by_pk" || d.root == "flow_run" && !d.offered
	if read || r.passes && (starts[d.root] || d.root == "get_runs_in_queue") {
		return
	}
	if r.repeats && repeated(r.last, e) && r.tries < mostTries {
		r.last = e
		r.tries++
		r.again(r.lastAt)
		return
	}
	r.last, r.lastAt, r.tries = e, "request/"+d.root, 1
	switch {
	case d.root == "get_runs_in_queue":
		r.poll(e, d)
	case starts[d.root]:
		r.start(e, d)
	case d.root == "flow_run":
		r.metadata(e, d)
	case d.root == "set_flow_run_states":
		r.states(e)
	case d.root == "set_task_run_states":
		r.taskStates(e)
	case d.root == "write_run_logs":
		r.logs(e)
	default:
		r.set("unknown/"+d.root, "sent")
	}
}

// starts are the root fields of the start.
var starts = map[string]bool{"auth_info": true, "tenant": true, "register_agent": true, "agent_config": true, "hello": true}

// mostTries is how often 1.4.1 sends a request before it gives up. What comes behind
// is another one like it.
const mostTries = 7

// repeated is whether a request is the one before, sent again since that failed.
func repeated(last, e exchange) bool {
	return encode(last.Request.Query) == encode(e.Request.Query) && encode(last.Request.Variables) == encode(e.Request.Variables) &&
		(last.Answer.Close || last.Answer.status() >= http.StatusInternalServerError || last.Answer.status() == http.StatusTooManyRequests || strings.Contains(string(last.Answer.body()), "API_ERROR"))
}

// start keeps the first request of each root: an agent that waits instead of
// ending goes through its start again.
func (r *reducer) start(e exchange, d document) {
	at := "start/" + d.root
	if slices.Contains(r.order, d.root) {
		r.lastAt = ""
		return
	}
	r.order, r.lastAt = append(r.order, d.root), at
	r.envelope(at, e, d)
	if in := input(e); in != nil {
		r.set(at+"/input", encode(in))
	}
}

func (r *reducer) envelope(at string, e exchange, d document) {
	r.set(at+"/to", e.Request.Path)
	slices.Sort(d.fields)
	r.set(at+"/reads", strings.Join(d.fields, " "))
	for name, value := range e.Request.Headers {
		if strings.HasPrefix(name, "X-PREFECT-") || name == "Authorization" {
			r.set(at+"/header/"+name, value)
		}
	}
}

func input(e exchange) any {
	var in struct{ Input any }
	convert(e.Request.Variables, &in)
	return in.Input
}

func (r *reducer) poll(e exchange, d document) {
	r.polls++
	at := fmt.Sprintf("poll/%d", r.polls)
	r.lastAt = at
	r.envelope(at, e, d)
	in, _ := input(e).(map[string]any)
	for name, value := range in {
		if name != "before" {
			r.set(at+"/"+name, encode(value))
		}
	}
	r.set(at+"/before", r.relative(in["before"], e.at))
}

// relative is a time as the distance from the request that names it. The clock
// of a recording stands still.
func (r *reducer) relative(value any, at time.Time) string {
	text, _ := value.(string)
	when, err := time.Parse("2006-01-02T15:04:05.999999-07:00", text)
	if err != nil {
		return text
	}
	return when.Sub(at).Round(time.Millisecond).String() // microseconds are all that travels
}

func (r *reducer) metadata(e exchange, d document) {
	at := fmt.Sprintf("poll/%d", r.polls)
	if r.facts[at+"/runs"] != "" {
		r.lastAt = ""
		return
	}
	r.lastAt = at + "/runs"
	slices.Sort(d.ids)
	r.set(at+"/runs", strings.Join(d.ids, " "))
	r.set(at+"/due", r.relative(d.due, e.at))
}

func (r *reducer) states(e exchange) {
	for _, w := range statesOf(e.Request.Variables) {
		name := "run/" + w.FlowRunID + "/state"
		message := text(w.State["message"])
		if before := fmt.Sprintf("%s/%d", name, r.counts[name]); r.facts[before] == summary(w) && r.written[before] == message {
			r.again(before) // a refused state, written again
			continue
		}
		at := r.next(name)
		r.set(at, summary(w))
		r.written[at] = message
		report := strings.HasPrefix(message, "Kubernetes Error: ")
		r.set(at+"/message", r.told(w.FlowRunID, message, report, text(w.State["type"]) == "Failed"))
		if inner, ok := w.State["state"].(map[string]any); ok {
			r.set(at+"/inner", strings.TrimSpace(text(inner["type"])+" "+instant(inner["start_time"])))
		}
		r.did(w.FlowRunID, text(w.State["type"]))
	}
}

// told is what counts of a message.
func (r *reducer) told(id, message string, report, failure bool) string {
	if a := r.refusal; a != nil && a.tells(message) {
		return fmt.Sprintf("kubernetes: %d, reason and message of the server", a.status())
	}
	switch {
	case !report && failure:
		return "failure: " + message
	case !report:
		return message
	}
	for word, pattern := range r.tellable {
		if pattern.MatchString(message) {
			r.set("run/"+id+"/told/"+word, "yes")
		}
	}
	if cause, ok := strings.CutPrefix(message, "Kubernetes Error: "); ok && cause != "" {
		return "Kubernetes Error: and a cause"
	}
	return "a report"
}

var escaped = regexp.MustCompile(`\\(u[0-9a-f]{4}|")`)

// tells reports whether a message holds status, reason and text of an answer of the
// Kubernetes API. The reference prints the body, where quotes and what is not ASCII
// are escaped.
func (a answer) tells(message string) bool {
	var status struct{ Message, Reason string }
	_ = json.Unmarshal(a.body(), &status) // another form tells nothing
	plain := escaped.ReplaceAllStringFunc(message, func(escape string) string {
		character, _ := strconv.Unquote(`"` + escape + `"`)
		return character
	})
	return status.Reason != "" && strings.Contains(plain, strconv.Itoa(a.status())) &&
		strings.Contains(plain, status.Reason) && strings.Contains(plain, status.Message)
}

func summary(w write) string {
	version := "no version"
	if w.Version != nil {
		version = fmt.Sprintf("on version %d", *w.Version)
	}
	return text(w.State["type"]) + " " + version
}

func instant(value any) string {
	when, err := time.Parse(time.RFC3339Nano, text(value))
	if err != nil {
		return text(value)
	}
	return when.UTC().Format(time.RFC3339Nano)
}

func (r *reducer) taskStates(e exchange) {
	for _, w := range statesOf(e.Request.Variables) {
		at := r.next("task-run/" + w.TaskRunID + "/state")
		r.set(at, summary(w)+": "+text(w.State["message"]))
	}
}

func (r *reducer) logs(e exchange) {
	type line struct {
		FlowRunID            string `json:"flow_run_id"`
		Name, Message, Level string
	}
	var lines struct{ Input struct{ Logs []line } }
	var one struct{ Input struct{ Logs line } } // GraphQL takes one for a list of one
	convert(e.Request.Variables, &lines)
	if len(lines.Input.Logs) == 0 {
		convert(e.Request.Variables, &one)
		lines.Input.Logs = []line{one.Input.Logs}
	}
	for _, l := range lines.Input.Logs {
		if l.Name == "k8s-infra" {
			r.told(l.FlowRunID, l.Message, true, false)
			r.did(l.FlowRunID, l.Level+" report")
			continue
		}
		at := r.next("run/" + l.FlowRunID + "/log")
		r.set(at, l.Level+" "+l.Name)
		r.set(at+"/message", r.told(l.FlowRunID, l.Message, false, l.Level == "ERROR"))
		r.did(l.FlowRunID, l.Level+" line")
	}
}

// did adds to the order of what was done for a run. Reports of one level in a row
// are one.
func (r *reducer) did(id, what string) {
	name := "run/" + id + "/order"
	before := r.facts[name]
	switch {
	case strings.HasSuffix(what, " report") && strings.HasSuffix(before, what):
		return
	case before != "":
		what = before + ", " + what
	}
	r.set(name, what)
}

func (r *reducer) kubernetes(e exchange) {
	parts := resourcePath.FindStringSubmatch(e.Request.Path)
	body, _ := e.Request.Body.(map[string]any)
	if e.Answer.status() >= http.StatusBadRequest {
		r.refusal = &e.Answer
	}
	switch {
	case e.Request.Method == http.MethodDelete && parts != nil:
		r.set("deleted/"+parts[2]+"/"+parts[3], "yes")
	case e.Request.Method == http.MethodPost && parts != nil:
		r.job(body, parts[1])
	}
}

func (r *reducer) job(body map[string]any, namespace string) {
	name := text(metadata(body)["name"])
	if at := r.jobs[name]; at != "" {
		r.again(at)
		return
	}
	labels, _ := metadata(body)["labels"].(map[string]any)
	id := text(labels["flow_run_id"]) + text(labels["prefect.io/flow_run_id"])
	if labels["flow_run_id"] != nil { // ours has both
		id = text(labels["flow_run_id"])
	}
	at := r.next("run/" + id + "/job")
	r.jobs[name] = at
	r.masks[name] = "<job>"
	r.masks[name[strings.LastIndex(name, "-")+1:]] = "<identifier>"
	r.set(at+"/namespace", namespace)
	r.leaves(at+"/body", body)
	r.did(id, "Job")
}

// leaves flattens a Job. Lists of named things go by their names, of which the
// last wins, as in Kubernetes.
func (r *reducer) leaves(at string, value any) {
	switch v := value.(type) {
	case nil:
	case map[string]any:
		for key, below := range v {
			r.leaves(at+"."+key, below)
		}
	case []any:
		for i, below := range v {
			o, named := below.(map[string]any)
			if named && strings.HasSuffix(at, ".env") {
				if o["valueFrom"] == nil {
					o = map[string]any{"name": o["name"], "value": text(o["value"])} // none is an empty one
				}
				r.set(at+"["+text(o["name"])+"]", encode(cmp.Or(o["value"], o["valueFrom"])))
				continue
			}
			r.leaves(fmt.Sprintf("%s[%d]", at, i), below)
		}
	default:
		r.set(at, encode(v))
	}
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

// rootOf is the root field of a request, empty for one to the cluster.
func rootOf(e exchange) string {
	d, err := parseDocument(e.Request.Query)
	if e.API != "prefect" || err != nil {
		return ""
	}
	return d.root
}

func encode(value any) string {
	data, _ := json.Marshal(value)
	return string(data)
}
