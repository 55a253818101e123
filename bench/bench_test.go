package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// The double must be a Prefect server in the eyes of the agent's own client: runs
// leave the queue when they are claimed, and the claims count.
func TestDoubleIsPrefect(t *testing.T) {
	t.Parallel()
	d := newDouble(7)
	server := httptest.NewServer(d.routes())
	t.Cleanup(server.Close)
	client, err := prefect1.New(prefect1.Options{
		API: server.URL, CoreVersion: prefect1.Version1, HTTP: server.Client(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := client.Connect(ctx, prefect1.Registration{Name: "agent"}); err != nil {
		t.Fatal(err)
	}
	d.release(pollSize+1, time.Now())
	late, err := client.Overdue(ctx, time.Now(), nil)
	if early, problem := client.Overdue(ctx, time.Now().Add(-time.Hour), nil); len(late) != pollSize+1 || len(early) != 0 || errors.Join(err, problem) != nil {
		t.Fatalf("%d and %d runs are late, want %d and 0: %v %v", len(late), len(early), pollSize+1, err, problem)
	}
	for _, want := range []int{pollSize, 1, 0} {
		ids, err := client.RunsInQueue(ctx, time.Now(), nil)
		if err != nil || len(ids) != want {
			t.Fatalf("the queue holds %d runs, want %d: %v", len(ids), want, err)
		}
		start(t, client, ids)
	}
	claims, err := client.Claims(ctx, late[0])
	if err != nil || len(claims) != pollSize || claims[0].Version != 2 {
		t.Fatalf("claims are %v, %v; want %d", claims, err, pollSize)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	got := d.stats
	want := stats{FirstPoll: got.FirstPoll, Logged: pollSize + 1, Calls: map[string]int{
		callQueue: 3, callOffers: 2, callLate: 3, callClaims: 1, callRead: 2, callClaim: 2, callLogs: 2, "__type": 1, "tenant {": 1, "register_agent(": 1, "hello": 1,
	}}
	if diff := cmp.Diff(want, got); diff != "" || got.FirstPoll == 0 {
		t.Errorf("stats, first poll %d (-want +got):\n%s", got.FirstPoll, diff)
	}
	if got.polls() != 9 || got.rest() != 10 {
		t.Errorf("%d polls and %d other calls, want 9 and 10", got.polls(), got.rest())
	}
}

// start goes through the calls that an agent makes for offered runs.
func start(t *testing.T, client *prefect1.Client, ids []flowrun.ID) {
	t.Helper()
	runs, err := client.FlowRuns(t.Context(), ids, time.Now())
	if err != nil || len(runs) != len(ids) {
		t.Fatalf("%d of %d runs read: %v", len(runs), len(ids), err)
	}
	var writes []flowrun.Write
	var logs []flowrun.Log
	for _, run := range runs {
		stand := flowrun.Fold(run.History)
		if run.Err != nil || run.State.Type != flowrun.Scheduled || stand.Counting.State.Start.After(time.Now()) {
			t.Fatalf("run %+v is not due", run)
		}
		writes = append(writes, flowrun.Write{
			FlowRunID: run.ID, Version: run.Version, Type: flowrun.Submitted, Inner: run.State.Data,
			Mark: flowrun.Mark{Kind: flowrun.Claim, Agent: "me", Place: flowrun.Place{UID: "here"}, Namespace: "n", Job: "j", On: stand.Scheduled},
		})
		logs = append(logs, flowrun.Log{FlowRunID: run.ID, Level: flowrun.LevelInfo, Message: "started"})
	}
	if err := client.SetStates(t.Context(), writes); err != nil {
		t.Fatal(err)
	}
	after, err := client.Snapshots(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if s := after[id]; !flowrun.Fold(s.History).Holds("me", 1) || s.Version != 2 {
			t.Errorf("the claim of %s does not count: %+v", id, s)
		}
	}
	if err := client.WriteLogs(t.Context(), logs); err != nil {
		t.Fatal(err)
	}
}

func TestDoubleRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	d := newDouble(0)
	for _, request := range []string{
		`no JSON`,
		`{"query":"{ project { id } }"}`,
		`{"query":"query { flow_run(where: { id: { _in: [\"no-such-run\"] } }) { id } }"}`,
		`{"query":"mutation { set_flow_run_states }","variables":"{"}`,
	} {
		rec := httptest.NewRecorder()
		d.routes().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(request)))
		if rec.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d: %s", request, rec.Code, rec.Body)
		}
	}
}

// shown.json is a Job of the agent as an API server shows it, sent.json what the
// agent had sent.
func TestAsSent(t *testing.T) {
	t.Parallel()
	shown, err := os.ReadFile("testdata/shown.json")
	if err != nil {
		t.Fatal(err)
	}
	sent, err := os.ReadFile("testdata/sent.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := asSent(shown)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, sent), tree(t, got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := asSent([]byte(`{"kind":"Pod"}`)); err == nil {
		t.Error("a Job without a pod template is accepted")
	}
}

func TestMultiply(t *testing.T) {
	t.Parallel()
	job := []byte(`{"metadata":{"name":"prefect-job-abcdefgh","labels":{"prefect.io/identifier":"abcdefgh"}}}`)
	bodies, err := multiply(job, 3)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, body := range bodies {
		name := tree(t, body)["metadata"].(map[string]any)["name"].(string)
		label := tree(t, body)["metadata"].(map[string]any)["labels"].(map[string]any)["prefect.io/identifier"]
		if name != "prefect-job-"+label.(string) || len(body) != len(job) || bytes.Equal(body, job) {
			t.Errorf("%s", body)
		}
		seen[name] = true
	}
	if len(seen) != len(bodies) {
		t.Errorf("the names are %v, want %d different ones", seen, len(bodies))
	}
	if _, err := multiply([]byte(`{}`), 1); err == nil {
		t.Error("a Job without a name is multiplied")
	}
}

func tree(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParseUsage(t *testing.T) {
	t.Parallel()
	stat := []byte("26457 (kube) api (x) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0\n")
	status := []byte("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\nThreads:\t9\n")
	got, err := parseUsage(stat, status)
	if want := (usage{cpu: 2 * time.Second, resident: 1 << 20, peak: 2 << 20}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseUsage([]byte("1 (x) S 1"), nil); err == nil {
		t.Error("a short stat is accepted")
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	agent := func(rate float64) result {
		return result{
			rate: rate, whole: 12 * time.Second, firstPoll: 20 * time.Millisecond, idle: 20 << 20, peak: 50 << 20, cpu: time.Millisecond,
			many:  stats{Calls: map[string]int{callQueue: 5, callOffers: 4, callRead: 4, callClaim: 4, callLogs: 4}},
			alone: stats{Calls: map[string]int{callQueue: 2, callOffers: 1, callRead: 1, callClaim: 1, callLogs: 1}},
		}
	}
	bare := result{rate: 500, callers: 16}
	p := report{settings: settings{runs: 100, columns: agentColumns()[:1]}, size: 24 << 20}
	for _, rate := range []float64{450, 400, 300} {
		p.rounds = append(p.rounds, round{bareTitle: bare, "agent": agent(rate)})
	}
	var got bytes.Buffer
	if err := p.write(&got); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
100 flow runs due at once, 3 rounds: median (lowest to highest)

                            bare loop  agent             target
jobs accepted per second    500        400 (300 to 450)
of the bare loop            100 %      80 % (60 to 90)   >= 70 %
from due to the last job    -          12.0 s
callers                     16         -
first poll after exec       -          0.02 s            < 0.5 s
resident, idle              -          20.0 MiB          < 40 MiB
resident, peak              -          50.0 MiB
agent's CPU per start       -          1.00 ms
Prefect side's CPU, whole   -          -
calls per run, 25 a poll    -          0.12              <= 1
  polls per run, 25 a poll  -          0.09
calls for a run alone       -          3                 <= 5
  polls meanwhile           -          3
size of the program                    24.0 MiB
`, "\n")
	if diff := cmp.Diff(want, trimmed(got.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// trimmed leaves the spaces at the ends of lines out.
func trimmed(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}
