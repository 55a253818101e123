package kube

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// serverClock remembers the API server's time, by the Date header of its answers,
// which has whole seconds. It goes on by our monotonic clock, so that a step of
// our own clock ages nothing.
type serverClock struct {
	last atomic.Pointer[reading]
}

type reading struct{ server, received time.Time }

func (c *serverClock) saw(date string, received time.Time) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	// The header is cut to the second below: half a second is the expected loss.
	at = at.Add(time.Second / 2)
	if at.Sub(received).Abs() < time.Second { // less than the header can tell
		at = received
	}
	c.last.Store(&reading{server: at, received: received})
}

func (c *serverClock) now() time.Time {
	r := c.last.Load()
	if r == nil {
		return time.Now()
	}
	return r.server.Add(time.Since(r.received))
}

// transport notes the server's time and tells the server how long a create may
// take, so that a create given up here does not happen there later.
type transport struct {
	next  http.RoundTripper
	clock *serverClock
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(withDeadline(req))
	if err == nil {
		t.clock.saw(resp.Header.Get("Date"), time.Now())
	}
	return resp, err
}

// withDeadline adds timeout= to a create, which the API server obeys for every
// request that is not long-running (k8s.io/apiserver
// endpoints/filters/request_deadline.go).
func withDeadline(req *http.Request) *http.Request {
	left, ok := remaining(req.Context())
	if req.Method != http.MethodPost || !ok || left <= 0 {
		return req
	}
	query := req.URL.Query()
	if query.Has("timeout") {
		return req
	}
	query.Set("timeout", left.String())
	clone := req.Clone(req.Context())
	clone.URL.RawQuery = query.Encode()
	return clone
}

func remaining(ctx context.Context) (time.Duration, bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, false
	}
	return time.Until(deadline).Truncate(time.Millisecond), true
}
