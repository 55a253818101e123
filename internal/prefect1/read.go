package prefect1

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// NotFoundError means that the API knows no flow run of this id.
type NotFoundError struct {
	ID flowrun.ID
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("flow run %q does not exist, or not for this credential and tenant", e.ID)
}

// ConnectReader finds out what Connect finds out, without registering an agent:
// for those who only look.
func (c *Client) ConnectReader(ctx context.Context) error {
	if err := c.findDialect(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", c.shown(), err)
	}
	if err := c.findTenant(ctx, Registration{}); err != nil {
		return fmt.Errorf("connect to %s: %w", c.shown(), err)
	}
	return nil
}

// FlowRun reads one flow run, whatever its state. A *NotFoundError means that it
// is not there; what cannot be read of one that is there is its Err.
func (c *Client) FlowRun(ctx context.Context, id flowrun.ID) (FlowRun, error) {
	runs, err := c.FlowRunsByID(ctx, []flowrun.ID{id})
	if err != nil {
		return FlowRun{}, err
	}
	if len(runs) == 0 {
		return FlowRun{}, &NotFoundError{ID: id}
	}
	return runs[0], nil
}

// ParseFlowRun reads a flow run as the API answers it. A history in it is used.
func ParseFlowRun(data json.RawMessage) FlowRun { return parseRun(data) }
