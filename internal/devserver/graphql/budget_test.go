package graphql_test

import (
	"encoding/json"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/devserver/graphql"
	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// aliases repeats a field under other names.
func aliases(n int, field string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a" + strconv.Itoa(i) + ": " + field)
	}
	return b.String()
}

// TestLargeAnswersAreRefusedEarly asks for much more than an answer may have. What
// is allocated on the way must stay near to that.
func TestLargeAnswersAreRefusedEarly(t *testing.T) {
	b := newBackend(t, store.Server1, graphql.Limits{})
	flow := b.flow(t, store.FlowInput{Serialized: json.RawMessage(`{"name": "f", "tasks": [{"slug": "t"}]}`)})
	text := strings.Repeat("x", 900_000)
	for range 20 {
		b.run(t, store.FlowRunInput{FlowID: flow, Parameters: map[string]json.RawMessage{"x": json.RawMessage(`"` + text + `"`)}})
	}
	for name, query := range map[string]string{
		"root aliases":     `{` + aliases(100, `flow_run { parameters }`) + `}`,
		"relation aliases": `{ flow {` + aliases(100, `flow_runs { parameters }`) + `} }`,
		"column aliases":   `{ flow_run {` + aliases(500, `parameters`) + `} }`,
		"aggregates":       `{ flow_aggregate {` + aliases(100, `nodes { flow_runs { parameters } }`) + `} }`,
		"shared parents":   `{ flow_run {` + aliases(10, `flow { flow_runs { parameters } }`) + `} }`,
		"introspection":    `{ __schema { types { fields { args { type { inputFields {` + aliases(1900, `name`) + `} } } } } } }`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := b.text(t, query, "")
		runtime.ReadMemStats(&after)
		if !strings.Contains(got, "answer is larger than 67108864 bytes; add a limit") {
			t.Errorf("%s: got %.200s", name, got)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 1024 {
			t.Errorf("%s: %d MiB were allocated", name, used)
		}
	}
}

func TestRelationsOfAFilterAreBounded(t *testing.T) {
	t.Parallel()
	b := newBackend(t, store.Server1, graphql.Limits{})
	b.flow(t, store.FlowInput{Serialized: json.RawMessage(`{"name": "f"}`)})
	nested := func(n int) string {
		return strings.Repeat(`_not: {flow: {flow_runs: {`, n) + `id: {_is_null: true}` + strings.Repeat(`}}}`, n)
	}
	wide := `_and: [` + strings.Repeat(`{flow: {name: {_eq: "x"}}}, `, 21) + `]`
	for query, good := range map[string]bool{
		`{ flow_run(where: {` + nested(2) + `}) { id } }`:                                      true,
		`{ flow_run(where: {` + nested(3) + `}) { id } }`:                                      false,
		`{ flow_run(where: {` + nested(8) + `}) { id } }`:                                      false,
		`{ flow_run_aggregate(where: {` + nested(8) + `}) { aggregate { count } } }`:           false,
		`{ flow { flow_runs(where: {` + nested(8) + `}) { id } } }`:                            false,
		`{ flow_run(where: {` + wide + `}) { id } }`:                                           false,
		`{ task_run(order_by: {flow_run: {flow: {project: {name: asc}}}}) { id } }`:            true,
		`{ flow_run(order_by: [` + strings.Repeat(`{flow: {name: asc}}, `, 21) + `]) { id } }`: false,
	} {
		if got := b.text(t, query, ""); strings.Contains(got, "looks through") == good {
			t.Errorf("%s: got %.200s", query, got)
		}
	}
}
