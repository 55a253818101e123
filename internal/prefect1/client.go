// Package prefect1 speaks the GraphQL protocol of Prefect 0.x and 1.x: agent
// registration, the queue, flow run metadata with history, states and run logs.
// It knows how a request and an answer look on the wire and which input types a
// server has. It decides nothing about flow runs and knows no Kubernetes.
package prefect1

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// Version0 and Version1 are the values of X-PREFECT-CORE-VERSION: the two
// releases of the Python agent whose protocol is spoken, chosen by the form of
// the command line.
const (
	Version0 = "0.11.0"
	Version1 = "1.4.1"
)

// Options are the fixed facts of a connection.
type Options struct {
	// API is the address as configured, e.g. http://localhost:4200.
	API string
	// Endpoint is the URL that requests go to; empty means that it follows from API.
	Endpoint string
	// CoreVersion is Version0 or Version1.
	CoreVersion string
	// Cloud is set when the backend is Prefect Cloud, where every call needs a credential.
	Cloud bool
	// Credential gives the token or API key of the moment; empty means none.
	Credential func() (string, error)
	// Token is set when the credential is a token of 0.x that a command line of 1.x was
	// given (agent/agent.py of 0.15.13, _setup_api_connection): it has a scope, and
	// belongs to one tenant, which no request names.
	Token bool
	// TenantID is the configured tenant; empty means that the server is asked.
	TenantID string
	// HTTP sends the requests.
	HTTP *http.Client
	// Secrets are hidden in what is written to Prefect for people: messages of states
	// and lines of run logs quote foreign texts.
	Secrets *secret.Set
	// Logger gets one line for each decision about the server's dialect.
	Logger *slog.Logger
}

// Client is a connection to one Prefect API. Its methods are safe for concurrent use.
type Client struct {
	o        Options
	endpoint string
	session  atomic.Pointer[session]
	// large holds a place for each large answer that is read.
	large chan struct{}
	// What one kind of read does not get may be no trouble for another.
	hostileRuns, hostileHistories, hostileLong hostile
}

// session is what start-up found out. It is replaced as a whole.
type session struct {
	agentID  string
	tenantID string
	// agentDoubtful and tenantDoubtful say that the server has refused the id.
	agentDoubtful, tenantDoubtful bool
	// unregistrable says that the server has no registration of agents.
	unregistrable bool
	dialect       dialect
	// settings are those of the agent's config, configured says that they were read, and
	// complaint what was said of them.
	settings   Settings
	configured bool
	complaint  string
	// introspected says that the server showed its schema or refused to, shown that it did.
	introspected, shown bool
	// settled says that the dialect was read from the server, so that no
	// validation error may change it any more.
	settled bool
}

// New makes a client. It opens no connection. The error names the part of the
// address that cannot be used.
func New(o Options) (*Client, error) {
	endpoint, err := Endpoint(o.API, o.CoreVersion)
	if err != nil {
		return nil, err
	}
	if o.Endpoint != "" {
		endpoint = strings.TrimRight(o.Endpoint, "/")
	}
	c := &Client{o: o, endpoint: endpoint, large: make(chan struct{}, largeTogether)}
	c.session.Store(&session{tenantID: o.TenantID, dialect: defaultDialect(o.CoreVersion)})
	return c, nil
}

// Endpoint is the URL that requests go to: the address as given for 1.4.1
// (client/client.py posts to cloud.api), with /graphql/alpha behind it for 0.11.0
// (config.toml, cloud.graphql).
func Endpoint(api, coreVersion string) (string, error) {
	u, err := url.Parse(api)
	if err != nil {
		return "", fmt.Errorf("api address %q: %w", api, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("api address %q: want http:// or https:// and a host, such as http://localhost:4200", api)
	}
	endpoint := strings.TrimRight(api, "/")
	if coreVersion == Version0 {
		endpoint += path0
	}
	return endpoint, nil
}

// path0 is behind the address for 0.11.0.
const path0 = "/graphql/alpha"

// TenantID is the tenant in use, empty where the server knows none.
func (c *Client) TenantID() string { return c.session.Load().tenantID }

type request struct {
	Query     string `json:"query"`
	Variables string `json:"variables"`
}

// call sends one operation and decodes the fields of its data, of an answer of at most
// so many bytes. Variables travel as a string that holds JSON, as the Python client
// sends them.
func (c *Client) call(ctx context.Context, most int64, query string, variables any, into object) error {
	vars, err := json.Marshal(variables)
	if err != nil {
		return fmt.Errorf("encode variables: %w", err)
	}
	body, err := json.Marshal(request{Query: query, Variables: string(vars)})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	resp, err := c.post(ctx, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to be lost
	if resp.StatusCode >= http.StatusBadRequest {
		err := c.refused(resp)
		c.doubt(err)
		return err
	}
	from := &source{ctx: ctx, body: resp.Body, left: most, most: most, large: c.large}
	defer from.leave()
	err = decode(from, into)
	if from.err != nil {
		return fmt.Errorf("answer of %s: %w", c.shown(), from.err)
	}
	return err
}

func (c *Client) post(ctx context.Context, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if err := c.headers(req.Header); err != nil {
		return nil, err
	}
	resp, err := c.o.HTTP.Do(req)
	if redirect, ok := errors.AsType[*retryhttp.RedirectError](err); ok {
		return nil, c.moved(redirect)
	}
	return resp, err
}

func (c *Client) headers(h http.Header) error {
	h.Set("Content-Type", "application/json")
	h["X-PREFECT-CORE-VERSION"] = []string{c.o.CoreVersion}
	s := c.session.Load()
	if s.agentID != "" {
		h["X-PREFECT-AGENT-ID"] = []string{s.agentID}
	}
	credential, err := c.credential()
	if err != nil || credential == "" {
		return err
	}
	h.Set("Authorization", "Bearer "+credential)
	if c.o.CoreVersion == Version1 && s.tenantID != "" {
		h["X-PREFECT-TENANT-ID"] = []string{s.tenantID}
	}
	return nil
}

func (c *Client) credential() (string, error) {
	if c.o.Credential == nil {
		return "", nil
	}
	return c.o.Credential()
}

// repeat sends an operation that may be sent again after API_ERROR, which Prefect
// Cloud answers while it is busy, as often as 0.12.0 and later do.
func (c *Client) repeat(ctx context.Context, most int64, query string, variables any, into object) error {
	const times = 6
	began, pause := time.Now(), 250*time.Millisecond
	for tries := 0; ; tries++ {
		err := c.call(ctx, most, query, variables, into)
		var gql *GraphQLError
		if err == nil || !errors.As(err, &gql) || !gql.Temporary() || tries == times || time.Since(began) > retryhttp.DefaultLimit {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// once sends an operation that must not be sent twice: writes. Whatever the answer,
// the caller reads the history before the next write; API_ERROR may stand beside
// states that were taken.
func (c *Client) once(ctx context.Context, most int64, query string, variables any, into object) error {
	return c.call(retryhttp.Once(ctx), most, query, variables, into)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
