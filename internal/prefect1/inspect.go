package prefect1

import (
	"context"
	"fmt"
)

// Schema is what a server has, as far as it matters to an agent.
type Schema struct {
	// Read is unset where the server shows its schema to nobody; then the rest is
	// what the server of this command's time has.
	Read bool
	// Tenants and RunConfig tell the server of 2020 to 2023, and Cloud, from the one
	// inside 0.11.0. Histories is whether all states of a run can be read.
	Tenants, RunConfig, Histories bool
}

// Schema is what ConnectReader or Connect found out.
func (c *Client) Schema() Schema {
	s := c.session.Load()
	return Schema{Read: s.settled, Tenants: s.dialect.tenants, RunConfig: s.dialect.runConfig, Histories: s.dialect.history}
}

// Tenants asks for what the credential gives access to: all tenants of a Prefect
// Server, on Cloud the tenant of the API key. A server inside 0.11.0 has none, and a
// token of 0.x, of which the scope is checked, implies its own.
func (c *Client) Tenants(ctx context.Context) ([]string, error) {
	if c.o.Cloud && c.token() {
		return nil, c.checkScope(ctx, Registration{})
	}
	if !c.session.Load().dialect.tenants {
		return nil, c.hello(ctx, Registration{})
	}
	if c.o.Cloud {
		tenant, err := c.authTenant(ctx)
		if err != nil {
			return nil, err
		}
		return []string{tenant}, nil
	}
	return c.serverTenants(ctx)
}

// AgentConfig reads the config of an agent of 1.x at the backend. The warning says
// what of it is left out, the error why its labels are not known.
func (c *Client) AgentConfig(ctx context.Context, id string) (s Settings, warning, err error) {
	s, warning, err = c.fetchSettings(ctx, id)
	if err != nil {
		err = fmt.Errorf("agent config %q: %w", id, err)
	}
	return s, warning, err
}
