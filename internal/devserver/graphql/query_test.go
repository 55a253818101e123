package graphql_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/devserver/graphql"
	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// data fills a backend with two flows and four runs:
//
//	a, b of flow "etl" (version 2), labels x and x, y; a is Running
//	c, d of flow "other"; d starts at one o'clock
func data(t *testing.T) backend {
	t.Helper()
	b := newBackend(t, store.Server1, graphql.Limits{})
	project, err := b.store.CreateProject(t.Context(), "", "team", nil)
	if err != nil {
		t.Fatal(err)
	}
	etl := json.RawMessage(`{"name": "etl", "tasks": [{"slug": "one", "name": "One"}, {"slug": "two"}], "parameters": [{"name": "n", "default": {"deep": [1, {"k": "v"}]}}]}`)
	b.flow(t, store.FlowInput{ProjectID: project, Serialized: etl})
	flow := b.flow(t, store.FlowInput{ProjectID: project, Serialized: etl})
	other := b.flow(t, store.FlowInput{ProjectID: project, Serialized: json.RawMessage(`{"name": "other"}`)})
	one := noon().Add(time.Hour)
	b.run(t, store.FlowRunInput{FlowID: flow, Name: "a", Labels: []string{"x"}})
	b.run(t, store.FlowRunInput{FlowID: flow, Name: "b", Labels: []string{"y", "x"}})
	b.run(t, store.FlowRunInput{FlowID: other, Name: "c"})
	b.run(t, store.FlowRunInput{FlowID: other, Name: "d", Start: &one, Context: map[string]json.RawMessage{"n": json.RawMessage("1")}})
	var ids struct {
		Data struct {
			Runs []struct{ ID string } `json:"flow_run"`
		}
	}
	if err := json.Unmarshal([]byte(b.text(t, `{ flow_run(where: {name: {_eq: "a"}}) { id } }`, "")), &ids); err != nil {
		t.Fatal(err)
	}
	_, err = b.store.SetFlowRunStates(t.Context(), []store.StateInput{{RunID: ids.Data.Runs[0].ID, State: json.RawMessage(`{"type": "Running", "message": "go"}`)}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhere(t *testing.T) {
	t.Parallel()
	b := data(t)
	for where, want := range map[string]string{
		`{}`:                                "a b c d",
		`{name: {_eq: null}}`:               "a b c d",
		`{name: {}}`:                        "a b c d",
		`{_and: []}`:                        "a b c d",
		`{_or: []}`:                         "",
		`{_and: [{}, null]}`:                "a b c d",
		`{_or: [{}, {name: {_eq: "a"}}]}`:   "a b c d",
		`{_and: {name: {_eq: "a"}}}`:        "a",
		`{_or: {name: {_eq: "b"}}}`:         "b",
		`{_not: {name: {_in: ["a", "b"]}}}`: "c d",
		`{_not: {_or: [{name: {_eq: "a"}}, {name: {_eq: "b"}}], version: {_gt: 0}}}`: "c d",
		`{name: {_in: "c"}}`:                                     "c",
		`{name: {_in: []}}`:                                      "",
		`{name: {_nin: []}}`:                                     "a b c d",
		`{name: {_nin: ["a"]}}`:                                  "b c d",
		`{name: {_neq: "a", _lte: "c"}}`:                         "b c",
		`{name: {_like: "A"}}`:                                   "",
		`{name: {_ilike: "A"}}`:                                  "a",
		`{name: {_like: "_"}}`:                                   "a b c d",
		`{name: {_nlike: "%a%"}}`:                                "b c d",
		`{version: {_gte: 2}}`:                                   "a",
		`{auto_scheduled: {_eq: true}}`:                          "",
		`{start_time: {_is_null: false}}`:                        "a",
		`{start_time: {_is_null: true}}`:                         "b c d",
		`{state_start_time: {_lte: "2026-11-23T12:30:00"}}`:      "b c",
		`{state_start_time: {_gt: "2026-11-23T14:30:00+02:00"}}`: "d",
		`{flow: {name: {_eq: "etl"}}}`:                           "a b",
		`{flow: {project: {name: {_eq: "team"}, flows: {name: {_eq: "other"}}}}}`: "a b c d",
		`{flow: {project: {name: {_eq: "none"}}}}`:                                "",
		`{task_runs: {state: {_eq: "Pending"}}}`:                                  "a b",
		`{_not: {task_runs: {}}}`:                                                 "c d",
		`{states: {state: {_eq: "Running"}, version: {_eq: 2}}}`:                  "a",
		`{labels: {_contains: "x"}}`:                                              "a b",
		`{labels: {_contains: ["y", "x"]}}`:                                       "b",
		`{labels: {_contains: []}}`:                                               "a b c d",
		`{labels: {_has_key: "y"}}`:                                               "b",
		`{labels: {_has_keys_any: ["y", "z"]}}`:                                   "b",
		`{labels: {_has_keys_all: ["y", "z"]}}`:                                   "",
		`{labels: {_eq: ["x"]}}`:                                                  "a",
		`{context: {_contains: {n: 1}}}`:                                          "d",
		`{context: {_contains: {n: 1.0}}}`:                                        "d",
		`{context: {_contains: {n: "1"}}}`:                                        "",
		`{context: {_has_key: "n"}}`:                                              "d",
		`{parameters: {_contains: {n: {deep: [{k: "v"}]}}}}`:                      "a b",
		`{parameters: {_contains: {n: {deep: [{k: "w"}]}}}}`:                      "",
		`{parameters: {_contains: {n: {deep: [1]}}}}`:                             "a b",
		`{serialized_state: {_contains: {type: "Running", message: "go"}}}`:       "a",
		`{run_config: {_contains: {n: null}}}`:                                    "",
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			if got := names(t, b, `{ flow_run(where: `+where+`, order_by: {name: asc}) { name } }`, ""); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// names returns the names of the rows of flow_run, or the errors.
func names(t *testing.T, b backend, query, vars string) string {
	t.Helper()
	var doc struct {
		Data   map[string][]struct{ Name string }
		Errors []struct{ Message string }
	}
	text := b.text(t, query, vars)
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var out []string
	for _, e := range doc.Errors {
		out = append(out, "error: "+e.Message)
	}
	for _, rows := range doc.Data {
		for _, row := range rows {
			out = append(out, row.Name)
		}
	}
	return strings.Join(out, " ")
}

func TestOrderLimitDistinct(t *testing.T) {
	t.Parallel()
	b := data(t)
	for arguments, want := range map[string]string{
		`order_by: {name: desc}`:                             "d c b a",
		`order_by: [{flow: {name: desc}}, {name: desc}]`:     "d c b a",
		`order_by: {start_time: asc, name: desc}`:            "a d c b",
		`order_by: {start_time: desc, name: asc}`:            "b c d a",
		`order_by: {start_time: desc_nulls_last, name: asc}`: "a b c d",
		`order_by: {name: null, version: desc}`:              "a b c d",
		`order_by: {name: asc}, limit: 2`:                    "a b",
		`order_by: {name: asc}, limit: 2, offset: 1`:         "b c",
		`order_by: {name: asc}, offset: 3`:                   "d",
		`limit: 0`:                                           "",
		`limit: -1`:                                          "error: limit must not be negative",
		`distinct_on: flow_id, order_by: {flow_id: asc, name: desc}, where: {flow: {name: {_eq: "etl"}}}`: "b",
		`distinct_on: null, limit: 1`:                                  "a",
		`distinct_on: [version], order_by: {version: desc, name: asc}`: "a b",
	} {
		t.Run(arguments, func(t *testing.T) {
			t.Parallel()
			if got := names(t, b, `{ flow_run(`+arguments+`) { name } }`, ""); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	b := data(t)
	for name, c := range map[string]struct{ query, vars, want string }{
		"selection and aliases": {
			`query Q($n: String, $no: Boolean!) { r: flow_run(where: {name: {_eq: $n}}) { __typename N: name version @skip(if: $no) ...F ... @include(if: $no) { labels } } }
			fragment F on flow_run { flow { version name } flow { archived } }`, `{"n": "b", "no": true}`,
			`{"data":{"r":[{"__typename":"flow_run","N":"b","flow":{"version":2,"name":"etl","archived":false},"labels":["x","y"]}]}}`,
		},
		"nested lists per parent": {
			`{ flow(order_by: {name: asc}, where: {archived: {_eq: false}}) { name flow_runs(order_by: {name: desc}, limit: 1) { name } rest: flow_runs(order_by: {name: desc}, offset: 1) { name } tasks(where: {slug: {_eq: "two"}}) { slug name } } }`, "",
			`{"data":{"flow":[{"name":"etl","flow_runs":[{"name":"b"}],"rest":[{"name":"a"}],"tasks":[{"slug":"two","name":null}]},{"name":"other","flow_runs":[{"name":"d"}],"rest":[{"name":"c"}],"tasks":[]}]}}`,
		},
		"distinct per parent": {
			`{ project { flows(distinct_on: name, order_by: {name: asc, version: desc}) { name version } flows_aggregate(distinct_on: name) { aggregate { count } } } }`, "",
			`{"data":{"project":[{"flows":[{"name":"etl","version":2},{"name":"other","version":1}],"flows_aggregate":{"aggregate":{"count":2}}}]}}`,
		},
		"aggregates": {
			`{ flow_run_aggregate(where: {version: {_eq: 1}}) { __typename aggregate { count n: count(columns: start_time) d: count(columns: [version], distinct: true) } nodes { name } } }`, "",
			`{"data":{"flow_run_aggregate":{"__typename":"flow_run_aggregate","aggregate":{"count":3,"n":0,"d":1},"nodes":[{"name":"b"},{"name":"c"},{"name":"d"}]}}}`,
		},
		"states": {
			`{ flow_run(where: {name: {_eq: "a"}}) { version start_time states(order_by: {version: desc}, limit: 20) { version state message serialized_state } agent { id } } }`, "",
			`{"data":{"flow_run":[{"version":2,"start_time":"2026-11-23T12:00:00.`,
		},
		"by key":              {`query($id: uuid!) { flow_run_by_pk(id: $id) { name } }`, `{"id": "00000000-0000-4000-8000-000000000000"}`, `{"data":{"flow_run_by_pk":null}}`},
		"variable list":       {`query($n: [String!]) { flow_run(where: {name: {_in: $n}}) { name } }`, `{"n": "c"}`, `{"data":{"flow_run":[{"name":"c"}]}}`},
		"absent variable":     {`query($n: String) { flow_run(where: {name: {_eq: $n}}, limit: 1) { name } }`, "", `{"data":{"flow_run":[{"name":"a"}]}}`},
		"root typename":       {`{ __typename hello }`, "", `{"data":{"__typename":"Query","hello":"👋"}}`},
		"bad uuid":            {`{ flow_run(where: {id: {_eq: "nope"}}) { name } }`, "", `{"errors":[{"message":"invalid input syntax for type uuid: \"nope\"","path":["flow_run"],"locations":[{"line":1,"column":3}],"extensions":{"code":"BAD_USER_INPUT"}}],"data":null}`},
		"unknown field":       {`{ flow_run { nope } }`, "", `{"errors":[{"message":"Cannot query field \"nope\" on type \"flow_run\".`},
		"unknown argument":    {`{ flow_run(wher: {}) { name } }`, "", `{"errors":[{"message":"Unknown argument \"wher\"`},
		"unknown column":      {`{ flow_run(where: {nope: {_eq: 1}}) { name } }`, "", `{"errors":[{"message":"Field \"nope\" is not defined by type \"flow_run_bool_exp\".`},
		"unknown in variable": {`query($w: flow_run_bool_exp) { flow_run(where: $w) { name } }`, `{"w": {"nope": 1}}`, `{"errors":[{"message":"$w: field \"nope\" is not defined by type flow_run_bool_exp"`},
		"syntax":              {`{ flow_run { `, "", `{"errors":[{"message":"Expected`},
		"no rows of limits":   {`{ task_tag_limit { limit } }`, "", `{"data":{"task_tag_limit":[]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := b.text(t, c.query, c.vars); !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestGenerationsRefuseForeignInput checks that the input types are those of
// the server, so that an agent finds out what it speaks to.
func TestGenerationsRefuseForeignInput(t *testing.T) {
	t.Parallel()
	const run = "00000000-0000-4000-8000-000000000000"
	queue := `mutation($input: get_runs_in_queue_input!) { get_runs_in_queue(input: $input) { flow_run_ids } }`
	states := `mutation($input: set_flow_run_states_input!) { set_flow_run_states(input: $input) { states { status } } }`
	for name, c := range map[string]struct {
		gen         store.Generation
		query, vars string
		executed    bool
	}{
		"0.11 queue":                  {store.Server0, queue, `{"input": {"before": "2026-11-23T12:00:00+00:00", "labels": []}}`, true},
		"0.11 queue with tenant":      {store.Server0, queue, `{"input": {"tenant_id": "` + run + `", "labels": []}}`, false},
		"0.11 state without version":  {store.Server0, states, `{"input": {"states": [{"flow_run_id": "` + run + `", "state": {"type": "Running"}}]}}`, false},
		"0.11 state null version":     {store.Server0, states, `{"input": {"states": [{"flow_run_id": "` + run + `", "version": null, "state": {"type": "Running"}}]}}`, false},
		"0.11 labels of a run":        {store.Server0, `{ flow_run { labels } }`, "", false},
		"0.11 tenants":                {store.Server0, `{ tenant { id } }`, "", false},
		"1.x queue without tenant":    {store.Server1, queue, `{"input": {"labels": []}}`, false},
		"1.x state without version":   {store.Server1, states, `{"input": {"states": {"flow_run_id": "` + run + `", "version": null, "state": {"type": "Running"}}}}`, true},
		"1.x state with text version": {store.Server1, states, `{"input": {"states": [{"flow_run_id": "` + run + `", "version": "1", "state": {}}]}}`, false},
		"1.x bad uuid":                {store.Server1, states, `{"input": {"states": [{"flow_run_id": "x", "state": {}}]}}`, false},
		"1.x duration":                {store.Server1, `{ flow_run { duration } }`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := newBackend(t, c.gen, graphql.Limits{}).do(t, c.query, c.vars)
			if res.Executed != c.executed {
				t.Errorf("executed is %v, want %v: %s", res.Executed, c.executed, res.JSON())
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := newBackend(t, store.Server1, graphql.Limits{List: 3, Roots: 3, Fields: 50, Rows: 1})
	var bomb strings.Builder
	bomb.WriteString("{ ...f0 }")
	for i := range 30 {
		fmt.Fprintf(&bomb, " fragment f%d on Query { ...f%d ...f%d }", i, i+1, i+1)
	}
	bomb.WriteString(" fragment f30 on Query { hello }")
	for name, c := range map[string]struct{ query, want string }{
		"seven above":       {`{ flow { flow_runs { flow { flow_runs { flow { flow_runs { flow { name } } } } } } } }`, `{"data"`},
		"eight above":       {`{ flow { flow_runs { flow { flow_runs { flow { flow_runs { flow { flow_runs { name } } } } } } } } }`, "exceeds maximum depth of 7"},
		"depth in fragment": {`{ flow { ...F } } fragment F on flow { flow_runs { flow { flow_runs { flow { flow_runs { flow { flow_runs { name } } } } } } } }`, "exceeds maximum depth"},
		"roots":             {`{ a: hello b: hello c: hello d: hello }`, "more than 3 root fields"},
		"fragment bomb":     {bomb.String(), "more than 3 root fields"},
		"fragment cycle":    {`{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }`, "fragments spread themselves"},
		"fields":            {`{ flow { ` + strings.Repeat("name ", 60) + `} }`, "more than 50 fields"},
		"brackets":          {strings.Repeat("{ a ", 100_000), "nested deeper than 64 levels"},
		"brackets in text":  {`{ flow(where: {name: {_eq: "` + strings.Repeat("{", 1000) + `"}}) { id } }`, `{"data"`},
		"list":              {`{ flow(where: {name: {_in: ["a", "b", "c", "d"]}}) { id } }`, "more than 3 values"},
		"pattern":           {`{ flow(where: {name: {_like: "` + strings.Repeat("%", 300) + `"}}) { id } }`, "longer than 200"},
		"terms":             {`{ flow(where: {_and: [` + strings.Repeat(`{name: {_eq: "a"}} `, 600) + `]}) { id } }`, "more than 1000 terms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := b.text(t, c.query, ""); !strings.Contains(got, c.want) {
				t.Errorf("got %.300s, want %s", got, c.want)
			}
		})
	}
}

func TestRowLimit(t *testing.T) {
	t.Parallel()
	b := newBackend(t, store.Server1, graphql.Limits{Rows: 2})
	flow := b.flow(t, store.FlowInput{Serialized: json.RawMessage(`{"name": "f"}`)})
	for range 3 {
		b.run(t, store.FlowRunInput{FlowID: flow})
	}
	if got := b.text(t, `{ flow_run { id } }`, ""); !strings.Contains(got, "more than 2 rows") {
		t.Errorf("got %s", got)
	}
	if got := b.text(t, `{ flow_run(limit: 2) { version } }`, ""); got != `{"data":{"flow_run":[{"version":1},{"version":1}]}}` {
		t.Errorf("got %s", got)
	}
}
