package graphql_test

import (
	"encoding/json"
	"flag"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prefect-kube/prefect-kube/internal/devserver/graphql"
	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

type backend struct {
	*graphql.Executor
	store *store.Store
}

func newBackend(tb testing.TB, gen store.Generation, limits graphql.Limits) backend {
	tb.Helper()
	// How long a read may take is tested in package store; here no limit hides another.
	s, err := store.Open(tb.Context(), store.Options{Generation: gen, Now: noon, ReadTimeout: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	e, err := graphql.New(s, limits, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	return backend{e, s}
}

// do runs a document with variables given as JSON.
func (b backend) do(tb testing.TB, query, variables string) *graphql.Response {
	tb.Helper()
	req := graphql.Request{Query: query, CoreVersion: "1.4.1"}
	if variables != "" {
		if err := json.Unmarshal([]byte(variables), &req.Variables); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Execute(tb.Context(), req)
}

// text runs a document and returns the answer as text.
func (b backend) text(tb testing.TB, query, variables string) string {
	tb.Helper()
	return string(b.do(tb, query, variables).JSON())
}

// flow registers a flow and returns its id.
func (b backend) flow(tb testing.TB, in store.FlowInput) string {
	tb.Helper()
	if in.ProjectID == "" && b.store.Generation() == store.Server1 {
		id, err := b.store.CreateProject(tb.Context(), "", "p", nil)
		if err != nil {
			tb.Fatal(err)
		}
		in.ProjectID = id
	}
	id, err := b.store.CreateFlow(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// run creates a flow run and returns its id.
func (b backend) run(tb testing.TB, in store.FlowRunInput) string {
	tb.Helper()
	id, err := b.store.CreateFlowRun(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}
