package status_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/status"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	pokes := 0
	health := status.NewHealth(nil)
	server, err := status.New(status.Options{Health: health, Poke: func() { pokes++ }})
	if err != nil {
		t.Fatal(err)
	}
	health.Loop("poll", time.Hour).Progress()
	type answer struct {
		Code       int
		Type, Body string
	}
	const text = "text/plain; charset=utf-8"
	for _, c := range []struct {
		method, path string
		want         answer
	}{
		{"GET", "/api/health", answer{200, "application/json; charset=UTF-8", "{}"}},
		{"GET", "/api/health?x=1", answer{200, "application/json; charset=UTF-8", "{}"}},
		{"GET", "/api/poke", answer{Code: 200}},
		{"GET", "/livez", answer{200, text, "ok\n"}},
		{"GET", "/readyz", answer{200, text, "ok\n"}},
		{"HEAD", "/readyz", answer{200, text, "ok\n"}},
		{"POST", "/api/health", answer{Code: 405}},
		{"HEAD", "/api/health", answer{Code: 405}},
		{"POST", "/api/poke", answer{Code: 405}},
		{"DELETE", "/livez", answer{Code: 405}},
		{"GET", "/api/health/", answer{Code: 404}},
		{"GET", "//api/health", answer{Code: 404}},
		{"GET", "/", answer{Code: 404}},
		{"POST", "/nothing", answer{Code: 404}},
	} {
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, "http://x"+c.path, nil))
		got := answer{w.Code, w.Header().Get("Content-Type"), w.Body.String()}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %s: (-want +got)\n%s", c.method, c.path, diff)
		}
	}
	if pokes != 1 {
		t.Errorf("got %d pokes, want 1", pokes)
	}
}

func TestStuckLoopIsSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health := status.NewHealth(nil)
		server, err := status.New(status.Options{Health: health})
		if err != nil {
			t.Fatal(err)
		}
		get := func(path string) (int, string) {
			w := httptest.NewRecorder()
			server.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			return w.Code, w.Body.String()
		}
		health.Loop("poll", time.Minute).Fail("no route to host")
		if code, body := get("/readyz"); code != 503 || body != "poll: no route to host\n" {
			t.Errorf("got %d %q", code, body)
		}
		if code, _ := get("/api/health"); code != 200 {
			t.Errorf("got %d for a loop that only fails", code)
		}
		time.Sleep(2 * time.Minute)
		if code, body := get("/api/health"); code != 503 || body != "{}" {
			t.Errorf("got %d %q", code, body)
		}
		if code, body := get("/livez"); code != 503 || body != "poll: no progress for 2m0s\n" {
			t.Errorf("got %d %q", code, body)
		}
		if code, _ := get("/api/poke"); code != 200 {
			t.Errorf("got %d for a poke without a loop to wake", code)
		}
	})
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"": "", "  ": "", "http://:8080": ":8080", "http://localhost:1/": "localhost:1", "http://[::1]:80": "[::1]:80", "http://0.0.0.0:8080/api": "0.0.0.0:8080",
		"https://:8080": ":8080", "//:8080": ":8080",
	} {
		if got, err := status.ParseAddress(address); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", address, got, err, want)
		}
	}
	for address, want := range map[string]string{
		"http://localhost": "must specify port", ":8080": "must specify port", "localhost:8080": "must specify port", "8080": "must specify port",
		"http://:x": "must specify port", "http://:65536": "port 65536 is out of range", "http://u:hunter2@h": "must specify port",
	} {
		got, err := status.ParseAddress(address)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %q, %v, want an error with %q", address, got, err, want)
		}
	}
}

// start runs a server on a free port and returns its address and how it ends.
func start(t *testing.T) (*status.Server, func() error) {
	t.Helper()
	server, err := status.New(status.Options{Address: "http://127.0.0.1:0", Health: status.NewHealth(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	return server, func() error {
		cancel()
		return <-done
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	server, stop := start(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+server.Addr()+"/api/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || string(body) != "{}" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if err := stop(); err != nil {
		t.Errorf("got %v, want a clean stop", err)
	}
}

// pipes is a listener without a network, so that the clock of a test is not the real one.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A client that never finishes its request does not keep the agent from stopping.
func TestStopDoesNotWaitForSlowClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, err := status.New(status.Options{Health: status.NewHealth(nil)})
		if err != nil {
			t.Fatal(err)
		}
		l := make(pipes)
		server.SetListener(l)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- server.Run(ctx) }()
		ours, theirs := net.Pipe()
		l <- theirs
		if _, err := io.WriteString(ours, "GET /"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		cancel()
		if err := <-done; err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("got %v after %v, want a clean stop after 2s", err, time.Since(began))
		}
	})
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	first, stop := start(t)
	defer stop() //nolint:errcheck // TestRun looks at it
	address := "http://" + first.Addr()
	second, err := status.New(status.Options{Address: address, Health: status.NewHealth(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v, want an error that names %s", err, address)
	}
}

func TestNoAddress(t *testing.T) {
	t.Parallel()
	server, err := status.New(status.Options{Health: status.NewHealth(nil)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Run(ctx); err != nil || server.Addr() != "" {
		t.Errorf("got %v at %q", err, server.Addr())
	}
}
