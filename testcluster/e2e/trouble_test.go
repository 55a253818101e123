package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

// TestPodThatCannotStart: the run fails with the cause where a person looks for it, and the agent goes on.
func TestPodThatCannotStart(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		version string
		broken  flowimage.Registration
		cause   string
	}{
		"image 0.11.0":    {"0.11.0", flowimage.Registration{Image: "localhost:1/no-such:image"}, "localhost:1/no-such:image"},
		"image 1.4.1":     {"1.4.1", flowimage.Registration{Image: "localhost:1/no-such:image"}, "localhost:1/no-such:image"},
		"service account": {"1.4.1", flowimage.Registration{RunConfig: map[string]any{"service_account_name": "nosuch"}}, `serviceaccount "nosuch" not found`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, generations()[c.version])
			s.startAgent("--grace", "5s")
			c.broken.Flow = "two-tasks"
			run := s.register(c.broken)
			if got := s.awaitState(run, "Failed"); !strings.Contains(got.Message, c.cause) {
				t.Errorf("the state's message is %q, want it to name %q", got.Message, c.cause)
			}
			s.awaitLog(run, c.cause)
			s.awaitState(s.register(flowimage.Registration{Flow: "two-tasks"}), "Success")
		})
	}
}

// TestNoAPI: an API that is away or refuses does not kill an agent at its start.
func TestNoAPI(t *testing.T) {
	t.Parallel()
	apis := map[string]struct{ url, cause string }{
		"away":    {"http://" + freeAddress(t, "127.0.0.1"), "connection refused"},
		"refuses": {answering(t, http.StatusUnauthorized, "application/json", `{"errors":[{"message":"unauthenticated"}]}`), "unauthenticated"},
		"is HTML": {answering(t, http.StatusOK, "text/html", "<html>log in</html>"), "<html>log in"},
	}
	for version, g := range generations() {
		for name, api := range apis {
			t.Run(name+"/"+version, func(t *testing.T) {
				t.Parallel()
				needCluster(t)
				s := &stage{t: t, generation: g, namespace: newNamespace(t), dir: t.TempDir(), url: api.url}
				s.launch(agentOptions{}).waitsForAPI(api.cause)
			})
		}
	}
}

// answering starts a server with one answer to everything.
func answering(t *testing.T, status int, contentType, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// waitsForAPI checks that the agent says why it waits, is alive and not ready, and leaves when asked.
func (a agent) waitsForAPI(cause string) {
	a.t.Helper()
	a.awaitLine("not connected to the prefect api, trying again")
	if log := a.output(); !strings.Contains(log, cause) {
		a.t.Errorf("the log does not name %q", cause)
	}
	if err := healthy(a.t.Context(), a.url+"/readyz"); err == nil || !strings.Contains(err.Error(), "503") {
		a.t.Errorf("/readyz: %v, want 503", err)
	}
	if err := healthy(a.t.Context(), a.url+"/livez"); err != nil {
		a.t.Error(err)
	}
	asked := time.Now()
	if state, took := a.stop(), time.Since(asked); state.ExitCode() != 0 || took > 5*time.Second {
		a.t.Errorf("%v after %v, want exit code 0 within seconds", state, took)
	}
}

// TestUnusable: what no waiting can mend ends the agent at once, with one line that says what to change.
func TestUnusable(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ args, says []string }{
		"scheme":        {[]string{"--api", "ftp://localhost:4200"}, []string{"--api", "with http:// or https:// in front"}},
		"no kubeconfig": {[]string{"--kubeconfig", "nosuch"}, []string{"--kubeconfig", "nosuch"}},
	}
	for version, g := range generations() {
		for name, c := range cases {
			t.Run(name+"/"+version, func(t *testing.T) {
				t.Parallel()
				p := start(t, t.TempDir(), "agent", shared.binary, append(g.agent, c.args...)...)
				p.exits = 2
				receive(t, "the agent leaves", p.done)
				_, line, _ := strings.Cut("\n"+p.output(), "\nError: ")
				for _, word := range c.says {
					if !strings.Contains(line, word) || strings.Count(line, "\n") != 1 {
						t.Errorf("the error is %q, want one line with %q", line, word)
					}
				}
			})
		}
	}
}

// TestStopDuringStart: a claim under way when the agent is asked to leave becomes a Job; a second signal waits for nothing.
func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	for version, g := range generations() {
		for _, signals := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d signals/%s", signals, version), func(t *testing.T) {
				t.Parallel()
				s, claims := newStageWithoutPods(t, g, shared.binary), newGate()
				a := s.launch(agentOptions{api: proxy(t, s.url, claims.serve)})
				flow := s.createFlow()
				run := mutate[created](s, "create_flow_run", "id", map[string]any{"flow_id": flow}).ID
				claims.polls.Store(1)
				receive(t, "the agent claims", claims.claims)
				a.signal()
				a.awaitLine(`"stopping"`)
				if signals == 1 {
					claims.pass(t)
				} else {
					a.exits = 1
					a.signal()
				}
				receive(t, "the agent leaves", a.done)
				found := jobs(t.Context(), t, s.namespace)
				if len(found) != 2-signals || signals == 1 && found[0].run() != run {
					t.Errorf("jobs of run %s are %+v, want %d", run, found, 2-signals)
				}
			})
		}
	}
}
