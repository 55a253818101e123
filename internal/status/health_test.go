package status_test

import (
	"net/http"
	"net/http/httptest"
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
		h := status.NewHealth()
		expect(t, h, nil, []string{"starting"})
		poll, watch := h.Loop("poll", time.Minute), h.Loop("watch", 2*time.Minute)
		expect(t, h, nil, []string{"poll: not started yet", "watch: not started yet"})

		poll.Progress()
		watch.Progress()
		expect(t, h, nil, nil)

		time.Sleep(time.Minute)
		poll.Fail("status 503\n  try later") // a loop that fails is alive
		expect(t, h, nil, []string{"poll: status 503 try later"})

		time.Sleep(61 * time.Second)
		expect(t, h,
			[]string{"poll: no progress for 1m1s", "watch: no progress for 2m1s"},
			[]string{"poll: no progress for 1m1s", "watch: no progress for 2m1s", "poll: status 503 try later"})

		poll.Progress()
		watch.Progress()
		poll.Wait(time.Hour) // a pause on purpose is no silence
		time.Sleep(61 * time.Minute)
		expect(t, h, []string{"watch: no progress for 1h1m0s"}, []string{"watch: no progress for 1h1m0s"})
		h.Remove("watch")
		expect(t, h, nil, nil)
		time.Sleep(time.Second)
		expect(t, h, []string{"poll: no progress for 1m1s"}, []string{"poll: no progress for 1m1s"})
	})
}

// What is missing keeps the agent from being ready only where nothing works without it.
func TestLack(t *testing.T) {
	t.Parallel()
	health := status.NewHealth()
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
