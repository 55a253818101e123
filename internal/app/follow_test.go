package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/kube"
	agentstatus "github.com/prefect-kube/prefect-kube/internal/status"
)

// stale is a copy of the cluster that is not read since a time.
type stale struct {
	mu    sync.Mutex
	since time.Time
	why   error
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (s *stale) set(since time.Time, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.why = since, why
}

func (s *stale) Unread() (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return 0, nil
	}
	return time.Since(s.since), s.why
}

// Agent and resource manager are not ready, and say so once, while Jobs and Pods are
// not read. A watch that ends and begins again is no trouble.
func TestFollow(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
	for name, c := range map[string]struct {
		standby time.Duration
		why     error
		lasts   time.Duration
		ready   string
		warned  int
	}{
		"an agent":                             {why: errors.New("list jobs: 503"), lasts: 3 * time.Minute, ready: "watch: jobs and pods not read for 3m0s: list jobs: 503", warned: 1},
		"a resource manager":                   {standby: standby, why: errors.New("list jobs: 503"), lasts: 3 * time.Minute, ready: "watch: jobs and pods not read for 3m0s: list jobs: 503", warned: 1},
		"a moment":                             {why: errors.New("the watch ended"), lasts: 25 * time.Second},
		"an agent without the right":           {why: forbidden, lasts: 3 * time.Minute},
		"a resource manager without the right": {standby: standby, why: forbidden, lasts: 3 * time.Minute, ready: "watch: jobs and pods not read for 3m0s: pods is forbidden: no", warned: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log lines
				logger := slog.New(slog.NewTextHandler(&log, nil))
				s := &started{health: agentstatus.NewHealth(nil), standby: c.standby, log: logger}
				copied := &stale{}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				follow := s.follow(copied)
				go func() { _ = follow(ctx) }()
				go func() { _ = s.health.Watch(ctx, logger) }()
				time.Sleep(time.Minute)
				copied.set(time.Now(), c.why)
				time.Sleep(c.lasts + time.Second)
				synctest.Wait()
				if got := strings.Join(s.health.Ready(time.Now()), "; "); got != c.ready {
					t.Errorf("after %v: got %q, want %q", c.lasts, got, c.ready)
				}
				if got := strings.Count(log.String(), "level=WARN"); got != c.warned {
					t.Errorf("got %d warnings, want %d, in\n%s", got, c.warned, log.String())
				}
				copied.set(time.Time{}, nil)
				time.Sleep(beat + time.Second)
				if got := s.health.Ready(time.Now()); len(got) > 0 {
					t.Errorf("not ready when it is over: %q", got)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// reach is a process whose cluster is a server in memory.
func reach(t *testing.T, handler http.Handler, log *slog.Logger) *started {
	t.Helper()
	server := badserver.New(t, handler)
	cluster, err := kube.NewClient(&kube.Config{REST: &rest.Config{Host: "http://cluster.test", Transport: server.Transport(t)}}, log)
	if err != nil {
		t.Fatal(err)
	}
	return &started{cfg: config.Agent{Namespace: "flows"}, cluster: cluster, health: agentstatus.NewHealth(nil), log: log}
}

// The question for the namespace ends, is said in the log and on the page, and is asked
// again until it is answered.
func TestNamespaceQuestionOutlivesAnOddAnswer(t *testing.T) {
	t.Parallel()
	const namespace = `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"flows","uid":"the-uid"}}`
	for name, fault := range map[string]http.Handler{
		"hang": http.HandlerFunc(badserver.Hang), "drip": badserver.Drip(namespace), "half": badserver.Half(namespace), "stall": badserver.Stall(namespace[:9]),
		"429": badserver.RetryAfter(429, "86400"), "503": badserver.RetryAfter(503, "86400"), "HTML": badserver.Page(200), "null": badserver.Answer("null"),
		"another kind": badserver.Answer(`{"kind":"Pod","apiVersion":"v1"}`), "no UID": badserver.Answer(strings.Replace(namespace, "uid", "no", 1)),
		"redirect": badserver.Redirect(302, "https://login.test/"), "a bomb": badserver.Gzip(badserver.Flood(namespace[:1], " ", "", 1<<23)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log lines
				logger := slog.New(slog.NewTextHandler(&log, nil))
				s := reach(t, badserver.Sequence(fault, fault, badserver.Answer(namespace)), logger)
				loop := s.health.Loop("poll", silence)
				time.AfterFunc(21*time.Second, func() {
					if got := s.health.Ready(time.Now()); !strings.Contains(log.String(), "level=WARN") || name == "hang" && len(got) == 0 {
						t.Errorf("after 21 seconds the log says %q, the page %q", log.String(), got)
					}
				})
				began := time.Now()
				place, ok := s.findPlace(t.Context(), loop)
				if took := time.Since(began); !ok || place.UID != "the-uid" || took > time.Minute {
					t.Errorf("got %v, %v after %v", place, ok, took)
				}
				if told := strings.Count(log.String(), "level=WARN"); told != 1 {
					t.Errorf("told %d times:\n%s", told, log.String())
				}
				time.Sleep(time.Minute)
			})
		})
	}
}
