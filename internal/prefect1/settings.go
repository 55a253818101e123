package prefect1

import (
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

// readSettings reads the agent's config. Where it is missing or cannot be read that
// is said and nothing more: agents of 1.4.1 run with such configs too. Only an
// outage is an error.
func (c *Client) readSettings(ctx context.Context, r Registration) error {
	if r.ConfigID == "" || c.o.CoreVersion != Version1 || c.session.Load().configured {
		return nil
	}
	var out struct {
		Configs []struct {
			Settings json.RawMessage `json:"settings"`
		} `json:"agent_config"`
	}
	query := fmt.Sprintf(`query { agent_config(where: { id: { _eq: %s } }) { settings } }`, quote(r.ConfigID))
	err := c.repeat(ctx, query, nil, &out)
	switch {
	case err != nil && !refused(err):
		return err
	case err == nil && len(out.Configs) == 0:
		err = fmt.Errorf("there is none with the id %q", r.ConfigID)
	}
	var settings Settings
	if err == nil {
		settings, err = parseSettings(out.Configs[0].Settings)
	}
	if err != nil {
		c.o.Logger.WarnContext(ctx, "agent config not applied in full", slog.String("component", "prefect"), slog.Any("error", err))
	}
	c.update(func(s *session) { s.settings, s.configured = settings, true })
	return nil
}

// refused reports whether the server answered, and will answer so again.
func refused(err error) bool {
	if gql, ok := errors.AsType[*GraphQLError](err); ok {
		return !gql.Temporary()
	}
	if status, ok := errors.AsType[*retryhttp.StatusError](err); ok {
		return !status.Temporary()
	}
	_, malformed := errors.AsType[*MalformedError](err)
	return malformed
}

// parseSettings reads an object, or a text that holds one. What it cannot read it
// names, and keeps the rest.
func parseSettings(data json.RawMessage) (Settings, error) {
	var inside string
	if json.Unmarshal(data, &inside) == nil && inside != "" {
		data = json.RawMessage(inside)
	}
	if len(data) == 0 {
		return Settings{}, nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return Settings{}, fmt.Errorf("settings: want an object: %w", err)
	}
	var s Settings
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch key {
		case "labels":
			if err := json.Unmarshal(keys[key], &s.Labels); err != nil {
				s.Labels = nil
				errs = append(errs, errors.New("settings.labels: want a list of texts"))
			}
		case "env_vars":
			var err error
			s.EnvVars, err = parseVariables(keys[key])
			errs = append(errs, err)
		default:
			errs = append(errs, fmt.Errorf("settings.%s: only labels and env_vars can be set there", sanitize(key)))
		}
	}
	return s, errors.Join(errs...)
}

// parseVariables takes numbers and booleans for their text, as users write them.
func parseVariables(data json.RawMessage) (map[string]string, error) {
	var values map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return nil, errors.New("settings.env_vars: want an object of names and values")
	}
	variables := make(map[string]string, len(values))
	for name, value := range values {
		switch value.(type) {
		case string, json.Number, bool:
			variables[name] = fmt.Sprint(value)
		default:
			return nil, fmt.Errorf("settings.env_vars.%s: want a text", sanitize(name))
		}
	}
	return variables, nil
}
