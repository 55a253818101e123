package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// backend plays the scripted Prefect API of a case: for each root field a list of
// answers, consumed in order, of which the last one repeats. What the script does
// not have is answered as by a server whose schema does not have it; that is what
// our introspection gets.
//
// One thing it does by itself. Our agent reads after a claim what counts, which
// the Python agent never does, so no script has an answer to that. Such a read is
// told by its filter, which names ids alone; it is answered from the runs that the
// script gave, with the states written since. A run that only Jobs name is read
// by 1.4.1 with flow_run_by_pk: one answer of that script for each run that we ask
// for, with the history that a server has of such a run.
type backend struct {
	*recorder
	script map[string][]answer

	lock sync.Mutex
	runs map[string]map[string]any
}

// RoundTrip implements http.RoundTripper.
func (b *backend) RoundTrip(req *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	e := exchange{API: "prefect", at: time.Now()}
	e.Request.Method, e.Request.Path, e.Request.Headers = req.Method, req.URL.Path, map[string]string{}
	for name, values := range req.Header {
		e.Request.Headers[name] = strings.Join(values, ", ")
	}
	if e.Request.Path == "" {
		e.Request.Path = "/"
	}
	var body struct{ Query, Variables string }
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, fmt.Errorf("the request body is not two texts: %w", err)
	}
	if err := json.Unmarshal([]byte(body.Variables), &e.Request.Variables); err != nil {
		return nil, fmt.Errorf("the variables are no JSON: %w", err)
	}
	e.Request.Query = body.Query
	e.Answer = b.answer(e)
	b.add(e)
	return e.Answer.response(req)
}

func (b *backend) answer(e exchange) answer {
	b.lock.Lock()
	defer b.lock.Unlock()
	d, err := parseDocument(e.Request.Query)
	if err != nil {
		return refusal(err.Error())
	}
	if d.root == "flow_run" && !d.offered {
		return b.current(d.ids)
	}
	a, ok := b.next(d.root)
	if !ok {
		return refusal(fmt.Sprintf("Cannot query field %q", d.root))
	}
	if d.root == "flow_run" {
		a.Data = withHistory(a.Data)
		b.see(a)
	}
	if d.root == "set_flow_run_states" && !a.failing() {
		b.write(e.Request.Variables, a)
	}
	return a
}

// next takes the next answer of a script.
func (b *backend) next(root string) (answer, bool) {
	answers := b.script[root]
	if len(answers) == 0 {
		return answer{}, false
	}
	if len(answers) > 1 {
		b.script[root] = answers[1:]
	}
	return answers[0], true
}

func refusal(message string) answer {
	text, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{
		"message": message, "extensions": map[string]any{"code": "GRAPHQL_VALIDATION_FAILED"},
	}}})
	return answer{Status: http.StatusBadRequest, JSON: text}
}

// see remembers the runs of a scripted answer, unless a state was written since.
func (b *backend) see(a answer) {
	if b.runs == nil {
		b.runs = map[string]map[string]any{}
	}
	var data struct {
		Runs []map[string]any `json:"flow_run"`
	}
	_ = json.Unmarshal(a.Data, &data) // an answer without runs has none
	for _, run := range data.Runs {
		id, ok := run["id"].(string)
		if known := b.runs[id]; ok && (known == nil || versionOf(known) <= versionOf(run)) {
			b.runs[id] = maps.Clone(run)
		}
	}
}

// write does what the server does: the new state is shown, under the next
// version. States that the answer queues are not.
func (b *backend) write(variables any, a answer) {
	queued := map[string]bool{}
	var data struct {
		Set struct{ States []struct{ ID, Status string } } `json:"set_flow_run_states"`
	}
	_ = json.Unmarshal(a.Data, &data) // an answer of another form queues nothing
	for _, s := range data.Set.States {
		queued[s.ID] = s.Status == "QUEUED"
	}
	for _, w := range statesOf(variables) {
		run := b.runs[w.FlowRunID]
		if run == nil || queued[w.FlowRunID] {
			continue
		}
		version := versionOf(run)
		run["version"], run["state"], run["serialized_state"] = version+1, w.State["type"], w.State
		if rows, ok := run["states"].([]any); ok {
			run["states"] = append(rows, row(version+1, w.State))
		}
	}
}

func (b *backend) current(ids []string) answer {
	found := []any{}
	for _, id := range ids {
		run := b.runs[id]
		if run == nil {
			var refused *answer
			if run, refused = b.byJob(id); refused != nil {
				return *refused
			}
		}
		if run != nil {
			found = append(found, run)
		}
	}
	data, _ := json.Marshal(map[string]any{"flow_run": found})
	return answer{Data: data}
}

// byJob reads a run that the script knows by flow_run_by_pk. As soon as a state of
// it was written that is shown instead.
func (b *backend) byJob(id string) (run map[string]any, refused *answer) {
	a, ok := b.next("flow_run_by_pk")
	if !ok {
		return nil, nil
	}
	var data struct {
		Run *struct {
			State map[string]any `json:"serialized_state"`
		} `json:"flow_run_by_pk"`
	}
	if a.Data == nil || a.status() != http.StatusOK || a.Close {
		return nil, &a
	}
	if json.Unmarshal(a.Data, &data) != nil || data.Run == nil {
		return nil, nil
	}
	var rows []any
	for _, kind := range []string{"Scheduled", "Submitted", "Running"} {
		if kind == data.Run.State["type"] {
			break
		}
		rows = append(rows, row(float64(len(rows)+1), map[string]any{"type": kind}))
	}
	version := float64(len(rows) + 1)
	run = map[string]any{
		"id": id, "version": version, "serialized_state": data.Run.State,
		"states": append(rows, row(version, data.Run.State)),
	}
	if b.runs == nil {
		b.runs = map[string]map[string]any{}
	}
	if len(b.script["flow_run_by_pk"]) == 1 { // the last answer repeats, so writes may be seen
		b.runs[id] = run
	}
	return run, nil
}

// withHistory gives runs that had states before a history, as the server has that we
// ask: the Python agents never did, so no script has one. A run of version 1 has
// nothing but its state.
func withHistory(data json.RawMessage) json.RawMessage {
	var answered map[string][]map[string]any
	if json.Unmarshal(data, &answered) != nil {
		return data
	}
	changed := false
	for _, run := range answered["flow_run"] {
		state, ok := run["serialized_state"].(map[string]any)
		if ok && run["states"] == nil && versionOf(run) > 1 {
			run["states"], changed = []any{row(versionOf(run), state)}, true
		}
	}
	if !changed {
		return data
	}
	text, _ := json.Marshal(answered)
	return text
}

func versionOf(run map[string]any) float64 { v, _ := run["version"].(float64); return v }

func row(version float64, state map[string]any) map[string]any {
	return map[string]any{"version": version, "serialized_state": state}
}

// body is the text of the answer.
func (a answer) body() []byte {
	switch {
	case a.Text != nil:
		return []byte(*a.Text)
	case a.JSON != nil:
		return a.JSON
	case a.Data != nil:
		return []byte(`{"data":` + string(a.Data) + `}`)
	}
	return nil
}

func (a answer) status() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

func (a answer) response(req *http.Request) (*http.Response, error) {
	if a.Close {
		return nil, io.EOF
	}
	contentType := a.ContentType
	if contentType == "" {
		contentType = "application/json"
	}
	return &http.Response{
		Status: strconv.Itoa(a.status()), StatusCode: a.status(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(a.body())),
	}, nil
}

// document is what the facts need of a GraphQL document.
type document struct {
	root   string
	fields []string // the fields read below the root, as paths
	// ids and due come from a filter on flow runs; offered is whether it asks for
	// those that may be started.
	ids     []string
	due     string
	offered bool
}

func parseDocument(query any) (document, error) {
	text, _ := query.(string)
	parsed, err := parser.ParseQuery(&ast.Source{Input: text})
	if err != nil {
		return document{}, err
	}
	if len(parsed.Operations) == 0 || len(parsed.Operations[0].SelectionSet) == 0 {
		return document{}, fmt.Errorf("no operation in %q", text)
	}
	root, ok := parsed.Operations[0].SelectionSet[0].(*ast.Field)
	if !ok {
		return document{}, fmt.Errorf("no field in %q", text)
	}
	d := document{root: root.Name, fields: fieldsOf("", root.SelectionSet)}
	if where := root.Arguments.ForName("where"); where != nil {
		d.filter(where.Value)
	}
	return d, nil
}

func fieldsOf(above string, set ast.SelectionSet) []string {
	var found []string
	for _, s := range set {
		if f, ok := s.(*ast.Field); ok {
			found = append(found, above+f.Name)
			found = append(found, fieldsOf(above+f.Name+".", f.SelectionSet)...)
		}
	}
	return found
}

func (d *document) filter(v *ast.Value) {
	for _, c := range v.Children {
		switch c.Name {
		case "_or":
			d.offered = true
		case "_in":
			for _, id := range c.Value.Children {
				d.ids = append(d.ids, id.Value.Raw)
			}
		case "_lte":
			d.due = c.Value.Raw
		}
		d.filter(c.Value)
	}
}

// write is one state of a set_flow_run_states or set_task_run_states call.
type write struct {
	FlowRunID string `json:"flow_run_id"`
	TaskRunID string `json:"task_run_id"`
	Version   *int
	State     map[string]any
}

func statesOf(variables any) []write {
	var in struct{ Input struct{ States []write } }
	convert(variables, &in)
	return in.Input.States
}

// convert reads decoded JSON into a struct. What does not fit is left empty.
func convert(from, to any) {
	data, _ := json.Marshal(from)
	_ = json.Unmarshal(data, to)
}
