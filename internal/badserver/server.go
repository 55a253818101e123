// Package badserver misbehaves, for tests: answers that drip, hang, break off, swell or
// lead elsewhere, and a file that nobody writes to. The server listens in memory, so it
// works on the fake time of testing/synctest and answers for every host and port.
package badserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Request is what reached the server.
type Request struct {
	Method, Scheme, Host, Path, Body string
	Header                           http.Header
}

// Server is an HTTP server in memory, for every address of both schemes. For https it
// speaks no TLS: its Transport leaves that out too.
type Server struct {
	listener *listener
	handler  http.Handler

	mu       sync.Mutex
	requests []Request
}

type schemeKey struct{}

// New starts a server that ends with the test. Inside a bubble of testing/synctest it
// must be made with the *testing.T of the bubble.
func New(tb testing.TB, handler http.Handler) *Server {
	tb.Helper()
	s := &Server{listener: &listener{accepted: make(chan net.Conn), closed: make(chan struct{})}, handler: handler}
	server := &httptest.Server{Listener: s.listener, Config: &http.Server{ //nolint:gosec // a test's server waits for whatever it likes
		Handler: http.HandlerFunc(s.serve),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, schemeKey{}, schemeOf(c))
		},
	}}
	server.Start()
	tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

func schemeOf(c net.Conn) string {
	if p, ok := c.(*conn); ok {
		return p.scheme
	}
	return ""
}

// Transport is one to this server alone, whatever the address. It is closed with the test.
func (s *Server) Transport(tb testing.TB) *http.Transport {
	tb.Helper()
	t := &http.Transport{
		DialContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return s.listener.dial(ctx, "http") },
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.listener.dial(ctx, "https") },
	}
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

// Requests are those that reached the server until now, in their order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body) // what came before an error is what came
	r.Body = io.NopCloser(bytes.NewReader(data))
	scheme, _ := r.Context().Value(schemeKey{}).(string)
	s.mu.Lock()
	s.requests = append(s.requests, Request{
		Method: r.Method, Scheme: scheme, Host: r.Host, Path: r.URL.Path, Body: string(data), Header: r.Header,
	})
	s.mu.Unlock()
	s.handler.ServeHTTP(w, r)
}

// conn is one end of a pipe that knows what the address began with.
type conn struct {
	net.Conn
	scheme string
}

// listener accepts what dial makes.
type listener struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

var errClosed = errors.New("the server is closed") //nolint:errname // nobody asks for it

func (l *listener) dial(ctx context.Context, scheme string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.accepted <- &conn{Conn: server, scheme: scheme}:
		return client, nil
	case <-l.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is a TCP address, since httptest makes a URL of it.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
