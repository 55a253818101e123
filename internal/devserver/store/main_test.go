package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move by hand.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) time() time.Time { return c.now }

type fixture struct {
	*store.Store
	t     *testing.T
	clock *clock
}

func open(t *testing.T, opts store.Options) fixture {
	t.Helper()
	f := fixture{t: t, clock: newClock()}
	opts.Now = f.clock.time
	s, err := store.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	f.Store = s
	return f
}

// flow registers a flow with the given JSON and returns its id.
func (f fixture) flow(text string) string {
	f.t.Helper()
	in := store.FlowInput{Serialized: json.RawMessage(text)}
	if f.Generation() == store.Server1 {
		in.ProjectID = f.project()
	}
	id, err := f.CreateFlow(f.t.Context(), in)
	f.must(err)
	return id
}

func (f fixture) project() string {
	f.t.Helper()
	if rows := f.rows("SELECT id FROM project"); len(rows) > 0 {
		return rows[0][0].(string)
	}
	id, err := f.CreateProject(f.t.Context(), "", "p", nil)
	f.must(err)
	return id
}

func (f fixture) run(in store.FlowRunInput) string {
	f.t.Helper()
	id, err := f.CreateFlowRun(f.t.Context(), in)
	f.must(err)
	return id
}

// set sets a state of a flow run that must be accepted.
func (f fixture) set(id, state string) {
	f.t.Helper()
	got, err := f.SetFlowRunStates(f.t.Context(), []store.StateInput{{RunID: id, State: json.RawMessage(state)}})
	f.must(err)
	f.must(got[0].Err)
}

func (f fixture) setTask(id, state string) {
	f.t.Helper()
	got, err := f.SetTaskRunStates(f.t.Context(), []store.StateInput{{RunID: id, State: json.RawMessage(state)}})
	f.must(err)
	f.must(got[0].Err)
}

func (f fixture) rows(query string, args ...any) []store.Row {
	f.t.Helper()
	var rows []store.Row
	f.must(f.View(f.t.Context(), func(ctx context.Context, r store.Reader) error {
		return r.Each(ctx, query, args, func(row store.Row) error {
			rows = append(rows, row)
			return nil
		})
	}))
	return rows
}

func (f fixture) value(query string, args ...any) any {
	f.t.Helper()
	rows := f.rows(query, args...)
	if len(rows) == 0 {
		f.t.Fatalf("no rows: %s", query)
	}
	return rows[0][0]
}

func (f fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}
