package prefect1_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// configured connects an agent with these labels to a server with one answer for its config.
func configured(t *testing.T, answer string, labels []string) (s prefect1.Settings, log string, err error) {
	t.Helper()
	var lines strings.Builder
	server := &server{answers: map[string][]string{
		"tenant": {`{"data":{"tenant":[{"id":"t"}]}}`}, "register_agent": {`{"data":{"register_agent":{"id":"a"}}}`},
		"hello": {`{"data":{"hello":"hi"}}`}, "agent_config": {answer},
	}}
	client, err := prefect1.New(prefect1.Options{
		API: "http://p.test", CoreVersion: prefect1.Version1, HTTP: &http.Client{Transport: server}, Logger: slog.New(slog.NewTextHandler(&lines, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = client.Connect(t.Context(), prefect1.Registration{Name: "n", ConfigID: "c", Labels: labels})
	return client.Settings(), lines.String(), err
}

// An agent's config without which the labels are known lets the agent start; what
// can be applied is.
func TestSettingsOfAgentConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		want   prefect1.Settings
		log    string
	}{
		"all":             {`{"data":{"agent_config":[{"settings":{"labels":["x","y"],"env_vars":{"A":"1","N":7,"B":true}}}]}}`, prefect1.Settings{Labels: []string{"x", "y"}, EnvVars: map[string]string{"A": "1", "N": "7", "B": "true"}}, ""},
		"as text":         {`{"data":{"agent_config":[{"settings":"{\"labels\":[\"x\"]}"}]}}`, prefect1.Settings{Labels: []string{"x"}}, ""},
		"none":            {`{"data":{"agent_config":[]}}`, prefect1.Settings{}, "there is none with the id"},
		"null":            {`{"data":{"agent_config":[{"settings":null}]}}`, prefect1.Settings{}, ""},
		"no labels":       {`{"data":{"agent_config":[{"settings":{"labels":null}}]}}`, prefect1.Settings{}, ""},
		"empty labels":    {`{"data":{"agent_config":[{"settings":{"labels":[null,"","x"]}}]}}`, prefect1.Settings{Labels: []string{"x"}}, ""},
		"wrong variable":  {`{"data":{"agent_config":[{"settings":{"env_vars":{"A":{},"B":"1"}}}]}}`, prefect1.Settings{EnvVars: map[string]string{"B": "1"}}, "settings.env_vars.A"},
		"another setting": {`{"data":{"agent_config":[{"settings":{"namespace":"n"}}]}}`, prefect1.Settings{}, "settings.namespace: only labels and env_vars"},
		"refused":         {refused, prefect1.Settings{}, "no"},
		"no such field":   {`{"errors":[{"message":"no","extensions":{"code":"validation-failed"}}]}`, prefect1.Settings{}, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings, log, err := configured(t, c.answer, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, settings); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if !strings.Contains(log, c.log) || (c.log == "") != (log == "") {
				t.Errorf("got log %q, want %q in it", log, c.log)
			}
		})
	}
}

// An agent whose only labels may be those of a config that cannot be read must not
// start: it would take the runs without labels. One with labels of its own may.
func TestUnreadableAgentConfig(t *testing.T) {
	t.Parallel()
	const variables = `"env_vars":{"TOKEN":"hunter2"}`
	for name, c := range map[string]struct {
		answer, want string
		waits        bool // with labels too
	}{
		"no object":        {`{"data":{"agent_config":[{"settings":[1]}]}}`, "settings: want an object", false},
		"text":             {`{"data":{"agent_config":[{"settings":"hunter2"}]}}`, "settings: want an object", false},
		"wrong labels":     {`{"data":{"agent_config":[{"settings":{"labels":"hunter2",` + variables + `}}]}}`, "settings.labels", false},
		"number as label":  {`{"data":{"agent_config":[{"settings":{"labels":[7]}}]}}`, "settings.labels", false},
		"no list":          {`{"data":{"agent_config":{"settings":{` + variables + `}}}}`, "malformed answer", false},
		"cut off":          {`{"data":{"agent_config":[{"settings":{` + variables, "malformed answer", false},
		"null":             {`{"data":{"agent_config":[null]}}`, "agent_config: want a list", false},
		"missing":          {`{"data":{}}`, "agent_config: want a list", false},
		"web page":         {`<html>`, "web page", false},
		"server's trouble": {`{"errors":[{"message":"no","extensions":{"code":"INTERNAL_SERVER_ERROR"}}]}`, "INTERNAL_SERVER_ERROR", false},
		"deep":             {`{"data":{"agent_config":[{"settings":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}]}}`, "deeper", false},
		"too large":        {strings.Repeat(" ", 33<<20), "larger", false},
		"busy":             {`{"errors":[{"message":"API_ERROR"}]}`, "API_ERROR", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, _, err := configured(t, c.answer, nil)
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("without labels: got error %v, want %q in it and no value", err, c.want)
				}
				_, log, err := configured(t, c.answer, []string{"own"})
				if (err != nil) != c.waits || !c.waits && !strings.Contains(log, c.want) || strings.Contains(log, "hunter2") {
					t.Errorf("with labels: got error %v and log %q, want %q and no value", err, log, c.want)
				}
			})
		})
	}
}

// Names that make the API server refuse a Job are left out, and no value is told.
func TestNamesOfVariablesOfAgentConfig(t *testing.T) {
	t.Parallel()
	settings, log, err := configured(t, `{"data":{"agent_config":[{"settings":{"env_vars":{"":"1","A=hunter2":"2","Ü":"3","B\u0000":"4","C\nD":"5","e.f-g H":"6"}}}]}}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"e.f-g H": "6"}, settings.EnvVars); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if got := strings.Count(log, "no variable can have a name"); got != 5 || strings.Contains(log, "hunter2") {
		t.Errorf("got %d complaints in %q, want 5 and no value", got, log)
	}
}
