package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// query asks the backend and returns the data of the answer.
func (s *stage) query(ctx context.Context, text string, variables map[string]any) (json.RawMessage, error) {
	body, err := json.Marshal(map[string]any{"query": text, "variables": variables})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+s.generation.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // read only
	answer, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Data   json.RawMessage
		Errors []struct{ Message string }
	}
	if err := json.Unmarshal(answer, &parsed); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", response.Status, err, answer)
	}
	if len(parsed.Errors) > 0 {
		return nil, fmt.Errorf("%s: %s", response.Status, parsed.Errors[0].Message)
	}
	return parsed.Data, nil
}

// ask decodes the answer into a value.
func ask[T any](ctx context.Context, s *stage, text string, variables map[string]any) (T, error) {
	var value T
	data, err := s.query(ctx, text, variables)
	if err != nil {
		return value, err
	}
	return value, json.Unmarshal(data, &value)
}

// runState is a flow run's state, with the message that came with it.
type runState struct {
	State   string
	Message string `json:"state_message"`
}

func (s *stage) state(ctx context.Context, id string) (runState, error) {
	type answer struct {
		Runs []runState `json:"flow_run"`
	}
	got, err := ask[answer](ctx, s, `query($id: uuid){flow_run(where: {id: {_eq: $id}}){state state_message}}`, map[string]any{"id": id})
	if err != nil {
		return runState{}, err
	}
	if len(got.Runs) != 1 {
		return runState{}, fmt.Errorf("flow run %s: %d rows", id, len(got.Runs))
	}
	return got.Runs[0], nil
}

// awaitState waits until the flow run is in one of the wanted states, which it returns. A finished state that is not
// wanted fails the test at once.
func (s *stage) awaitState(id string, wanted ...string) runState {
	s.t.Helper()
	var last runState
	eventually(s.t, fmt.Sprintf("flow run %s is %s", id, strings.Join(wanted, " or ")), func(ctx context.Context) error {
		now, err := s.state(ctx, id)
		if err != nil {
			return err
		}
		if now != last {
			s.t.Logf("flow run %s is %s: %s", id, now.State, now.Message)
		}
		last = now
		if slices.Contains(wanted, now.State) {
			return nil
		}
		if slices.Contains([]string{"Success", "Failed", "Cancelled", "TimedOut", "Skipped", "Cached", "Looped", "Mapped"}, now.State) {
			s.t.Fatalf("flow run %s is %s (%s), want %s\nlogs:\n%s", id, now.State, now.Message, strings.Join(wanted, " or "), s.logs(ctx, id))
		}
		return fmt.Errorf("it is %s: %s", now.State, now.Message)
	})
	return last
}

// logs returns the flow run's log lines, oldest first.
func (s *stage) logs(ctx context.Context, id string) string {
	s.t.Helper()
	type answer struct {
		Logs []struct{ Level, Name, Message string } `json:"log"`
	}
	got, err := ask[answer](ctx, s,
		`query($id: uuid){log(where: {flow_run_id: {_eq: $id}}, order_by: {timestamp: asc}){level name message}}`,
		map[string]any{"id": id})
	if err != nil {
		s.t.Fatal(err)
	}
	var text strings.Builder
	for _, line := range got.Logs {
		fmt.Fprintf(&text, "%s %s %s\n", line.Level, line.Name, line.Message)
	}
	return text.String()
}

// awaitLog waits until the flow run's log holds the text: a flow process sends its last lines as it leaves.
func (s *stage) awaitLog(id, text string) {
	s.t.Helper()
	eventually(s.t, "the run's log has "+text, func(ctx context.Context) error {
		if logs := s.logs(ctx, id); !strings.Contains(logs, text) {
			return fmt.Errorf("it is:\n%s", logs)
		}
		return nil
	})
}

// taskRun is a task run as the tests need it.
type taskRun struct {
	ID         string
	Version    int
	State      string
	Serialized map[string]any `json:"serialized_state"`
	Task       struct{ Name string }
}

func (s *stage) taskRuns(ctx context.Context, id string) []taskRun {
	s.t.Helper()
	type answer struct {
		Runs []taskRun `json:"task_run"`
	}
	got, err := ask[answer](ctx, s,
		`query($id: uuid){task_run(where: {flow_run_id: {_eq: $id}}){id version state serialized_state task{name}}}`, map[string]any{"id": id})
	if err != nil {
		s.t.Fatal(err)
	}
	return got.Runs
}

// taskStates returns, by the task's name, the states of its task runs in alphabetical order.
func (s *stage) taskStates(ctx context.Context, id string) map[string]string {
	s.t.Helper()
	byName := map[string][]string{}
	for _, run := range s.taskRuns(ctx, id) {
		byName[run.Task.Name] = append(byName[run.Task.Name], run.State)
	}
	states := map[string]string{}
	for name, found := range byName {
		slices.Sort(found)
		states[name] = strings.Join(found, " ")
	}
	return states
}

// mutate sends a mutation with one input and returns its answer.
func mutate[T any](s *stage, name, fields string, input map[string]any) T {
	s.t.Helper()
	text := fmt.Sprintf("mutation($input: %[1]s_input!){%[1]s(input: $input){%[2]s}}", name, fields)
	got, err := ask[map[string]T](s.t.Context(), s, text, map[string]any{"input": input})
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return got[name]
}

type created struct{ ID string }

// createFlow creates a flow by plain documents, for tests in which no Pod runs.
func (s *stage) createFlow() string {
	s.t.Helper()
	input := map[string]any{"set_schedule_active": false, "serialized_flow": map[string]any{
		"name": "etl", "tasks": []any{}, "edges": []any{}, "parameters": []any{}, "__version__": s.generation.version,
		"environment": map[string]any{"type": "LocalEnvironment", "labels": []string{label}, "__version__": s.generation.version},
		"storage": map[string]any{
			"type": "Docker", "registry_url": "localhost", "image_name": "flow", "image_tag": "none",
			"flows": map[string]string{"etl": "/etl"}, "prefect_version": s.generation.version, "__version__": s.generation.version,
		},
	}}
	if s.generation.newer {
		type answer struct{ Tenant []created }
		got, err := ask[answer](s.t.Context(), s, "query{tenant{id}}", nil)
		if err != nil || len(got.Tenant) == 0 {
			s.t.Fatalf("no tenant: %v", err)
		}
		input["project_id"] = mutate[created](s, "create_project", "id", map[string]any{"name": "etl", "tenant_id": got.Tenant[0].ID}).ID
	}
	return mutate[created](s, "create_flow", "id", input).ID
}
