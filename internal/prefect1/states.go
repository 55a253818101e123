package prefect1

import (
	"context"
	"errors"
	"fmt"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// The bounds of what people read in Prefect, in bytes.
const (
	maxMessage = 8 << 10
	maxLine    = 64 << 10
)

const statusSuccess, statusQueued = "SUCCESS", "QUEUED"

// SetStates writes states in one call, which is sent once. A nil error says that
// the server took them all, but it is no evidence of what counts: another writer
// may have been faster, so whoever needs to know reads the history. States that
// the server refused or queued are named by a *RefusedError.
func (c *Client) SetStates(ctx context.Context, writes []flowrun.Write) error {
	if len(writes) == 0 {
		return nil
	}
	states := make([]map[string]any, len(writes))
	for i, w := range writes {
		w.Message = c.o.Secrets.Text(w.Message, maxMessage)
		states[i] = map[string]any{
			"flow_run_id": w.FlowRunID, "version": w.Version, "state": encodeState(w, c.o.CoreVersion),
		}
	}
	type written struct{ ID, Status, Message string }
	var answered []*written
	into := object{"set_flow_run_states": object{"states": list[*written]{len(writes), &answered}}}
	const query = `mutation($input: set_flow_run_states_input!) { set_flow_run_states(input: $input) { states { id status message } } }`
	err := c.once(ctx, oneThing+perWrite*int64(len(writes)), query, vars(map[string]any{"states": states}), into)
	refused := &RefusedError{Refused: map[string]string{}}
	for _, s := range answered {
		switch {
		case s == nil || s.Status == statusSuccess || s.Status == "":
		case s.Status == statusQueued:
			refused.Queued = append(refused.Queued, s.ID)
		default:
			refused.Refused[s.ID] = s.Message
		}
	}
	if len(refused.Queued)+len(refused.Refused) > 0 {
		err = errors.Join(err, refused)
	}
	if err != nil {
		return fmt.Errorf("set flow run states: %w", err)
	}
	return nil
}

// WriteLogs writes run log lines in one call, sent once.
func (c *Client) WriteLogs(ctx context.Context, logs []flowrun.Log) error {
	if len(logs) == 0 {
		return nil
	}
	lines := make([]map[string]any, len(logs))
	for i, l := range logs {
		lines[i] = map[string]any{"flow_run_id": l.FlowRunID, "name": l.Name, "message": c.o.Secrets.Text(l.Message, maxLine), "level": l.Level}
		if !l.Time.IsZero() {
			lines[i]["timestamp"] = l.Time.UTC().Format(layout)
		}
	}
	var success bool
	into := object{"write_run_logs": object{"success": value{&success}}}
	const query = `mutation($input: write_run_logs_input!) { write_run_logs(input: $input) { success } }`
	if err := c.once(ctx, oneThing, query, vars(map[string]any{"logs": lines}), into); err != nil {
		return fmt.Errorf("write run logs: %w", err)
	}
	if !success {
		return errors.New("write run logs: the server answered without success")
	}
	return nil
}
