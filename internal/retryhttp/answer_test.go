package retryhttp_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// serve starts a server and a client with the real base transport.
func serve(t *testing.T, h http.HandlerFunc) (*http.Client, *httptest.Server) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	transport := retryhttp.New(retryhttp.Options{Wait: time.Millisecond})
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, srv
}

func get(t *testing.T, client *http.Client, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer hunter2")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// fetch gets the address and reads the answer.
func fetch(t *testing.T, client *http.Client, url string, limit int64) ([]byte, error) {
	t.Helper()
	resp := get(t, client, url)
	defer resp.Body.Close() //nolint:errcheck // closed before
	return retryhttp.ReadAll(resp, limit)
}

func TestOneConnectionWithGzip(t *testing.T) {
	t.Parallel()
	var connections, requests atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 2 {
			w.WriteHeader(http.StatusBadGateway) // the retry shall use the connection again
			_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
			return
		}
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("got Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, strings.Repeat("y", 1000))
		_ = z.Close()
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	transport := retryhttp.New(retryhttp.Options{Wait: time.Millisecond})
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for range 3 {
		data, err := fetch(t, client, srv.URL, 1000)
		if err != nil || len(data) != 1000 {
			t.Errorf("got %d bytes, %v", len(data), err)
		}
	}
	if connections.Load() != 1 || requests.Load() != 4 {
		t.Errorf("got %d connections for %d requests, want 1 for 4", connections.Load(), requests.Load())
	}
}

// What compresses well must not get past the limit.
func TestReadAllIsBounded(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	client, srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	_, err := fetch(t, client, srv.URL, 1<<20-1)
	if e, ok := errors.AsType[*retryhttp.TooLargeError](err); !ok || e.Limit != 1<<20-1 {
		t.Errorf("got %v, want an error for the size", err)
	}
	if data, err := fetch(t, client, srv.URL, 1<<20); err != nil || len(data) != 1<<20 {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code       int
		body       string
		retryAfter string
		want       string
		temporary  bool
	}{
		"fine":      {code: 200, body: "x"},
		"refused":   {code: 401, body: "no such token: hunter2\r\n\x1b[31m\xff bad", want: "status 401 Unauthorized: no such token: [redacted] \ufffd[31m\ufffd bad"},
		"busy":      {code: 429, retryAfter: "60", want: "status 429 Too Many Requests", temporary: true},
		"timed out": {code: 408, want: "status 408 Request Timeout", temporary: true},
		"too large": {code: 413, retryAfter: "60", want: "status 413 Request Entity Too Large", temporary: true},
		"long":      {code: 400, body: strings.Repeat("é", 5000), want: "status 400 Bad Request: " + strings.Repeat("é", 148) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.body)
			})
			resp := get(t, client, srv.URL)
			defer resp.Body.Close() //nolint:errcheck // Check closes it
			err := retryhttp.Check(resp)
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			e, ok := errors.AsType[*retryhttp.StatusError](err)
			if !ok || e.Code != c.code || e.Error() != c.want || e.Temporary() != c.temporary {
				t.Fatalf("got %+v, want %q", err, c.want)
			}
			if want := map[bool]time.Duration{true: time.Minute}[c.retryAfter != ""]; e.RetryAfter != want {
				t.Errorf("got %v, want %v", e.RetryAfter, want)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	transport := retryhttp.New(retryhttp.Options{Wait: time.Millisecond})
	url := fmt.Sprintf("http://user:hunter2@%s/?key=hunter22", l.Addr())
	req, err := http.NewRequestWithContext(retryhttp.Once(t.Context()), http.MethodPost, url, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = roundTrip(transport, req)
	e, ok := errors.AsType[*retryhttp.Error](err)
	if !ok || e.Tries != retryhttp.DefaultTries || !e.Temporary() || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want %d tries", err, retryhttp.DefaultTries)
	}
}

// A server that takes the request and closes the connection may have acted on it.
func TestOnceOnARealConnection(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	client, srv := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		requests.Add(1)
		panic(http.ErrAbortHandler)
	})
	for want, ctx := range map[int64]func() *http.Request{
		1: func() *http.Request { return post(retryhttp.Once(t.Context()), t) },
		4: func() *http.Request { return post(t.Context(), t) },
	} {
		requests.Store(0)
		req := ctx()
		req.URL.Host = strings.TrimPrefix(srv.URL, "http://")
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || requests.Load() != want {
			t.Errorf("got %d requests, %v, want %d", requests.Load(), err, want)
		}
	}
}
