package status_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/prefect-kube/prefect-kube/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func expect(t *testing.T, h *status.Health, live, ready []string) {
	t.Helper()
	if diff := cmp.Diff(live, h.Live(time.Now())); diff != "" {
		t.Errorf("live (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(ready, h.Ready(time.Now())); diff != "" {
		t.Errorf("ready (-want +got)\n%s", diff)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := status.NewHealth(nil)
		expect(t, h, nil, []string{"starting"})
		poll, watch := h.Loop("poll", time.Minute), h.Loop("watch", 2*time.Minute)
		expect(t, h, nil, []string{"poll: not started yet", "watch: not started yet"})

		poll.Progress()
		watch.Progress()
		expect(t, h, nil, nil)

		time.Sleep(31 * time.Second)
		expect(t, h, nil, []string{"poll: no progress for 31s", "watch: no progress for 31s"})
		time.Sleep(29 * time.Second)
		watch.Progress()
		poll.Fail("status 503\n  try later") // a loop that fails is alive
		expect(t, h, nil, []string{"poll: status 503 try later"})
		poll.Fail("\x1b[2J" + strings.Repeat("x", 1<<20)) // what servers send is foreign
		expect(t, h, nil, []string{"poll: \ufffd[2J" + strings.Repeat("x", 1015) + "…"})
		poll.Fail("status 503\n  try later")

		time.Sleep(121 * time.Second)
		expect(t, h,
			[]string{"poll: no progress for 2m1s", "watch: no progress for 2m1s"},
			[]string{"poll: no progress for 2m1s", "watch: no progress for 2m1s", "poll: status 503 try later"})

		poll.Progress()
		watch.Progress()
		poll.Wait(time.Hour) // a pause on purpose is no silence
		time.Sleep(time.Hour)
		expect(t, h, []string{"watch: no progress for 1h0m0s"}, []string{"watch: no progress for 1h0m0s"})
		h.Remove("watch")
		expect(t, h, nil, nil)
		time.Sleep(61 * time.Second)
		expect(t, h, []string{"poll: no progress for 1m1s"}, []string{"poll: no progress for 1m1s"})
	})
}

// page is a log that is read while it is written.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(line)
}

func (p *page) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.text.Reset()
	return p.text.String()
}

// Each loop without progress is one warning, however it fares meanwhile, and one
// line when it goes on.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := status.NewHealth(nil)
		var lines page
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Watch(ctx, slog.New(slog.NewTextHandler(&lines, nil))) }()
		said := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			var got []string
			for line := range strings.Lines(lines.take()) {
				_, line, _ = strings.Cut(line, "level=")
				got = append(got, strings.TrimSpace(line))
			}
			if got := strings.Join(got, "\n"); got != want {
				t.Errorf("after %v more it says\n%s\nwant\n%s", after, got, want)
			}
		}
		const again = `INFO msg="the loop makes progress again" loop=poll`
		poll := h.Loop("poll", time.Hour)
		said(29*time.Second, "")
		said(7*time.Second, `WARN msg="a loop makes no progress" loop=poll for=35s reason="not started yet"`)
		poll.Fail("refused") // a sign of life, no progress
		said(time.Hour, "")
		poll.Progress()
		said(6*time.Second, again)
		poll.Wait(time.Hour)
		said(time.Hour, "")
		poll.Fail("refused")
		poll.Wait(time.Minute) // a pause after a failure is none that was meant
		said(36*time.Second, `WARN msg="a loop makes no progress" loop=poll for=33s reason=refused`)
		poll.Progress()
		said(6*time.Second, again)
		h.Loop("sweep", time.Hour)
		h.Remove("sweep")
		said(30*time.Second, `WARN msg="a loop makes no progress" loop=poll for=32s reason="no sign of life"`)
		h.Remove("poll")
		said(time.Hour, "")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What is missing keeps the agent from being ready only where nothing works without it.
func TestLack(t *testing.T) {
	t.Parallel()
	health := status.NewHealth(nil)
	health.Loop("poll", time.Hour).Progress()
	server, err := status.New(status.Options{Health: health})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stopping, warnings []string
		code               int
		body               string
	}{
		{nil, []string{"no events"}, 200, "ok\nwarning: no events\n"},
		{[]string{"no jobs"}, []string{"no events", "no logs"}, 503, "no jobs\nwarning: no events\nwarning: no logs\n"},
		{nil, nil, 200, "ok\n"},
	} {
		health.Lack(c.stopping, c.warnings)
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/readyz", nil))
		if w.Code != c.code || w.Body.String() != c.body {
			t.Errorf("got %d %q, want %d %q", w.Code, w.Body.String(), c.code, c.body)
		}
		if live := health.Live(time.Now()); live != nil {
			t.Errorf("not live: %v", live)
		}
	}
}
