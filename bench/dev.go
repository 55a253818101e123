package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// devBackend is `prefect-kube dev`, filled through its own API as a user's
// scripts would.
type devBackend struct {
	*process
	url  string
	flow string
}

// startDev starts the backend and registers a flow.
func (s settings) startDev(ctx context.Context) (*devBackend, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p, err := launch(ctx, s.dir, "dev", environment(s.dir), nil, s.binary, "dev", "--listen", address)
	if err != nil {
		return nil, err
	}
	d := &devBackend{process: p, url: "http://" + address}
	if err := d.register(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("register a flow: %w%s", err, p.tail()), p.stop())
	}
	return d, nil
}

func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (d *devBackend) register(ctx context.Context) error {
	var tenants struct{ Tenant []struct{ ID string } }
	// The backend is ready a moment after its process has started.
	for tries := 0; ; tries++ {
		err := query(ctx, d.url, `{ tenant { id } }`, nil, &tenants)
		if err == nil && len(tenants.Tenant) > 0 {
			break
		}
		const most = 100
		if tries == most {
			return errors.Join(errors.New("the development backend has no tenant"), err)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	var project struct {
		Created struct{ ID string } `json:"create_project"`
	}
	const makeProject = `mutation($t: UUID!) { create_project(input: { tenant_id: $t, name: "bench" }) { id } }`
	if err := query(ctx, d.url, makeProject, map[string]any{"t": tenants.Tenant[0].ID}, &project); err != nil {
		return err
	}
	var flow struct {
		Created struct{ ID string } `json:"create_flow"`
	}
	err := query(ctx, d.url, `mutation($in: create_flow_input!) { create_flow(input: $in) { id } }`, map[string]any{"in": map[string]any{
		"project_id": project.Created.ID, "set_schedule_active": false, "serialized_flow": json.RawMessage(flowText),
	}}, &flow)
	d.flow = flow.Created.ID
	return err
}

// flowText is a flow of two tasks, of the same kind as the double's.
const flowText = `{"name":"two-tasks","__version__":"1.4.1","tasks":[{"name":"one","slug":"one-1"},{"name":"inc","slug":"inc-1"}],` +
	`"edges":[{"upstream_task":"one-1","downstream_task":{"slug":"inc-1"},"key":"x"}],` +
	`"storage":` + flowStorage + `,"run_config":` + flowRunConfig + `}`

// fill makes flow runs that are due.
func (d *devBackend) fill(ctx context.Context, count int) error {
	const most = 50 // of one document
	for count > 0 {
		n := min(count, most)
		var fields strings.Builder
		for i := range n {
			fmt.Fprintf(&fields, "r%d: create_flow_run(input: $in) { id } ", i)
		}
		doc := "mutation($in: create_flow_run_input!) { " + fields.String() + "}"
		if err := query(ctx, d.url, doc, map[string]any{"in": map[string]any{"flow_id": d.flow}}, nil); err != nil {
			return fmt.Errorf("create flow runs: %w", err)
		}
		count -= n
	}
	return nil
}

// query sends one GraphQL document to a Prefect API.
func query(ctx context.Context, url, text string, variables, out any) error {
	body, err := json.Marshal(map[string]any{"query": text, "variables": variables})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	var answer struct {
		Data   json.RawMessage
		Errors []struct{ Message string }
	}
	if err := fetch(req, &answer); err != nil {
		return err
	}
	if len(answer.Errors) > 0 {
		return errors.New(answer.Errors[0].Message)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Data, out)
}

// fetch sends a request and decodes the JSON of its answer, whatever the status.
func fetch(req *http.Request, out any) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	return json.NewDecoder(resp.Body).Decode(out)
}
