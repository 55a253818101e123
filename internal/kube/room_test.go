package kube_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// most is more than a copy, or all lists on their way, may have.
const most = 46_000

// endless are API servers that have objects without an end, each of another name.
func endless(sent *atomic.Int64) map[string]http.HandlerFunc {
	object := func(name string) string {
		return fmt.Sprintf(`{"kind":"Job","apiVersion":"batch/v1","metadata":{"name":"%s","uid":"u","resourceVersion":"9","labels":{%q:"%s"}}}`, name, label, name)
	}
	page := func(w http.ResponseWriter, token, name string) {
		items := make([]string, 500)
		for i := range items {
			items[i] = object(fmt.Sprintf("%s%d", name, sent.Add(1)))
		}
		badserver.Answer(fmt.Sprintf(`{"kind":"JobList","apiVersion":"batch/v1","metadata":{"resourceVersion":"7","continue":"%s"},"items":[%s]}`, token, strings.Join(items, ",")))(w, nil)
	}
	events := func(w http.ResponseWriter, r *http.Request, before, name string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(before))
		for range 47_000 {
			if _, err := fmt.Fprintf(w, `{"type":"MODIFIED","object":%s}`, object(fmt.Sprintf("%s%d", name, sent.Add(1)))); err != nil {
				return
			}
		}
		badserver.Hang(w, r)
	}
	const end = `{"type":"BOOKMARK","object":{"kind":"Job","apiVersion":"batch/v1","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}`
	listed := func(token, name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("watch") == "true" {
				badserver.Page(400)(w, r)
				return
			}
			page(w, token, name)
		}
	}
	return map[string]http.HandlerFunc{
		"pages":           listed("more", "j"),
		"a growing token": listed(strings.Repeat("x", 9<<10), "j"),
		"long names":      listed("more", strings.Repeat("j", 254)),
		"a streamed list": func(w http.ResponseWriter, r *http.Request) { events(w, r, "", "j") },
		"a watch":         func(w http.ResponseWriter, r *http.Request) { events(w, r, end, "j") },
		"a long name":     func(w http.ResponseWriter, r *http.Request) { events(w, r, end, strings.Repeat("j", 254)) },
	}
}

// ofJobs answers requests about Jobs, and about nothing else.
func ofJobs(jobs, others http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/jobs") {
			jobs.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	}
}

// nothingBehind knows of no list that goes on.
func nothingBehind(then http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("continue") {
			badserver.Page(500)(w, r)
			return
		}
		then.ServeHTTP(w, r)
	}
}

// What an API server has without an end is not kept without an end, that it is not read
// is known, and when it is over the copy is what there is.
func TestWhatHasNoEndIsNotKept(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"pages", "a growing token", "long names", "a streamed list", "a watch", "a long name"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var over atomic.Bool
				var sent atomic.Int64
				c, _ := reach(t, until(&over, ofJobs(endless(&sent)[name], good(t)), nothingBehind(good(t))))
				w := follow(t, c)
				time.Sleep(20 * time.Second)
				jobs, _ := w.Len()
				if since, why := w.Unread(); jobs > most || since == 0 || why == nil {
					t.Errorf("got %d Jobs of %d, not read for %v: %v", jobs, sent.Load(), since, why)
				}
				over.Store(true)
				time.Sleep(90 * time.Second)
				jobs, _ = w.Len()
				if since, why := w.Unread(); jobs != 1 || since != 0 {
					t.Errorf("got %d Jobs, not read for %v: %v, want the one that is there", jobs, since, why)
				}
			})
		})
	}
}

// A copy has more room where the process may have more memory, and an error says what to
// do about one that is full.
func TestACopyHasRoomForWhatTheMemoryTakes(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int64]int{math.MaxInt64: 45_000, 1: 45_000, 64 << 20: 45_000, 256 << 20: 98_304, 1 << 40: 1_000_000} {
		if got := kube.Capacity(limit); got != want {
			t.Errorf("with %d bytes: got room for %d, want %d", limit, got, want)
		}
	}
	const want = "there are more than 45000 Jobs and Pods of flow runs, which is what the memory has room for: " +
		"delete finished ones, or raise the memory limit of the container (outside one, GOMEMLIMIT=512MiB)"
	if got := kube.Full(45_000).Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
