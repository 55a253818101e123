package prefect1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/devserver"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// servers are what the client must work with: the development backend in both
// generations, and a real server where PREFECT_SERVER_URL names one.
func servers(t *testing.T) map[string]string {
	t.Helper()
	urls := map[string]string{}
	for _, generation := range []devserver.Generation{devserver.Server0, devserver.Server1} {
		urls["dev "+string(generation)] = serve(t, generation)
	}
	if url := os.Getenv("PREFECT_SERVER_URL"); url != "" {
		urls["real"] = url
	}
	return urls
}

// serve starts the development backend until the test ends, and returns its address.
func serve(t *testing.T, generation devserver.Generation) string {
	t.Helper()
	server, err := devserver.New(t.Context(), devserver.Options{Listen: "127.0.0.1:0", Generation: generation, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(server.Handler())
	t.Cleanup(func() {
		listener.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return listener.URL
}

// post sends one document as a Prefect client would and returns its data.
func post(t *testing.T, url, query string, input any) map[string]json.RawMessage {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": map[string]any{"input": input}})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(url, "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read only
	var answer struct {
		Data   map[string]json.RawMessage
		Errors []any
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || len(answer.Errors) > 0 {
		t.Fatalf("%s: %v %v", query, err, answer.Errors)
	}
	return answer.Data
}

func idOf(t *testing.T, data json.RawMessage) string {
	t.Helper()
	var out struct{ ID string }
	if err := json.Unmarshal(data, &out); err != nil || out.ID == "" {
		t.Fatalf("no id in %s: %v", data, err)
	}
	return out.ID
}

// newRun registers a flow with plain documents and creates a run of it.
func newRun(t *testing.T, url string, tenants bool) flowrun.ID {
	t.Helper()
	input := map[string]any{"set_schedule_active": false, "serialized_flow": map[string]any{
		"name": "etl", "tasks": []any{}, "edges": []any{}, "parameters": []any{}, "__version__": "1.4.1",
		"environment": map[string]any{"type": "LocalEnvironment", "labels": []string{"x"}, "__version__": "0.11.0"},
		"storage":     map[string]any{"type": "Docker", "registry_url": "", "image_name": "i", "image_tag": "t", "flows": map[string]any{}},
	}}
	if tenants {
		var rows []struct{ ID string }
		if err := json.Unmarshal(post(t, url, `query { tenant { id } }`, nil)["tenant"], &rows); err != nil || len(rows) == 0 {
			t.Fatalf("no tenant: %v", err)
		}
		project := post(t, url, `mutation($input: create_project_input!) { create_project(input: $input) { id } }`,
			map[string]any{"name": fmt.Sprintf("p-%d", time.Now().UnixNano()), "tenant_id": rows[0].ID})
		input["project_id"] = idOf(t, project["create_project"])
	}
	flow := idOf(t, post(t, url, `mutation($input: create_flow_input!) { create_flow(input: $input) { id } }`, input)["create_flow"])
	run := post(t, url, `mutation($input: create_flow_run_input!) { create_flow_run(input: $input) { id } }`, map[string]any{"flow_id": flow})
	return flowrun.ID(idOf(t, run["create_flow_run"]))
}

// The client of either release goes through a run's life on every server.
func TestClientOnServers(t *testing.T) {
	t.Parallel()
	for name, url := range servers(t) {
		for _, version := range []string{prefect1.Version0, prefect1.Version1} {
			t.Run(name+" with "+version, func(t *testing.T) {
				t.Parallel()
				client, err := prefect1.New(prefect1.Options{
					API: url, CoreVersion: version, HTTP: http.DefaultClient, Logger: slog.New(slog.DiscardHandler),
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := client.Connect(t.Context(), prefect1.Registration{Name: "agent", Labels: []string{"x"}}); err != nil {
					t.Fatal(err)
				}
				live(t, client, newRun(t, url, client.TenantID() != ""))
			})
		}
	}
}

// Runs of another tenant are not started beside the queue, whatever their labels.
func TestOverdueOfAnotherTenant(t *testing.T) {
	t.Parallel()
	url := serve(t, devserver.Server1)
	id := newRun(t, url, true)
	other := idOf(t, post(t, url, `mutation($input: create_tenant_input!) { create_tenant(input: $input) { id } }`, map[string]any{"name": "other", "slug": "other"})["create_tenant"])
	for tenant, want := range map[string]bool{"": true, other: false} {
		client, err := prefect1.New(prefect1.Options{
			API: url, CoreVersion: prefect1.Version1, TenantID: tenant, HTTP: http.DefaultClient, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Connect(t.Context(), prefect1.Registration{Name: "agent", Labels: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		if ids, err := client.Overdue(t.Context(), time.Now(), []string{"x"}); err != nil || slices.Contains(ids, id) != want {
			t.Errorf("tenant %q: got %v, %v; want it to hold %s: %v", tenant, ids, err, id, want)
		}
	}
}

func live(t *testing.T, client *prefect1.Client, id flowrun.ID) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	if queue, err := client.RunsInQueue(ctx, now, []string{"x"}); err != nil || !slices.Contains(queue, id) {
		t.Fatalf("queue is %v, %v; want it to hold %s", queue, err, id)
	}
	if queue, err := client.RunsInQueue(ctx, now, []string{"y"}); err != nil || slices.Contains(queue, id) {
		t.Fatalf("queue of another label is %v, %v", queue, err)
	}
	for _, late := range []struct {
		before time.Time
		labels []string
		want   bool
	}{{now, []string{"x"}, true}, {now, []string{"y"}, false}, {now, nil, false}, {now, []string{"y", "x"}, true}, {now.Add(-time.Hour), []string{"x"}, false}} {
		if ids, err := client.Overdue(ctx, late.before, late.labels); err != nil || slices.Contains(ids, id) != late.want {
			t.Fatalf("overdue for %q is %v, %v; want it to hold %s: %v", late.labels, ids, err, id, late.want)
		}
	}
	runs, err := client.FlowRuns(ctx, []flowrun.ID{id}, now)
	if err != nil || len(runs) != 1 || runs[0].Err != nil {
		t.Fatalf("flow runs are %+v, %v", runs, err)
	}
	offer := runs[0]
	mark := flowrun.Mark{Kind: flowrun.Claim, Agent: "a", Place: flowrun.Place{UID: "p"}, Namespace: "n", Job: "j", On: flowrun.Fold(offer.History).Scheduled}
	claim := flowrun.Write{FlowRunID: id, Version: offer.Version, Type: flowrun.Submitted, Message: "m", Mark: mark, Inner: offer.State.Data}
	if err := client.SetStates(ctx, []flowrun.Write{claim}); err != nil {
		t.Fatal(err)
	}
	snapshot := snapshotOf(ctx, t, client, id)
	if !snapshot.Standing().Holds("a", mark.On) || snapshot.State.Type != flowrun.Submitted {
		t.Fatalf("the claim does not hold: %+v", snapshot)
	}
	checkClaims(t, client, prefect1.Claim{ID: id, Version: snapshot.Version})
	verdict := flowrun.Write{FlowRunID: id, Version: snapshot.Version, Type: flowrun.Failed, Message: "why", Mark: flowrun.Mark{
		Kind: flowrun.Verdict, Agent: "a", Place: flowrun.Place{UID: "p"}, On: snapshot.Version, OnType: flowrun.Submitted,
	}}
	if err := client.SetStates(ctx, []flowrun.Write{verdict}); err != nil {
		t.Fatal(err)
	}
	counting := flowrun.Fold(snapshotOf(ctx, t, client, id).History).Counting.State
	if diff := cmp.Diff(verdict.Mark, counting.Mark); diff != "" || counting.Message != "why" {
		t.Errorf("the verdict came back as %q (-want +got):\n%s", counting.Message, diff)
	}
	if err := client.WriteLogs(ctx, []flowrun.Log{{FlowRunID: id, Name: "agent", Level: flowrun.LevelInfo, Message: "hello", Time: now}}); err != nil {
		t.Error(err)
	}
}

// checkClaims finds a claimed run as one that nobody knows does: by its pages.
func checkClaims(t *testing.T, client *prefect1.Client, want prefect1.Claim) {
	t.Helper()
	found := false
	for after := flowrun.ID(""); ; {
		page, err := client.Claims(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		found = found || slices.Contains(page, want)
		after = page[len(page)-1].ID
	}
	runs, err := client.FlowRunsByID(t.Context(), []flowrun.ID{want.ID})
	if err != nil || !found || len(runs) != 1 || runs[0].State.Type != flowrun.Submitted || runs[0].Flow.Name != "etl" {
		t.Fatalf("claim found by page: %v; read as %+v, %v", found, runs, err)
	}
	for label, want := range map[string]bool{"x": true, "y": false} {
		if runs[0].Takes([]string{label}) != want {
			t.Errorf("an agent with label %s takes it: %v, want %v", label, !want, want)
		}
	}
}

func snapshotOf(ctx context.Context, t *testing.T, client *prefect1.Client, id flowrun.ID) flowrun.Snapshot {
	t.Helper()
	snapshots, err := client.Snapshots(ctx, []flowrun.ID{id})
	if err != nil {
		t.Fatal(err)
	}
	return snapshots[id]
}
