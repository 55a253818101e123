package e2e_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// around handles one request to a proxy. forward sends it on and returns once the answer is written.
type around func(w http.ResponseWriter, r *http.Request, body string, forward func(http.ResponseWriter))

// proxy stands between one agent and a backend until the test ends. It returns its address, which Pods reach too.
func proxy(t *testing.T, backend string, serve around) string {
	t.Helper()
	target, err := url.Parse(backend)
	if err != nil {
		t.Fatal(err)
	}
	onward := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorLog: log.New(io.Discard, "", 0), // the agent says what it meets
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the agent has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		serve(w, r, string(body), func(w http.ResponseWriter) { onward.ServeHTTP(w, r) })
	})
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(target.Hostname(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close() // the listener on loopback
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// queue lets a number of polls through; to the others the queue is empty.
type queue struct{ polls atomic.Int64 }

func (q *queue) serve(w http.ResponseWriter, _ *http.Request, body string, forward func(http.ResponseWriter)) {
	if strings.Contains(body, "get_runs_in_queue(") && q.polls.Add(-1) < 0 {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":{"get_runs_in_queue":{"flow_run_ids":[]}}}`)
		return
	}
	forward(w)
}

// gate holds an agent's claims until they are released.
type gate struct {
	queue
	// claims gets the body of each claim that arrives.
	claims chan string
	// release lets one claim pass; done says that the agent has its answer.
	release, done chan struct{}
}

func newGate() *gate {
	return &gate{claims: make(chan string), release: make(chan struct{}), done: make(chan struct{})}
}

func (g *gate) serve(w http.ResponseWriter, r *http.Request, body string, forward func(http.ResponseWriter)) {
	if !strings.Contains(body, "set_flow_run_states(") {
		g.queue.serve(w, r, body, forward)
		return
	}
	if !send(r.Context(), g.claims, body) {
		return
	}
	select {
	case <-g.release:
	case <-r.Context().Done():
		return
	}
	forward(w)
	send(r.Context(), g.done, struct{}{})
}

func send[T any](ctx context.Context, to chan<- T, value T) bool {
	select {
	case to <- value:
		return true
	case <-ctx.Done():
		return false
	}
}

// receive waits for a value within the patience of all tests.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("waited %v until %s", patience, what)
		panic("not reached")
	}
}

// pass releases the claim and waits until the agent has its answer.
func (g *gate) pass(t *testing.T) {
	t.Helper()
	select {
	case g.release <- struct{}{}:
	case <-time.After(patience):
		t.Fatal("the claim is gone")
	}
	receive(t, "the claim is answered", g.done)
}
