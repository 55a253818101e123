package graphql_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/devserver/graphql"
	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// FuzzDocument feeds documents to both generations. The answer must be JSON and
// must not show an error of the database.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{
		`query { hello }`, `{ __schema { types { name } } }`, `query($a: [uuid!]) { flow_run(where: {id: {_in: $a}}) { id } }`,
		`{ flow_run(where: { id: { _in: ["x"] }, _or: [{ state: { _eq: "Scheduled" } }, { state: { _eq: "Running" }, task_runs: { state_start_time: { _lte: "2020-01-01" } } }] }) { id ...F } } fragment F on flow_run { flow { name } }`,
		`mutation { update_flow_run_heartbeat(input: { flow_run_id: "00000000-0000-4000-8000-000000000000" }) { success } }`,
		`mutation($input: write_run_logs_input!) { write_run_logs(input: $input) { success } }`,
		`mutation { set_flow_run_states(input: {states: {flow_run_id: "00000000-0000-4000-8000-000000000000", version: 1, state: {type: "Running", x: [1.50, null, {a: """b"""}]}}}) { states { id status } } }`,
		`{ project { flows_aggregate(distinct_on: name) { aggregate { count } nodes { id } } } }`, `{ a: hello @skip(if: true) b: hello @include(if: false) }`,
		`subscription { hello }`, "{", "\"\"\"", `{ flow(order_by: {project: {name: asc}}, limit: 99999999999) { id } }`,
	} {
		f.Add(seed, `{"a": "x", "input": {"logs": {"flow_run_id": "00000000-0000-4000-8000-000000000000"}}}`)
	}
	backends := []backend{newBackend(f, store.Server0, graphql.Limits{}), newBackend(f, store.Server1, graphql.Limits{})}
	f.Fuzz(func(t *testing.T, query, variables string) {
		for _, b := range backends {
			var vars map[string]json.RawMessage
			_ = json.Unmarshal([]byte(variables), &vars)
			check(t, b.Execute(t.Context(), graphql.Request{Query: query, Variables: vars}))
		}
	})
}

// FuzzWhere feeds filters as variables, so that the values reach the compiler.
func FuzzWhere(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"_and": {"name": {"_eq": null}}}`, `{"id": {"_in": ["00000000-0000-4000-8000-000000000000"]}}`, `{"_not": {"_or": []}}`,
		`{"labels": {"_contains": {"a": [1, {"b": null}]}, "_has_key": "x", "_has_keys_any": ["a"]}}`, `{"context": {"_eq": {"a\"b": "\u0000"}}}`,
		`{"name": {"_like": "%[*?_\\%", "_nilike": "%"}, "version": {"_gte": 1}}`, `{"flow": {"project": {"flows": {"name": {"_neq": "'; DROP TABLE flow; --"}}}}}`,
		`{"start_time": {"_gt": "2020-02-30"}}`, `{"auto_scheduled": {"_eq": true}, "states": {"serialized_state": {"_contains": "x"}}}`, `[{"name": {"_eq": "\ud800"}}]`,
	} {
		f.Add(seed)
	}
	b := newBackend(f, store.Server1, graphql.Limits{})
	flow := b.flow(f, store.FlowInput{Serialized: json.RawMessage(`{"name": "f", "tasks": [{"slug": "t"}]}`)})
	b.run(f, store.FlowRunInput{FlowID: flow, Labels: []string{"a"}})
	f.Fuzz(func(t *testing.T, where string) {
		if !json.Valid([]byte(where)) {
			return
		}
		check(t, b.Execute(t.Context(), graphql.Request{
			Query:     `query($w: flow_run_bool_exp) { flow_run(where: $w) { id flow { flow_runs(where: $w, limit: 1) { id } } } flow_run_aggregate(where: $w) { aggregate { count } } }`,
			Variables: map[string]json.RawMessage{"w": json.RawMessage(where)},
		}))
	})
}

func check(t *testing.T, res *graphql.Response) {
	t.Helper()
	text := res.JSON()
	if !json.Valid(text) {
		t.Fatalf("answer is not JSON: %s", text)
	}
	if strings.Contains(string(text), "internal error") {
		t.Fatalf("answer is %s: %v", text, res.Errors()[0].Unwrap())
	}
}
