package prefect1

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// dialect is what a server's schema has. The server inside prefect 0.11.0 and
// the server of 2020 to 2023 refuse input fields they do not know.
type dialect struct {
	tenants     bool // get_runs_in_queue takes tenant_id
	runConfig   bool // flow_run.run_config
	coreVersion bool // flow.core_version
	environment bool // flow.environment
	history     bool // flow_run.states
	runTenant   bool // flow_run.tenant_id
	labels      labelSource
	// flowRunConfig is flow.run_config without one of the run, as the agents of 0.13.10
	// to 0.14.1 read it.
	flowRunConfig bool
}

// labelSource is where a server keeps the labels that its queue compares
// (prefect_server/api/runs.py).
type labelSource uint8

// The server inside prefect 0.11.0 has them in the flow's environment, those since
// the end of September 2020 in the run. In between it depends on the flow's group:
// such servers, and those that do not say what they have, count as unknown.
const (
	labelsUnknown labelSource = iota
	labelsOfEnvironment
	labelsOfRun
)

// defaultDialect is what the server of that time has; it holds where the server
// refuses introspection.
func defaultDialect(coreVersion string) dialect {
	d := dialect{environment: true, history: true}
	if coreVersion == Version1 {
		d.tenants, d.runConfig, d.coreVersion = true, true, true
	}
	return d
}

const introspection = `query {
  queue: __type(name: "get_runs_in_queue_input") { inputFields { name } }
  run: __type(name: "flow_run") { fields { name } }
  flow: __type(name: "flow") { fields { name } }
  group: __type(name: "flow_group") { fields { name } }
}`

type named struct {
	Name string `json:"name"`
}

type typeFields struct {
	Fields      []named `json:"fields"`
	InputFields []named `json:"inputFields"`
}

func (t typeFields) has(name string) bool {
	for _, f := range append(t.Fields, t.InputFields...) {
		if f.Name == name {
			return true
		}
	}
	return false
}

// introspect reads the dialect from the schema. ok is false where the server refuses to
// show it. After an error it is to be asked again, also where the answer is unreadable.
func (c *Client) introspect(ctx context.Context) (d dialect, ok bool, err error) {
	var out struct{ Queue, Run, Flow, Group *typeFields }
	into := object{"queue": value{&out.Queue}, "run": value{&out.Run}, "flow": value{&out.Flow}, "group": value{&out.Group}}
	err = c.call(ctx, manyNames, introspection, nil, into)
	var gql *GraphQLError
	var status *retryhttp.StatusError
	if errors.As(err, &gql) || (errors.As(err, &status) && !status.Temporary()) {
		return dialect{}, false, nil
	}
	if err == nil && (out.Queue == nil || out.Run == nil || out.Flow == nil) {
		err = &MalformedError{Err: errors.New("a part of the schema is missing")}
	}
	if err != nil {
		return dialect{}, false, err
	}
	return dialect{
		tenants:     out.Queue.has("tenant_id"),
		runConfig:   out.Run.has("run_config"),
		coreVersion: out.Flow.has("core_version"),
		environment: out.Flow.has("environment"),
		history:     out.Run.has("states"),
		runTenant:   out.Run.has("tenant_id"),
		labels:      sourceOf(*out.Run, *out.Flow, out.Group),

		flowRunConfig: out.Flow.has("run_config") && !out.Run.has("run_config"),
	}, true, nil
}

func sourceOf(run, flow typeFields, group *typeFields) labelSource {
	switch {
	case run.has("labels"):
		return labelsOfRun
	case flow.has("environment") && (group == nil || !group.has("labels")):
		return labelsOfEnvironment
	}
	return labelsUnknown
}

// learn switches to the other server's dialect when a document was refused and
// the schema could not be read: the first refusal decides, and it does so once.
func (c *Client) learn(ctx context.Context, err error) error {
	var gql *GraphQLError
	s := c.session.Load()
	if s.settled || !errors.As(err, &gql) || !gql.Invalid() {
		return err
	}
	next := *s
	next.settled = true
	other := Version0
	if !s.dialect.tenants {
		other = Version1
	}
	next.dialect = defaultDialect(other)
	if c.session.CompareAndSwap(s, &next) {
		c.o.Logger.WarnContext(ctx, "server refused the document, trying the other server generation",
			slog.Bool("tenants", next.dialect.tenants), slog.Any("error", err))
	}
	return err
}

// confirm keeps the dialect from then on: the server has taken a document that
// the other generation refuses. A later refusal has another cause.
func (c *Client) confirm() {
	if !c.session.Load().settled {
		c.update(func(s *session) { s.settled = true })
	}
}
