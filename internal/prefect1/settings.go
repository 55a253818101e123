package prefect1

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// Settings are what the config of an agent at the backend says. Prefect 1.4.1 reads
// them and does nothing with them (D-12). They hold where the agent itself was given
// nothing.
type Settings struct {
	// Labels are for agents without labels.
	Labels []string
	// EnvVars are variables for Jobs, by name.
	EnvVars map[string]string
}

// Settings are those of the agent's config, empty before Connect and without one.
func (c *Client) Settings() Settings { return c.session.Load().settings }

// readSettings reads the agent's config. Where there is none, or the server knows
// no configs, that is said and nothing more: agents of 1.4.1 run so too. One that
// cannot be read is an error for an agent without labels, since without those of
// its config it would take the runs of others; so is an outage for any agent.
func (c *Client) readSettings(ctx context.Context, r Registration) error {
	if r.ConfigID == "" || c.o.CoreVersion != Version1 || c.session.Load().configured {
		return nil
	}
	settings, warning, err := c.fetchSettings(ctx, r.ConfigID)
	if err != nil && (len(r.Labels) == 0 || !answered(err)) {
		return fmt.Errorf("agent config %q: %w", r.ConfigID, err)
	}
	complaint := ""
	if said := errors.Join(warning, err); said != nil {
		complaint = said.Error()
	}
	if complaint != "" && complaint != c.session.Load().complaint {
		c.o.Logger.WarnContext(ctx, "agent config not applied in full", slog.String("component", "prefect"), slog.String("error", complaint))
	}
	_, malformed := errors.AsType[*MalformedError](err)
	c.update(func(s *session) {
		s.settings, s.configured, s.complaint = settings, !malformed && !beyond(err), complaint
	})
	return nil
}

// fetchSettings gives what the config says, what of it is left out, and why its
// labels are not known.
func (c *Client) fetchSettings(ctx context.Context, id string) (s Settings, warning, err error) {
	type config struct{ Settings json.RawMessage }
	var configs []*config
	into := object{"agent_config": list[*config]{1, &configs}}
	query := fmt.Sprintf(`query { agent_config(where: { id: { _eq: %s } }) { settings } }`, quote(id))
	err = c.repeat(ctx, manyNames, query, nil, into)
	malformed, _ := errors.AsType[*MalformedError](err)
	switch {
	case malformed != nil && !malformed.page():
		return Settings{}, nil, &MalformedError{Err: malformed.Err} // variables may be secrets
	case fieldUnknown(err):
		return Settings{}, err, nil
	case err != nil:
		return Settings{}, nil, err
	case configs == nil || slices.Contains(configs, nil):
		return Settings{}, nil, &MalformedError{Err: errors.New("agent_config: want a list of objects")}
	case len(configs) == 0:
		return Settings{}, fmt.Errorf("there is none with the id %q", id), nil
	}
	return parseSettings(configs[0].Settings)
}

// fieldUnknown reports whether the server's schema lacks what was asked for. Apollo
// and Hasura have a code for it; Hasura answers it with status 200.
func fieldUnknown(err error) bool {
	gql, ok := errors.AsType[*GraphQLError](err)
	if !ok || gql.Temporary() {
		return false
	}
	return gql.Invalid() || slices.ContainsFunc(gql.items, func(i errorItem) bool {
		return i.Extensions.Code == "GRAPHQL_VALIDATION_FAILED" || i.Extensions.Code == "validation-failed"
	})
}

// answered reports whether the server answered, and will answer so again.
func answered(err error) bool {
	if gql, ok := errors.AsType[*GraphQLError](err); ok {
		return !gql.Temporary()
	}
	if status, ok := errors.AsType[*retryhttp.StatusError](err); ok {
		return !status.Temporary()
	}
	_, malformed := errors.AsType[*MalformedError](err)
	return malformed || beyond(err)
}

// parseSettings reads an object, or a text that holds one. What it cannot read it
// names, and keeps the rest. Only what leaves the labels unknown is an error.
func parseSettings(data json.RawMessage) (s Settings, warning, err error) {
	var inside string
	if json.Unmarshal(data, &inside) == nil && inside != "" {
		data = json.RawMessage(inside)
	}
	if len(data) == 0 {
		return Settings{}, nil, nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return Settings{}, nil, &MalformedError{Err: errors.New("settings: want an object")}
	}
	var warnings []error
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch key {
		case "labels":
			s.Labels, err = parseLabels(keys[key])
		case "env_vars":
			s.EnvVars, warning = parseVariables(keys[key])
			warnings = append(warnings, warning)
		default:
			warnings = append(warnings, fmt.Errorf("settings.%s: only labels and env_vars can be set there", excerpt([]byte(key))))
		}
	}
	return s, errors.Join(warnings...), err
}

// parseLabels leaves out nulls and empty texts, which are no labels.
func parseLabels(data json.RawMessage) ([]string, error) {
	var values []*string
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, &MalformedError{Err: errors.New("settings.labels: want a list of texts")}
	}
	var labels []string
	for _, value := range values {
		if value != nil && *value != "" {
			labels = append(labels, *value)
		}
	}
	return labels, nil
}

// parseVariables takes numbers and booleans for their text, as users write them,
// and leaves out what no container can have.
func parseVariables(data json.RawMessage) (map[string]string, error) {
	var values map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return nil, errors.New("settings.env_vars: want an object of names and values")
	}
	variables := make(map[string]string, len(values))
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		shown, _, _ := strings.Cut(name, "=") // behind it stands a value
		shown = excerpt([]byte(shown))
		if !variable(name) {
			errs = append(errs, fmt.Errorf("settings.env_vars: no variable can have a name like %q; want printable ASCII without \"=\"", shown))
			continue
		}
		switch value := values[name].(type) {
		case string, json.Number, bool:
			variables[name] = fmt.Sprint(value)
		default:
			errs = append(errs, fmt.Errorf("settings.env_vars.%s: want a text", shown))
		}
	}
	return variables, errors.Join(errs...)
}

// variable reports whether Kubernetes takes a name for an environment variable:
// all releases refuse others than these.
func variable(name string) bool {
	unfit := func(r rune) bool { return r < ' ' || r > '~' || r == '=' }
	return name != "" && !strings.ContainsFunc(name, unfit)
}
