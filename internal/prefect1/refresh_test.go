package prefect1_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

const (
	tenantA = "e4f25f62-7394-4d61-9da1-abc1cd5380e6"
	tenantB = "e4f25f62-7394-4d61-9da1-abc1cd5380e7"
	shown   = `{"data":{"queue":{"inputFields":[{"name":"tenant_id"}]},"run":{"fields":[{"name":"states"},{"name":"labels"},{"name":"tenant_id"}]},"flow":{"fields":[]}}}`
)

// backend answers by the root field, the n-th request for it with the n-th answer, and
// further ones with the last. A number before an answer is its status.
func backend(answers map[string][]string) http.HandlerFunc {
	good := map[string][]string{
		"__type(": {shown}, "{ tenant {": {`{"data":{"tenant":[{"id":"` + tenantA + `"}]}}`}, "{ hello": {`{"data":{"hello":"hi"}}`},
		"register_agent(": {`{"data":{"register_agent":{"id":"agent-a"}}}`}, "get_runs_in_queue(": {`{"data":{"get_runs_in_queue":{"flow_run_ids":[]}}}`},
		"agent_config(": {`{"data":{"agent_config":[{"settings":{"env_vars":{"A":"1"}}}]}}`},
	}
	maps.Copy(good, answers)
	return func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 4096)
		n, _ := r.Body.Read(body)
		for root, list := range good {
			if !strings.Contains(string(body[:n]), root) {
				continue
			}
			good[root] = list[min(1, len(list)-1):]
			status, text, refused := strings.Cut(list[0], " ")
			if codes := map[string]int{"400": 400, "401": 401, "404": 404, "429": 429, "500": 500}; refused && codes[status] > 0 {
				w.WriteHeader(codes[status])
				badserver.Answer(text)(w, r)
				return
			}
			badserver.Answer(list[0])(w, r)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
	}
}

// count is how many requests hold a text.
func count(server *badserver.Server, text string) (n int) {
	for _, r := range server.Requests() {
		if strings.Contains(r.Body, text) {
			n++
		}
	}
	return n
}

// An id that no request could carry, or no Job could be made with, is not kept: the
// connection fails and is tried again.
func TestBadIDsAreNotKept(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{`a\nb`, `x\r\ny`, `é`, ``, ` `, strings.Repeat("x", 64), `-x`, `\u0000`, `a b`} {
		checkBadID(t, "register_agent(", `{"data":{"register_agent":{"id":"`+bad+`"}}}`, `{"data":{"register_agent":{"id":"agent-a"}}}`)
	}
	for _, bad := range []string{`x\r\ny`, `not-a-tenant`, ``, `{e4f25f62-7394-4d61-9da1-abc1cd5380e6}`, strings.Repeat("e4f25f62", 100)} {
		checkBadID(t, "{ tenant {", `{"data":{"tenant":[{"id":"`+bad+`"}]}}`, `{"data":{"tenant":[{"id":"`+tenantA+`"}]}}`)
	}
}

func checkBadID(t *testing.T, root, bad, good string) {
	t.Helper()
	server := badserver.New(t, backend(map[string][]string{root: {bad, good}}))
	c := clientOf(t, server)
	if err := c.Connect(t.Context(), prefect1.Registration{}); err == nil {
		t.Errorf("%s: %.80s was taken", root, bad)
	}
	if err := c.Connect(t.Context(), prefect1.Registration{}); err != nil || c.TenantID() != tenantA {
		t.Errorf("%s: after %.80s got %v and the tenant %q", root, bad, err, c.TenantID())
	}
}

// An id that the server refuses later is asked for again, and nothing else is.
func TestRefusedIDsAreAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refusal, given   string
		agents, tenants  int // requests for each
		wantAgent, wantT string
	}{
		"agent":               {refusal: `400 {"errors":[{"message":"Agent not found"}]}`, agents: 2, tenants: 1, wantAgent: "agent-b", wantT: tenantA},
		"agent, as text":      {refusal: `404 no such agent`, agents: 2, tenants: 1, wantAgent: "agent-b", wantT: tenantA},
		"tenant":              {refusal: `401 {"errors":[{"message":"unknown tenant"}]}`, agents: 1, tenants: 2, wantAgent: "agent-a", wantT: tenantB},
		"tenant that is told": {refusal: `400 {"errors":[{"message":"unknown tenant"}]}`, given: tenantA, agents: 1, wantAgent: "agent-a", wantT: tenantA},
		"neither":             {refusal: `401 {"errors":[{"message":"no"}]}`, agents: 1, tenants: 1, wantAgent: "agent-a", wantT: tenantA},
		"trouble":             {refusal: `500 no agent or tenant at home`, agents: 1, tenants: 1, wantAgent: "agent-a", wantT: tenantA},
		"too many":            {refusal: `429 one agent of a tenant`, agents: 1, tenants: 1, wantAgent: "agent-a", wantT: tenantA},
	} {
		server := badserver.New(t, backend(map[string][]string{
			"get_runs_in_queue(": {c.refusal, `{"data":{"get_runs_in_queue":{"flow_run_ids":[]}}}`},
			"register_agent(":    {`{"data":{"register_agent":{"id":"agent-a"}}}`, `{"data":{"register_agent":{"id":"agent-b"}}}`},
			"{ tenant {":         {`{"data":{"tenant":[{"id":"` + tenantA + `"}]}}`, `{"data":{"tenant":[{"id":"` + tenantB + `"}]}}`},
		}))
		client := clientOf(t, server, func(o *prefect1.Options) { o.TenantID = c.given; o.HTTP.Transport = server.Transport(t) })
		if err := client.Connect(t.Context(), prefect1.Registration{}); err != nil {
			t.Fatal(name, err)
		}
		_, _ = client.RunsInQueue(t.Context(), time.Now(), nil) // the refusal is the point
		for range 3 {
			if err := client.Refresh(t.Context(), prefect1.Registration{}); err != nil {
				t.Error(name, err)
			}
		}
		_, _ = client.RunsInQueue(t.Context(), time.Now(), nil)
		all := server.Requests()
		if got := all[len(all)-1].Header.Get("X-Prefect-Agent-Id"); got != c.wantAgent || client.TenantID() != c.wantT {
			t.Errorf("%s: got the agent %q and the tenant %q, want %q and %q", name, got, client.TenantID(), c.wantAgent, c.wantT)
		}
		if agents, tenants := count(server, "register_agent("), count(server, "{ tenant {"); agents != c.agents || tenants != c.tenants {
			t.Errorf("%s: asked %d and %d times, want %d and %d", name, agents, tenants, c.agents, c.tenants)
		}
	}
}

// What nobody could read at the start is asked again until somebody can; what was
// refused is not.
func TestOpenQuestionsAreAskedAgain(t *testing.T) {
	t.Parallel()
	config := `{"data":{"agent_config":[{"settings":{"env_vars":{"A":"1"}}}]}}`
	for text, again := range map[string]bool{
		`{"data":{"queue":`: true, `<html>`: true, `{"data":{"queue":7}}`: true, `[]`: true, ``: true, `{"data":null}`: true, strings.Repeat("[", 600): true,
		`400 {"errors":[{"message":"introspection is off"}]}`: false, `{"errors":[{"message":"introspection is off"}]}`: false, `404 no`: false,
	} {
		server := badserver.New(t, backend(map[string][]string{"__type(": {text, text, shown}, "agent_config(": {text, text, config}}))
		c := clientOf(t, server)
		r := prefect1.Registration{Labels: []string{"x"}, ConfigID: "c"}
		if err := c.Connect(t.Context(), r); err != nil {
			t.Errorf("%.20s: %v", text, err)
		}
		_, _ = c.RunsInQueue(t.Context(), time.Now(), nil) // shows the generation, no more
		for range 4 {
			if err := c.Refresh(t.Context(), r); err != nil {
				t.Errorf("%.20s: %v", text, err)
			}
		}
		want := map[bool]int{true: 3, false: 1}[again]
		if got := [2]int{count(server, "queue: __type("), count(server, "agent_config(")}; got != [2]int{want, want} {
			t.Errorf("%.20s: asked %v times for the schema and the config, want %d", text, got, want)
		}
		if ids, err := c.Overdue(t.Context(), time.Now(), nil); again != (count(server, "scheduled:") == 1) {
			t.Errorf("%.20s: late runs are looked for: %v, %v", text, ids, err)
		}
		if got := c.Settings().EnvVars["A"]; (got == "1") != again {
			t.Errorf("%.20s: got the variable %q", text, got)
		}
	}
}
