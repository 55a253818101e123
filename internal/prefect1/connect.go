package prefect1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// Registration is what the agent tells the server about itself.
type Registration struct {
	Name     string
	Labels   []string
	ConfigID string
}

// ErrScope means that a token of Prefect 0.x has another scope than RUNNER, as those
// have that "prefect auth login" stores. Agents of 0.11.0 to 0.15.13 refuse them too.
var ErrScope = errors.New("an agent needs a token with RUNNER scope; create one with `prefect auth create-token -n agent -s RUNNER`")

// ErrNoTenant means that the server has no tenant yet.
var ErrNoTenant = errors.New("the Prefect server has no tenants; create one with `prefect server create-tenant --name default`")

// ErrTokenAsKey means that a token of Prefect 0.x was given as API key.
var ErrTokenAsKey = errors.New("an API token was used as an API key; tokens have no tenant, use an API key (--key)")

// ErrNoAgentID means that the server accepted the registration without giving an id.
var ErrNoAgentID = errors.New("registration: the server gave no agent id")

// Connect goes through the start of the Python agent of this version once:
// credential, tenant, registration, config, hello. It may be called again after an
// error; what was found out stays.
func (c *Client) Connect(ctx context.Context, r Registration) error {
	if err := c.findDialect(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", c.shown(), err)
	}
	steps := []func(context.Context, Registration) error{c.checkScope, c.findTenant, c.register, c.readSettings, c.hello}
	for _, step := range steps {
		if err := step(ctx, r); err != nil {
			return fmt.Errorf("connect to %s: %w", c.shown(), err)
		}
	}
	return nil
}

// Refresh asks again for what an answer that nobody could read left open at Connect, and
// for the ids of agent and tenant if the server has refused them since. Most times there
// is nothing to ask.
func (c *Client) Refresh(ctx context.Context, r Registration) error {
	steps := []func(context.Context, Registration) error{
		func(ctx context.Context, _ Registration) error { return c.findDialect(ctx) }, c.findTenantAgain, c.register, c.readSettings,
	}
	for _, step := range steps {
		if err := step(ctx, r); err != nil {
			return fmt.Errorf("ask %s again: %w", c.shown(), err)
		}
	}
	return nil
}

// findTenantAgain asks where the schema says that there are tenants. What a refusal
// teaches of the generation says less.
func (c *Client) findTenantAgain(ctx context.Context, r Registration) error {
	if s := c.session.Load(); !s.shown && !s.tenantDoubtful {
		return nil
	}
	return c.findTenant(ctx, r)
}

// doubt notes which id a refusal is about, so that it is asked for again.
func (c *Client) doubt(err error) {
	if !answered(err) {
		return
	}
	text := strings.ToLower(err.Error())
	agent, tenant := strings.Contains(text, "agent"), strings.Contains(text, "tenant")
	if agent || tenant {
		c.update(func(s *session) {
			s.agentDoubtful = s.agentDoubtful || agent
			s.tenantDoubtful = s.tenantDoubtful || tenant
		})
	}
}

// shown is the address without the password that it may hold.
func (c *Client) shown() string {
	u, err := url.Parse(c.o.API)
	if err != nil {
		return "the Prefect API"
	}
	return u.Redacted()
}

func (c *Client) update(change func(*session)) {
	for {
		old := c.session.Load()
		next := *old
		change(&next)
		if c.session.CompareAndSwap(old, &next) {
			return
		}
	}
}

func (c *Client) findDialect(ctx context.Context) error {
	if c.session.Load().introspected {
		return nil
	}
	d, ok, err := c.introspect(ctx)
	if err != nil && !answered(err) {
		return err
	}
	if err == nil {
		c.update(func(s *session) { s.introspected = true })
	}
	if !ok {
		c.o.Logger.DebugContext(ctx, "schema not readable, assuming the server of this command's time", slog.String("component", "prefect"))
		return nil
	}
	c.update(func(s *session) { s.dialect, s.settled, s.shown = d, true, true })
	return nil
}

// token reports whether a token of 0.x is used. Agents of 0.x have nothing else.
func (c *Client) token() bool { return c.o.Token || c.o.CoreVersion == Version0 }

// checkScope is done by agents with a token, on Cloud only (agent/agent.py, _verify_token).
func (c *Client) checkScope(ctx context.Context, _ Registration) error {
	if !c.o.Cloud || !c.token() {
		return nil
	}
	var scope string
	into := object{"auth_info": object{"api_token_scope": value{&scope}}}
	if err := c.repeat(ctx, oneThing, `query { auth_info { api_token_scope } }`, nil, into); err != nil {
		return err
	}
	if scope != "RUNNER" {
		return fmt.Errorf("the token has the scope %q: %w", excerpt([]byte(scope)), ErrScope)
	}
	return nil
}

func (c *Client) findTenant(ctx context.Context, _ Registration) error {
	s := c.session.Load()
	if known := s.tenantID != "" && !s.tenantDoubtful; known || c.o.TenantID != "" || !s.dialect.tenants {
		return nil
	}
	if c.o.Cloud {
		return c.tenantOfKey(ctx)
	}
	tenants, err := c.serverTenants(ctx)
	if err != nil {
		return c.learn(ctx, err)
	}
	// The other generation has no tenants, so no later refusal speaks of the generation.
	c.update(func(s *session) { s.tenantID, s.tenantDoubtful, s.settled = tenants[0], false, true })
	return nil
}

// serverTenants are all tenants of a Prefect Server, at least one.
func (c *Client) serverTenants(ctx context.Context) ([]string, error) {
	var found []struct{ ID string }
	into := object{"tenant": list[struct{ ID string }]{maxTenants, &found}}
	if err := c.repeat(ctx, manyNames, `query { tenant { id } }`, nil, into); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNoTenant
	}
	tenants := make([]string, len(found))
	for i, tenant := range found {
		if err := c.usableTenant(tenant.ID); err != nil {
			return nil, err
		}
		tenants[i] = tenant.ID
	}
	return tenants, nil
}

// maxTenants bounds how many tenants are looked at.
const maxTenants = 1000

// usableTenant refuses an id that no Job could be made with: with a key it must be a
// UUID (client/client.py).
func (c *Client) usableTenant(id string) error {
	const dashed = 36
	if len(id) == dashed && uuid.Validate(id) == nil {
		return nil
	}
	if credential, err := c.credential(); err == nil && credential == "" && wellFormed(flowrun.ID(id)) {
		return nil
	}
	return &MalformedError{Err: fmt.Errorf("tenant: %q cannot be the id of a tenant", excerpt([]byte(id)))}
}

func (c *Client) tenantOfKey(ctx context.Context) error {
	if c.token() {
		return nil // a token implies its tenant
	}
	tenant, err := c.authTenant(ctx)
	if err == nil {
		c.update(func(s *session) { s.tenantID, s.tenantDoubtful = tenant, false })
	}
	return err
}

// authTenant is the tenant of the API key on Cloud.
func (c *Client) authTenant(ctx context.Context) (string, error) {
	var tenant string
	into := object{"auth_info": object{"tenant_id": value{&tenant}}}
	if err := c.repeat(ctx, oneThing, `query { auth_info { tenant_id } }`, nil, into); err != nil {
		return "", err
	}
	if tenant == "" {
		return "", ErrTokenAsKey
	}
	return tenant, c.usableTenant(tenant)
}

// register follows the two releases: 0.11.0 registers on Cloud only, 1.4.1 always.
func (c *Client) register(ctx context.Context, r Registration) error {
	s := c.session.Load()
	if known := s.agentID != "" && !s.agentDoubtful || s.unregistrable; known || (c.o.CoreVersion == Version0 && !c.o.Cloud) {
		return nil
	}
	labels := r.Labels
	if labels == nil {
		labels = []string{}
	}
	input := map[string]any{"type": "KubernetesAgent", "name": r.Name, "labels": labels}
	if c.o.CoreVersion == Version1 {
		input["tenant_id"], input["agent_config_id"] = nullable(s.tenantID), nullable(r.ConfigID)
	}
	var id string
	into := object{"register_agent": object{"id": value{&id}}}
	const query = `mutation($input: register_agent_input!) { register_agent(input: $input) { id } }`
	if err := c.repeat(ctx, oneThing, query, vars(input), into); err != nil {
		return c.unregistrable(ctx, err)
	}
	if id == "" {
		return ErrNoAgentID
	}
	if !wellFormed(flowrun.ID(id)) {
		return &MalformedError{Err: fmt.Errorf("register_agent: %q cannot be the id of an agent", excerpt([]byte(id)))}
	}
	c.update(func(s *session) { s.agentID, s.agentDoubtful = id, false })
	return nil
}

// unregistrable lets a 1.4.1 command line work with the server inside 0.11.0,
// whose schema has no register_agent at all.
func (c *Client) unregistrable(ctx context.Context, err error) error {
	var gql *GraphQLError
	if s := c.session.Load(); errors.As(err, &gql) && gql.Invalid() && s.settled && !s.dialect.tenants {
		c.o.Logger.DebugContext(ctx, "server has no agent registration", slog.String("component", "prefect"))
		c.update(func(s *session) { s.unregistrable = true })
		return nil
	}
	return c.learn(ctx, err)
}

func (c *Client) hello(ctx context.Context, _ Registration) error {
	return c.repeat(ctx, oneThing, `query { hello }`, nil, nil)
}

func vars(input any) map[string]any { return map[string]any{"input": input} }

func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}
