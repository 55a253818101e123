//go:build !race

// The race detector needs several times the memory, so these tests run without it.

package prefect1_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// mostMemory is what answers may cost at their worst, above an idle process.
const mostMemory = 64 << 20

// floods are the worst answers to everything: what little of them is kept, a lot of it.
func floods() map[string]http.Handler {
	const many = 5 << 20 // more than is read of any answer
	item := func(root, item string) http.Handler {
		return badserver.Flood(`{"data":{"`+root+`":[`, item+",", item+`]}}`, many/(len(item)+1))
	}
	const run = `{"data":{"flow_run":[{"id":"a","version":1,"serialized_state":{"type":"Scheduled"`
	return map[string]http.Handler{
		"empty runs":  item("flow_run", "{}"),
		"runs":        item("flow_run", `{"id":"a","version":1,"serialized_state":{"type":"Scheduled"},"name":"x"}`),
		"large runs":  item("flow_run", `{"id":"a","version":1,"serialized_state":{"type":"Scheduled"},"run_config":"`+strings.Repeat("x", 1<<20-2)+`"}`),
		"states":      badserver.Flood(run+`},"states":[{}`, `,{}`, `]}]}}`, many/3),
		"rows":        badserver.Flood(run+`},"states":[{}`, `,{"version":1,"serialized_state":{"type":"Running","message":"m"}}`, `]}]}}`, many/60),
		"one state":   badserver.Flood(run+`,"context":{"x":[0`, `,0`, `]}}}]}}`, many/2),
		"environment": badserver.Flood(run+`},"flow":{"environment":{"labels":[""`, `,""`, `]}}}]}}`, many/3),
		"name":        badserver.Flood(run+`},"name":"`, `x`, `"}]}}`, many),
		"queue":       badserver.Flood(`{"data":{"get_runs_in_queue":{"flow_run_ids":["a"`, `,""`, `]}}}`, many/3),
		"overdue":     badserver.Flood(`{"data":{"scheduled":[{}`, `,{"id":"a","labels":["",""]}`, `]}}`, many/28),
		"tenants":     item("tenant", "{}"),
		"schema":      badserver.Flood(`{"data":{"queue":{"inputFields":[{}`, `,{}`, `]},"run":{},"flow":{}}}`, many/3),
		"config":      badserver.Flood(`{"data":{"agent_config":[{"settings":{"env_vars":{"A":0`, `,"A":0`, `}}}]}}`, many/6),
		"labels":      badserver.Flood(`{"data":{"agent_config":[{"settings":{"labels":[""`, `,""`, `]}}]}}`, many/3),
		"states set":  badserver.Flood(`{"data":{"set_flow_run_states":{"states":[{}`, `,{"status":"ERROR","id":"x"}`, `]}}}`, many/28),
		"bomb":        badserver.Gzip(item("flow_run", "{}")),
		"errors":      badserver.Flood(`{"errors":[{}`, `,{"message":"no"}`, `]}`, many/17),
		"one error":   badserver.Flood(`{"errors":[{"message":"`, `x`, `"}]}`, many),
		"nested":      badserver.Flood(`{"data":{"flow_run":`, `[`, ``, many),
		"white space": badserver.Flood(``, ` `, ``, many),
		"unknown":     badserver.Flood(`{"data":{"x":[0`, `,[{"y":0}]`, `]}}`, many/10),
	}
}

// Every answer as hostile as it may be, to all that may ask at the same time: the
// process stays within its bound. It is one of its own, since this one holds what other
// tests need.
func TestHostileAnswersCostBoundedMemory(t *testing.T) {
	if os.Getenv("MEMORY_TEST") != "" {
		measure(t)
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "MEMORY_TEST=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func measure(t *testing.T) {
	for name, handler := range floods() {
		if most := peak(t, handler); most > mostMemory {
			t.Errorf("%s: %d MiB above idle, want at most %d", name, most>>20, mostMemory>>20)
		} else {
			t.Logf("%s: %d MiB above idle", name, most>>20)
		}
	}
}

// peak asks everything, each by a goroutine of its own as the loops do, and gives the
// most memory that the process had meanwhile, in bytes.
func peak(t *testing.T, handler http.Handler) int {
	t.Helper()
	client := clientOf(t, badserver.New(t, handler))
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // forgets the peak until now
		t.Fatal(err)
	}
	idle := kilobytes(t, "VmRSS")
	var group sync.WaitGroup
	for _, ask := range questions(client) {
		group.Go(func() { ask(t.Context()) })
	}
	group.Wait()
	return (kilobytes(t, "VmHWM") - idle) << 10
}

// kilobytes is what the kernel says of this process.
func kilobytes(t *testing.T, field string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), field+":")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// questions are what the loops of an agent ask: the poll, the sweep, the reports, and a
// few starts that verify their claims.
func questions(c *prefect1.Client) []func(context.Context) {
	ids := []flowrun.ID{"a"}
	verify := func(ctx context.Context) { _, _ = c.Snapshots(ctx, ids) }
	return []func(context.Context){
		func(ctx context.Context) {
			_ = c.Connect(ctx, prefect1.Registration{ConfigID: "c"})
			_, _ = c.RunsInQueue(ctx, time.Now(), nil)
			_, _ = c.FlowRuns(ctx, ids, time.Now())
		},
		func(ctx context.Context) {
			_, _ = c.Claims(ctx, "")
			_, _ = c.FlowRunsByID(ctx, ids)
			_, _ = c.Overdue(ctx, time.Now(), nil)
		},
		func(ctx context.Context) {
			_ = c.SetStates(ctx, []flowrun.Write{{FlowRunID: "a", Type: flowrun.Failed}})
			_ = c.WriteLogs(ctx, []flowrun.Log{{FlowRunID: "a"}})
		},
		verify, verify, verify,
	}
}
