package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const progress = `query($id: uuid!) { flow_run_by_pk(id: $id) { name
  states(order_by: { version: asc }) { version state message timestamp }
  logs(order_by: { timestamp: asc }) { timestamp level name message } } }`

type entry struct {
	Version        int
	State, Message string
	Level, Name    string
	Timestamp      time.Time
}

// follow prints states and logs of the run as they come, until it has ended.
func (d *show) follow(ctx context.Context) error {
	d.say("\nflow run %s", d.run)
	states, logs := 0, 0
	for {
		var out struct {
			Run *struct {
				Name         string
				States, Logs []entry
			} `json:"flow_run_by_pk"`
		}
		if err := d.query(ctx, progress, &out); err != nil {
			return err
		}
		if out.Run == nil {
			return fmt.Errorf("flow run %s is gone", d.run)
		}
		for _, s := range out.Run.States[min(states, len(out.Run.States)):] {
			d.say("  %s  state  %-9s  %s", s.Timestamp.Local().Format("15:04:05.000"), s.State, s.Message)
		}
		for _, l := range out.Run.Logs[min(logs, len(out.Run.Logs)):] {
			d.say("  %s  log    %-9s  %s: %s", l.Timestamp.Local().Format("15:04:05.000"), l.Level, l.Name, l.Message)
		}
		states, logs = len(out.Run.States), len(out.Run.Logs)
		if states > 0 {
			switch out.Run.States[states-1].State {
			case "Success":
				return d.rest(ctx, logs)
			case "Failed", "Cancelled", "TimedOut":
				return ErrNoSuccess
			}
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// rest waits for the log lines that the flow process sends as it leaves.
func (d *show) rest(ctx context.Context, seen int) error {
	for range 15 {
		var out struct {
			Run struct{ Logs []entry } `json:"flow_run_by_pk"`
		}
		if err := d.query(ctx, progress, &out); err != nil {
			return err
		}
		for _, l := range out.Run.Logs[min(seen, len(out.Run.Logs)):] {
			d.say("  %s  log    %-9s  %s: %s", l.Timestamp.Local().Format("15:04:05.000"), l.Level, l.Name, l.Message)
			seen++
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// explain says how to go on.
func (d *show) explain() {
	d.say("\nSuccess, %.1fs after the start.", time.Since(d.began).Seconds())
	if !d.o.Stay {
		return
	}
	d.say(`
It stays up until Ctrl-C, which takes everything down. Meanwhile, in another terminal:

  export KUBECONFIG=%s
  %s -n %s get jobs,pods
  export PREFECT__BACKEND=server PREFECT__CLOUD__API=%s
  %s get flow-runs
  tail -f %s`, d.target.Kubeconfig, d.target.Kubectl, namespace, d.url, d.client.Prefect, d.logFile("agent"))
}

// query asks the backend; out may be nil.
func (d *show) query(ctx context.Context, text string, out any) error {
	body, err := json.Marshal(map[string]any{"query": text, "variables": map[string]any{"id": d.run}})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := new(http.Client).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // read only
	var answer struct {
		Data   json.RawMessage
		Errors []struct{ Message string }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("backend: %s: %w", response.Status, err)
	}
	if len(answer.Errors) > 0 {
		return errors.New("backend: " + answer.Errors[0].Message)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Data, out)
}

func ready(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := new(http.Client).Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, response.Status)
	}
	return errors.Join(err, response.Body.Close())
}
