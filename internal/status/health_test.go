package status_test

import (
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
