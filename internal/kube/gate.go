package kube

import (
	"context"
	"errors"
	"net/http"
	"sync"
)

// gate gives a login the limit of the request that needs it. A plugin or an identity
// provider that does not answer would keep the request for ever: client-go waits for
// both without a limit, and asks under a lock. One request at a time asks, so
// that at most one of them waits behind the back of those that gave up.
type gate struct {
	// next logs in and sends. It calls sent, by the transport below it, between the two.
	next  http.RoundTripper
	login *Login
	turn  chan struct{}
}

func newGate(next http.RoundTripper, login *Login) *gate {
	return &gate{next: next, login: login, turn: make(chan struct{}, 1)}
}

type sentKey struct{}

// sent tells the gate that a request has its credential.
func sent(ctx context.Context) {
	if note, ok := ctx.Value(sentKey{}).(func()); ok {
		note()
	}
}

type answer struct {
	resp *http.Response
	err  error
}

// RoundTrip implements http.RoundTripper.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, g.late(ctx)
	}
	leave, passed := sync.OnceFunc(func() { <-g.turn }), make(chan struct{})
	note := sync.OnceFunc(func() { close(passed); leave() })
	answers, gone := make(chan answer), make(chan struct{})
	go func() {
		resp, err := g.next.RoundTrip(req.WithContext(context.WithValue(ctx, sentKey{}, note)))
		leave()
		select {
		case answers <- answer{resp, err}:
		case <-gone:
			if err == nil {
				_ = resp.Body.Close()
			}
		}
	}()
	select {
	case a := <-answers:
		if a.err != nil && !closed(passed) {
			return nil, g.login.failed(a.err)
		}
		return a.resp, a.err
	case <-ctx.Done():
		close(gone)
		if closed(passed) {
			return nil, ctx.Err()
		}
		return nil, g.late(ctx)
	}
}

// late is why a request has no credential. Whoever does not want it any more is told
// nothing.
func (g *gate) late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return g.login.late(ctx.Err())
	}
	return ctx.Err()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
