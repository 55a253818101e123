package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

// moment is a request of the agent at which its process is killed.
type moment struct {
	// text is in the body of a request to Prefect; empty means the create of the Job.
	text string
	// after is what Prefect was asked before.
	after string
	// late is whether the request has taken effect and only its answer is missing.
	late bool
	// again is whether the run was started before, and its Job is kept.
	again bool
}

const claims, reads, logs = "set_flow_run_states(", "states(order_by", "write_run_logs("

// TestKilled: the process is killed with SIGKILL at a moment between poll and report. The next one, which never saw the run,
// brings it to its end with one Job for each start (D-16).
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]moment{
		"before the claim":             {text: claims},
		"claimed and not answered":     {text: claims, late: true},
		"before the claim is verified": {text: reads, after: claims},
		"before the create":            {},
		"created and not answered":     {late: true},
		"before the report":            {text: logs},
		"before the create of a rerun": {again: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, generations()["1.4.1"])
			grant(t, s.namespace, "", "")
			run := s.register(flowimage.Registration{Flow: "two-tasks"})
			times := 1
			if m.again {
				times = 2
				before := s.launch(agentOptions{name: "before"})
				s.awaitState(run, "Success")
				before.stop()
				s.setState(run, "Scheduled")
			}
			reached := make(chan struct{})
			first := s.launch(agentOptions{
				name: "first", api: proxy(t, s.url, m.holdPrefect(reached)),
				args: []string{"--kubeconfig", s.kubeconfig(func(direct http.RoundTripper) http.RoundTripper { return held{direct, m, reached} })},
			})
			first.exits = -1
			receive(t, name, reached)
			first.kill()
			s.startAgent()
			s.awaitState(run, "Success")
			s.started(run, times)
			if found := jobs(t.Context(), t, s.namespace); len(found) != times {
				t.Errorf("jobs are %+v, want %d", found, times)
			}
		})
	}
}

// holdPrefect holds the request of the moment until its client is gone. Flow processes come this way too, later.
func (m moment) holdPrefect(reached chan<- struct{}) around {
	var asked, held atomic.Bool
	asked.Store(m.after == "")
	return func(w http.ResponseWriter, r *http.Request, body string, forward func(http.ResponseWriter)) {
		if m.text == "" || !asked.Load() || !strings.Contains(body, m.text) || !held.CompareAndSwap(false, true) {
			forward(w)
			if m.after != "" && strings.Contains(body, m.after) {
				asked.Store(true)
			}
			return
		}
		if m.late {
			forward(httptest.NewRecorder())
		}
		send(r.Context(), reached, struct{}{})
		<-r.Context().Done()
	}
}

// held is the way to the API server on which the create is held until its client is gone.
type held struct {
	http.RoundTripper
	moment
	reached chan<- struct{}
}

func (h held) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.text != "" || r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/jobs") {
		return h.RoundTripper.RoundTrip(r)
	}
	if h.late {
		response, err := h.RoundTripper.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_ = response.Body.Close()
	} else if _, err := io.Copy(io.Discard, r.Body); err != nil { // else nobody sees that the client is gone
		return nil, err
	}
	send(r.Context(), h.reached, struct{}{})
	<-r.Context().Done()
	return nil, r.Context().Err()
}
