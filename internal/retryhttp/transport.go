// Package retryhttp sends HTTP requests again when that is safe and promising.
// It knows connections, statuses, Retry-After and credentials in headers; it
// refuses to know what a request means. Whoever sends a request that must not
// arrive twice says so with Once.
package retryhttp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The defaults of Options. Prefect 1.4.1 waits 15 s for an answer (config.toml,
// cloud.request_timeout). It tries seven times over 62 s; four tries over about
// 4 s leave the rest to the loops, which are watched and say what they wait for.
const (
	DefaultTries   = 4
	DefaultTimeout = 15 * time.Second
	DefaultLimit   = time.Minute
	DefaultWait    = 500 * time.Millisecond
	DefaultMaxWait = 30 * time.Second
)

// Options are the fixed facts of a Transport. The zero value of each field means
// its default.
type Options struct {
	// Base sends one request; the default is NewBase().
	Base http.RoundTripper
	// Tries is how often a request is sent at most, the first time included.
	Tries int
	// Timeout bounds one try: the time until the header of the answer is there,
	// and after that each pause while the body is read.
	Timeout time.Duration
	// Limit bounds a request as a whole, however steadily something comes: all tries,
	// the pauses between them and the body of the answer. It is at least Timeout. For a
	// request that is marked by Once it is Timeout.
	Limit time.Duration
	// Wait is the pause before the second try. Later ones double; each is varied by half.
	Wait time.Duration
	// MaxWait is the longest pause. An answer that asks for a longer one with
	// Retry-After is returned at once, for the caller to obey.
	MaxWait time.Duration
	// Logger gets a warning for each try that is repeated; the default discards them.
	Logger *slog.Logger
}

// Transport is an http.RoundTripper that repeats requests. Every request counts
// as repeatable, whatever its method, unless its context was marked by Once:
// the queries of Prefect's GraphQL API are POST requests. A request with a body
// needs GetBody, which http.NewRequest sets for the usual readers.
//
// Repeated are requests without an answer and answers 429, 500, 502, 503 and
// 504. The last answer is returned as it is, whatever its status.
type Transport struct {
	o Options
}

// New makes a Transport. It opens no connection.
func New(o Options) *Transport {
	if o.Base == nil {
		o.Base = NewBase()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Tries = positive(o.Tries, DefaultTries)
	o.Timeout = positive(o.Timeout, DefaultTimeout)
	o.Limit = max(positive(o.Limit, DefaultLimit), o.Timeout)
	o.Wait = positive(o.Wait, DefaultWait)
	o.MaxWait = positive(o.MaxWait, DefaultMaxWait)
	return &Transport{o: o}
}

func positive[T int | time.Duration](v, fallback T) T {
	if v > 0 {
		return v
	}
	return fallback
}

// NewBase makes a transport that keeps connections and accepts gzip.
func NewBase() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConns:        64,
		MaxIdleConnsPerHost: 16,
		// Prefect's gateway is a Node server, which closes idle connections after
		// 5 s. A request sent into the closing is lost, so we are first.
		IdleConnTimeout:        4 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// CloseIdleConnections closes the connections that are kept for later.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.o.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip sends the request until there is an answer that a repetition would
// not better. An error is an *Error, unless the request's own context ended.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	limit := &TimeoutError{After: t.o.Limit, whole: true}
	if once(req.Context()) {
		limit = &TimeoutError{After: t.o.Timeout}
	}
	ctx, cancel := context.WithTimeoutCause(req.Context(), limit.After, limit)
	resp, err := t.repeat(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Request = req
	resp.Body = &bounded{ReadCloser: resp.Body, ctx: ctx, cancel: cancel}
	return resp, nil
}

func (t *Transport) repeat(req *http.Request) (*http.Response, error) {
	pauses := t.pauses()
	for try := 1; ; try++ {
		o := t.send(req, try)
		after, again := t.again(req, try, o, pauses.NextBackOff())
		if !again {
			return o.resp, o.failure(req, try)
		}
		t.o.Logger.WarnContext(req.Context(), "request repeated",
			slog.Int("attempt", try), slog.Duration("after", after), slog.String("error", o.reason(req)))
		o.discard()
		if err := sleep(req.Context(), after); err != nil {
			return nil, err
		}
	}
}

func (t *Transport) pauses() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = t.o.Wait, t.o.MaxWait, 2
	return b
}

// again decides on a repetition and the pause before it.
func (t *Transport) again(req *http.Request, try int, o outcome, pause time.Duration) (time.Duration, bool) {
	ctx := req.Context()
	if try >= t.o.Tries || ctx.Err() != nil || !o.promising() || !repeatable(req, o) {
		return 0, false
	}
	if asked := retryAfter(o.resp); asked > 0 {
		pause = asked
	}
	pause = max(pause, 0)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
		return 0, false // what we have now says more than a deadline exceeded later
	}
	return pause, pause <= t.o.MaxWait || o.resp == nil
}

func repeatable(req *http.Request, o outcome) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	return !once(req.Context()) || !o.connected
}

// send makes one try. The context of the try ends by itself when the server
// stays silent for too long; the answer's body takes it over.
func (t *Transport) send(req *http.Request, try int) outcome {
	ctx, cancel := context.WithCancelCause(req.Context())
	silence := &TimeoutError{After: t.o.Timeout}
	timer := time.AfterFunc(t.o.Timeout, func() { cancel(silence) })
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	out, err := copyRequest(traced, req, try)
	var resp *http.Response
	if err == nil {
		resp, err = t.o.Base.RoundTrip(out) //nolint:bodyclose // the caller gets the body
	}
	if err != nil {
		timer.Stop()
		if ended, ok := errors.AsType[*TimeoutError](context.Cause(ctx)); ok {
			err = ended
		}
		cancel(nil)
		return outcome{err: err, connected: connected.Load()}
	}
	resp.Body = &body{ReadCloser: resp.Body, silence: silence, timer: timer, ended: func() error { return context.Cause(ctx) }, cancel: cancel}
	return outcome{resp: resp, connected: connected.Load(), cancel: cancel}
}

func copyRequest(ctx context.Context, req *http.Request, try int) (*http.Request, error) {
	out := req.WithContext(ctx)
	if try == 1 || req.GetBody == nil {
		return out, nil
	}
	b, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	out.Body = b
	return out, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

type onceKey struct{}

// Once marks every request that is sent with the context as not repeatable: one
// that reached a connection is never sent again, whatever became of it. Only
// where no connection was made is it tried again. Use it for POST: a GET may be
// repeated by net/http itself, on a kept connection that turns out closed.
func Once(ctx context.Context) context.Context {
	return context.WithValue(ctx, onceKey{}, true)
}

func once(ctx context.Context) bool {
	marked, _ := ctx.Value(onceKey{}).(bool)
	return marked
}
