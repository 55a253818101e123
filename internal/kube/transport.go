package kube

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
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

// transport is the one way to the cluster. It notes the server's time, tells the server
// how long a create may take, so that a create given up here does not happen there
// later, and takes from an answer what client-go would obey without a bound.
type transport struct {
	next  http.RoundTripper
	clock *serverClock
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	sent(req.Context())
	resp, err := t.next.RoundTrip(withDeadline(req))
	if err != nil {
		return resp, once(req, err)
	}
	now := time.Now()
	t.clock.saw(resp.Header.Get("Date"), now)
	if req.Method == http.MethodGet {
		resp.Header.Del(retryAfterHeader)
	}
	boundRetryAfter(resp.Header, now)
	// The end of a log is kept while it is read, and a watch is bounded by its events.
	streams := req.URL.Query().Has("watch") || strings.HasSuffix(req.URL.Path, "/log")
	if !streams || resp.StatusCode != http.StatusOK {
		most, took := allowed(req.Context())
		if resp.ContentLength > int64(most) {
			most = -1 // nothing of it need be read
		}
		resp.Body = &bounded{ReadCloser: resp.Body, left: most + 1, took: took}
	}
	return resp, nil
}

// once keeps client-go from sending what reads ten times again, a second apart: whoever
// reads does so at his own pace. For the same reason such answers lose Retry-After.
func once(req *http.Request, err error) error {
	lost := utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err) || utilnet.IsTimeout(err)
	if lost && req.Context().Err() == nil {
		return lostError(unlike.Replace(err.Error()))
	}
	return err
}

// lostError has no cause, since client-go would find it, and none of the words that
// client-go looks for.
type lostError string

func (e lostError) Error() string { return "no answer: " + string(e) }

var unlike = strings.NewReplacer("connection reset by peer", "connection reset", "closed network connection", "closed connection",
	"http: server closed idle connection", "connection closed", "http: can't write HTTP request on broken connection", "connection broken")

// longestRetryAfter is the longest pause that the API server can ask for.
const (
	longestRetryAfter = 30 * time.Second
	retryAfterHeader  = "Retry-After"
)

// boundRetryAfter makes a number of seconds, from one to the longest pause, of whatever
// the server wants. client-go waits for as long as it reads there.
func boundRetryAfter(header http.Header, now time.Time) {
	text := header.Get(retryAfterHeader)
	if text == "" {
		return
	}
	const longest = int(longestRetryAfter / time.Second)
	seconds, err := strconv.Atoi(text) // past all numbers, it is the last one
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		at, err := http.ParseTime(text)
		if err != nil {
			header.Del(retryAfterHeader)
			return
		}
		seconds = int(at.Sub(now).Seconds())
	}
	header.Set(retryAfterHeader, strconv.Itoa(min(max(seconds, 1), longest)))
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
