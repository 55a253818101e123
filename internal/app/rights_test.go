package app_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/kube"
	"github.com/prefect-kube/prefect-kube/internal/manifests"
	agentstatus "github.com/prefect-kube/prefect-kube/internal/status"
)

// What is missing is asked for again until nothing is. What is not known is not said.
func TestWatchRights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health := agentstatus.NewHealth(nil)
		poll := health.Loop("poll", time.Hour)
		poll.Progress()
		poll.Wait(time.Hour)
		type answers struct {
			missing []string
			unknown error
		}
		var now atomic.Pointer[answers]
		var reviews atomic.Int64
		lacks := []string{"create jobs", "get pods/log"}
		now.Store(&answers{lacks, errors.New("no such resource")})
		done := make(chan error, 1)
		var said bytes.Buffer
		go func() {
			done <- app.WatchRights(t.Context(), func(a kube.Access) (bool, error) {
				reviews.Add(1)
				if a.Namespace != "flows" {
					t.Errorf("asked for namespace %q", a.Namespace)
				}
				return !slices.Contains(now.Load().missing, a.Verb+" "+a.Resource), now.Load().unknown
			}, health, slog.New(slog.NewTextHandler(&said, nil)))
		}()
		expect := func(ready, warnings []string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff([][]string{ready, warnings}, [][]string{health.Ready(time.Now()), health.Warnings()}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		expect(nil, nil)
		now.Store(&answers{missing: lacks})
		time.Sleep(5 * time.Minute)
		stopping := []string{"right missing: create jobs: no flow run starts: each fails with the API server's message"}
		warnings := []string{"right missing: get pods/log: failed flow runs are reported without the end of the container's log"}
		expect(stopping, warnings)
		time.Sleep(5 * time.Minute)
		now.Store(&answers{unknown: errors.New("away")})
		time.Sleep(5 * time.Minute)
		expect(stopping, warnings)
		now.Store(&answers{})
		reviews.Store(0)
		time.Sleep(5 * time.Minute)
		expect(nil, nil)
		if err := <-done; err != nil || reviews.Load() != int64(len(manifests.Permissions("flows"))) {
			t.Errorf("got %v after %d reviews", err, reviews.Load())
		}
		if lines := strings.Count(said.String(), "going on without a right in the cluster"); lines != len(lacks) {
			t.Errorf("got %d lines in the log, want one for each lack:\n%s", lines, said.String())
		}
	})
}

// A look that fails is made again with growing pauses, and keeps nobody from being
// ready. One that does not end is told as silence.
func TestRightsThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health := agentstatus.NewHealth(nil)
		ctx, cancel := context.WithCancel(t.Context())
		var hangs atomic.Bool
		var looks []time.Duration
		began, done := time.Now(), make(chan error, 1)
		go func() {
			done <- app.WatchRights(ctx, func(kube.Access) (bool, error) {
				if hangs.Load() {
					<-ctx.Done()
				}
				looks = append(looks, time.Since(began))
				return false, errors.New("away")
			}, health, slog.New(slog.DiscardHandler))
		}()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		var want []time.Duration
		for _, seconds := range []float64{0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111} {
			want = append(want, time.Duration(seconds*float64(time.Second)))
		}
		if diff := cmp.Diff(want, looks); diff != "" {
			t.Errorf("times of looks (-want +got)\n%s", diff)
		}
		if reasons := health.Ready(time.Now()); reasons != nil {
			t.Errorf("not ready, since %q", reasons)
		}
		hangs.Store(true)
		time.Sleep(5 * time.Minute)
		if reasons := health.Ready(time.Now()); len(reasons) != 1 || !strings.HasPrefix(reasons[0], "rights: no progress for ") {
			t.Errorf("got %q, want that the loop of rights makes no progress", reasons)
		}
		cancel()
		if err := <-done; err != nil || !slices.Equal(health.Ready(time.Now()), []string{"starting"}) {
			t.Errorf("got %v, %q, want nothing left of the loop", err, health.Ready(time.Now()))
		}
	})
}

// The agent asks for every right of its Role once, beside its work.
func TestAgentAsksForItsRights(t *testing.T) {
	t.Parallel()
	v := readVector(t, renderedCase)
	var want []string
	for _, p := range manifests.Permissions("default") {
		want = append(want, p.Verb+" "+p.Resource+" "+p.Name)
	}
	if diff := cmp.Diff(want, v.run(t).cluster.reviewed); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
