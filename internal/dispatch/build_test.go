package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/dispatch"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// slow are offers whose Jobs take their time to be built.
func slow(w *world, n int, takes, start time.Duration) (offers []offer) {
	for i := range n {
		o := offerIn(flowrun.ID(fmt.Sprintf("slow-%d", i)), start)
		w.builds[o.ID] = takes
		offers = append(offers, o)
	}
	return offers
}

// What a Job waits for keeps no other start waiting, and no claim goes out on a read
// that is too old.
func TestSlowBuildsHoldUpNoOther(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		offers func(*world) []offer
		want   []string
	}{
		{
			"three that never come in time", func(w *world) []offer { return append(slow(w, 3, 10*time.Second, 0), offerIn("quick", 0)) },
			[]string{"0.05s claim [quick]", "1.05s verify [quick]", "1.05s create quick"},
		},
		{
			"a hundred of them", func(w *world) []offer { return append(slow(w, 100, time.Hour, 0), offerIn("quick", 0)) },
			[]string{"0.05s claim [quick]", "1.05s verify [quick]", "1.05s create quick"},
		},
		{
			"two that take a while share a claim of their own", func(w *world) []offer { return append(slow(w, 2, 3*time.Second, 0), offerIn("quick", 0)) },
			[]string{
				"0.05s claim [quick]", "1.05s verify [quick]", "1.05s create quick",
				"3s claim [slow-0 slow-1]", "4s verify [slow-0 slow-1]", "4s create slow-0", "4s create slow-1",
			},
		},
		{
			"prefetched ones", func(w *world) []offer {
				return append(slow(w, 3, time.Hour, 8*time.Second), offerIn("quick", 8*time.Second))
			},
			[]string{"7s refresh [quick slow-0 slow-1 slow-2]", "7.05s claim [quick]", "8.05s verify [quick]", "8.05s create quick"},
		},
		{
			"one that was read a while ago has half of the time that is left", func(w *world) []offer {
				o := slow(w, 1, 3*time.Second, 0)
				o[0].Read = o[0].Read.Add(-10 * time.Second)
				return o
			},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &world{builds: map[flowrun.ID]time.Duration{}}
			run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) {
				offers := tt.offers(w)
				if took := time.Now(); d.Start(ctx, offers) > len(offers) || time.Since(took) > time.Second {
					t.Errorf("Start took %v", time.Since(took))
				}
			})
			slices.Sort(w.log)
			slices.Sort(tt.want)
			if diff := gocmp.Diff(tt.want, w.log); diff != "" || len(w.outcomes) > len(tt.want) {
				t.Errorf("what happened (-want +got):\n%s", diff)
			}
		})
	}
}

// A stop ends builds at once, and drops their starts.
func TestStoppingEndsBuilds(t *testing.T) {
	t.Parallel()
	w := &world{builds: map[flowrun.ID]time.Duration{}}
	run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) {
		ctx, cancel := context.WithCancel(ctx)
		d.Start(ctx, slow(w, 100, time.Hour, 0))
		time.Sleep(time.Second)
		cancel()
		if err := d.Wait(); err != nil || time.Since(w.began) > 2*time.Second {
			t.Errorf("waited %v, %v", time.Since(w.began), err)
		}
	})
	if len(w.log)+len(w.outcomes) > 0 {
		t.Errorf("acted on what was not claimed: %q", w.log)
	}
}

// What is no fault of the run neither claims nor fails it, and does not count as taken.
func TestNotNow(t *testing.T) {
	t.Parallel()
	w := &world{buildErr: fmt.Errorf("build: %w", &dispatch.NotNowError{Err: errors.New("the agent's own template cannot be read")})}
	run(t, w, func(ctx context.Context, d *dispatch.Dispatcher[string]) {
		adopted := offerIn("b", 0)
		adopted.NeedsClaim = false
		if taken := d.Start(ctx, []offer{offerIn("a", 0), adopted}); taken != 0 || d.InFlight("a") || d.InFlight("b") {
			t.Errorf("%d are taken", taken)
		}
	})
	if len(w.log)+len(w.outcomes) > 0 {
		t.Errorf("acted on what is not possible: %q, %v", w.log, w.outcomes)
	}
}
