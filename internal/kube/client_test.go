package kube_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// server is an API server that answers by script and remembers what it was asked.
type server struct {
	mu       sync.Mutex
	requests []string
	bodies   []string
	handle   func(n int, w http.ResponseWriter, r *http.Request)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	s.bodies = append(s.bodies, string(body))
	n := len(s.requests)
	s.mu.Unlock()
	s.handle(n, w, r)
}

func (s *server) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

func connect(t *testing.T, handle func(n int, w http.ResponseWriter, r *http.Request)) (*kube.Client, *server) {
	t.Helper()
	s := &server{handle: handle}
	hs := httptest.NewServer(s)
	t.Cleanup(hs.Close)
	c, err := kube.NewClient(&kube.Config{REST: &rest.Config{QPS: -1, Host: hs.URL}, Source: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hs.CloseClientConnections)
	return c, s
}

func answer(t *testing.T, w http.ResponseWriter, code int, obj any) {
	t.Helper()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(obj); err != nil {
		t.Error(err)
	}
}

func refuse(t *testing.T, w http.ResponseWriter, err *apierrors.StatusError) {
	t.Helper()
	status := err.ErrStatus
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	answer(t, w, int(status.Code), status)
}

func exists(name string) *apierrors.StatusError {
	return apierrors.NewAlreadyExists(batchv1.Resource("jobs"), name)
}

func job(name, uid string) *batchv1.Job {
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{Kind: "Job", APIVersion: "batch/v1"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "flows", UID: types.UID("uid-" + uid)},
	}
}

type submitCase struct {
	handle   func(n int, w http.ResponseWriter, r *http.Request)
	created  bool
	requests int
	fails    func(error) bool
}

func submitCases(t *testing.T, stored *batchv1.Job) map[string]submitCase {
	t.Helper()
	ok := func(w http.ResponseWriter) { answer(t, w, http.StatusCreated, stored) }
	return map[string]submitCase{
		"created": {
			handle:  func(_ int, w http.ResponseWriter, _ *http.Request) { ok(w) },
			created: true, requests: 1,
		},
		"exists": {
			handle: func(_ int, w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					refuse(t, w, exists("a"))
					return
				}
				answer(t, w, http.StatusOK, stored)
			},
			requests: 2,
		},
		"exists and vanished is not created again": {
			handle: func(_ int, w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					refuse(t, w, exists("a"))
					return
				}
				refuse(t, w, apierrors.NewNotFound(batchv1.Resource("jobs"), "a"))
			},
			requests: 2,
			fails:    func(err error) bool { v, ok := errors.AsType[*kube.VanishedError](err); return ok && v.Job == "a" },
		},
		"server error passes": {
			handle: func(n int, w http.ResponseWriter, _ *http.Request) {
				if n < 3 {
					refuse(t, w, apierrors.NewInternalError(errors.New("etcd")))
					return
				}
				ok(w)
			},
			created: true, requests: 3,
		},
		"lost answer after the effect": {
			handle: func(n int, w http.ResponseWriter, r *http.Request) {
				switch {
				case n == 1:
					hijack(t, w)
				case r.Method == http.MethodPost:
					refuse(t, w, exists("a"))
				default:
					answer(t, w, http.StatusOK, stored)
				}
			},
			requests: 3,
		},
		"refusal is final": {
			handle: func(_ int, w http.ResponseWriter, _ *http.Request) {
				refuse(t, w, apierrors.NewForbidden(batchv1.Resource("jobs"), "a", errors.New("no")))
			},
			requests: 1,
			fails: func(err error) bool {
				e, ok := errors.AsType[*kube.Error](err)
				return ok && !e.Temporary() && apierrors.IsForbidden(err) && strings.Contains(err.Error(), `grant the verb "create" on jobs`)
			},
		},
	}
}

func TestSubmit(t *testing.T) {
	t.Parallel()
	stored := job("a", "1")
	tests := submitCases(t, stored)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := connect(t, tt.handle)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			got, created, err := c.Submit(ctx, job("a", "1"))
			if len(s.seen()) != tt.requests {
				t.Errorf("got %d requests, want %d: %q", len(s.seen()), tt.requests, s.seen())
			}
			switch {
			case tt.fails != nil:
				if err == nil || !tt.fails(err) {
					t.Errorf("got error %v", err)
				}
			case err != nil || created != tt.created || got.UID != stored.UID:
				t.Errorf("got %v, created %t, %v; want created %t", got, created, err, tt.created)
			}
		})
	}
}

func hijack(t *testing.T, w http.ResponseWriter) {
	t.Helper()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_ = conn.Close()
}

func TestSubmitTellsTheServerItsDeadline(t *testing.T) {
	t.Parallel()
	var left time.Duration
	c, _ := connect(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		left, _ = time.ParseDuration(r.URL.Query().Get("timeout"))
		answer(t, w, http.StatusCreated, job("a", "1"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := c.Submit(ctx, job("a", "1")); err != nil {
		t.Fatal(err)
	}
	if left <= 0 || left > 10*time.Second {
		t.Errorf("got timeout %v, want more than 0 and at most 10s", left)
	}
}

func TestSubmitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, _ := connect(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		refuse(t, w, apierrors.NewTooManyRequests("busy", 60))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _, err := c.Submit(ctx, job("a", "1"))
	if e, ok := errors.AsType[*kube.Error](err); !ok || !e.Temporary() {
		t.Errorf("got %v, want a temporary error", err)
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	closed := false
	handle := func(_ int, w http.ResponseWriter, r *http.Request) {
		switch name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; {
		case name == "flows" && !closed:
			answer(t, w, http.StatusOK, &corev1.Namespace{
				TypeMeta: metav1.TypeMeta{Kind: "Namespace", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: name, UID: "the-uid"},
			})
		case name == "none":
			refuse(t, w, apierrors.NewNotFound(corev1.Resource("namespaces"), name))
		default:
			refuse(t, w, apierrors.NewForbidden(corev1.Resource("namespaces"), name, errors.New("no")))
		}
	}
	hs := httptest.NewServer(&server{handle: handle})
	t.Cleanup(hs.Close)
	var log bytes.Buffer
	c, err := kube.NewClient(&kube.Config{REST: &rest.Config{Host: hs.URL}, Source: "test"}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	place := func(namespace string) (uid, digest string) {
		t.Helper()
		uid, digest, err := c.Place(t.Context(), namespace)
		if err != nil {
			t.Fatal(err)
		}
		return uid, digest
	}
	uid, digest := place("flows")
	if uid != "the-uid" || digest == "" {
		t.Errorf("got %q and %q, want the UID, and what stands for it where it may not be read", uid, digest)
	}
	closed = true // as an API server does for a moment after its start
	if got, _, err := c.Place(t.Context(), "flows"); err == nil {
		t.Errorf("a namespace whose UID was known is now %q, want an error", got)
	}
	other, err := kube.NewClient(&kube.Config{REST: &rest.Config{Host: hs.URL}, Source: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got, same, err := other.Place(t.Context(), "flows"); got != "" || same != digest || err != nil {
		t.Errorf("who may not read the namespace knows it as %q, %q, %v; want %q", got, same, err, digest)
	}
	_, a := place("secret")
	_, b := place("other")
	if _, again := place("secret"); a == b || a != again || a == digest {
		t.Errorf("got %q and %q, want two stable digests", a, b)
	}
	if told := strings.Count(log.String(), "own namespace not readable"); told != 2 {
		t.Errorf("told %d times that two namespaces cannot be read", told)
	}
	_, _, err = c.Place(t.Context(), "none")
	if e, ok := errors.AsType[*kube.NamespaceError](err); !ok || e.Namespace != "none" {
		t.Errorf("got %v, want a NamespaceError", err)
	}
}

// What is no namespace, or another one, is not taken for one whose UID is not known.
func TestPlaceOfAnOddAnswer(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`null`, `{}`, `[]`, `"flows"`, `<html>`, ``, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"flows","uid":"u"}}`,
		`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"flows"}}`, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"other","uid":"u"}}`,
		`{"kind":"NamespaceList","apiVersion":"v1","items":[]}`, `{"kind":"Status","apiVersion":"v1","status":"Success"}`,
	} {
		c, _ := connect(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		})
		uid, digest, err := c.Place(t.Context(), "flows")
		if e, ok := errors.AsType[*kube.Error](err); !ok || !e.Temporary() || uid != "" || digest != "" {
			t.Errorf("%s: got %q, %q, %v; want an error that may pass", body, uid, digest, err)
		}
	}
}

func TestJobsFollowsPagesAndBeginsAgainWhenTheTokenExpires(t *testing.T) {
	t.Parallel()
	expired := false
	c, s := connect(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		list := &batchv1.JobList{TypeMeta: metav1.TypeMeta{Kind: "JobList", APIVersion: "batch/v1"}}
		switch token := r.URL.Query().Get("continue"); {
		case token == "":
			list.Items, list.Continue = []batchv1.Job{*job("a", "1")}, "next"
		case !expired:
			expired = true
			refuse(t, w, apierrors.NewResourceExpired("old token"))
			return
		default:
			list.Items = []batchv1.Job{*job("b", "2")}
		}
		answer(t, w, http.StatusOK, list)
	})
	jobs, err := c.Jobs(t.Context(), "flows", "x=y")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, j := range jobs {
		names = append(names, j.Name)
	}
	if diff := cmp.Diff([]string{"a", "b"}, names); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	const first = "GET /apis/batch/v1/namespaces/flows/jobs?labelSelector=x%3Dy&limit=500"
	const second = "GET /apis/batch/v1/namespaces/flows/jobs?continue=next&labelSelector=x%3Dy&limit=500"
	if diff := cmp.Diff([]string{first, second, first, second}, s.seen()); diff != "" {
		t.Errorf("requests, which ask for no resourceVersion (-want +got):\n%s", diff)
	}
}

func TestDeleteNamesWhatWasLookedAt(t *testing.T) {
	t.Parallel()
	gone := false
	c, s := connect(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		if gone {
			refuse(t, w, apierrors.NewNotFound(batchv1.Resource("jobs"), "a"))
			return
		}
		answer(t, w, http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Success"})
	})
	for range 2 {
		if err := c.Delete(t.Context(), "flows", "a", "the-uid", "42"); err != nil {
			t.Fatal(err)
		}
		gone = true
	}
	var sent metav1.DeleteOptions
	if err := json.Unmarshal([]byte(s.bodies[0]), &sent); err != nil {
		t.Fatal(err)
	}
	if *sent.PropagationPolicy != metav1.DeletePropagationBackground || *sent.Preconditions.UID != "the-uid" || *sent.Preconditions.ResourceVersion != "42" {
		t.Errorf("got %s", s.bodies[0])
	}
}

// An address that cannot be taken apart is not shown: it may have a password in it.
func TestUnusableAddressIsNotShown(t *testing.T) {
	t.Parallel()
	_, err := kube.NewClient(&kube.Config{REST: &rest.Config{Host: "https://u:pass%word@cluster.test"}, Source: "test"}, slog.New(slog.DiscardHandler))
	if err == nil || strings.Contains(err.Error(), "pass") || !strings.Contains(err.Error(), "client for test") {
		t.Errorf("got %v, want an error without the address", err)
	}
}

func TestStopNamesWhatWasLookedAt(t *testing.T) {
	t.Parallel()
	answers := []*apierrors.StatusError{
		nil, apierrors.NewNotFound(batchv1.Resource("jobs"), "a"), apierrors.NewConflict(batchv1.Resource("jobs"), "a", errors.New("changed")),
	}
	c, s := connect(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Content-Type"); got != string(types.MergePatchType) {
			t.Errorf("got content type %q", got)
		}
		if refusal := answers[n-1]; refusal != nil {
			refuse(t, w, refusal)
			return
		}
		answer(t, w, http.StatusOK, job("a", "1"))
	})
	for n := range answers {
		if err := c.Stop(t.Context(), "flows", "a", "the-uid", "42"); apierrors.IsConflict(err) != (n == 2) || (err != nil) != (n == 2) {
			t.Errorf("request %d: got %v", n, err)
		}
	}
	const want = `{"metadata":{"resourceVersion":"42","uid":"the-uid"},"spec":{"parallelism":0}}`
	if s.bodies[0] != want || s.requests[0] != "PATCH /apis/batch/v1/namespaces/flows/jobs/a" {
		t.Errorf("got %s with %s, want %s", s.requests[0], s.bodies[0], want)
	}
}

func TestPodLogKeepsTheEnd(t *testing.T) {
	t.Parallel()
	c, s := connect(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, strings.Repeat("begin\n", 40000), "the \xffend\n")
	})
	got, err := c.PodLog(t.Context(), "flows", "p", "flow", true, 100, 9)
	if err != nil {
		t.Fatal(err)
	}
	if want := "the ?end\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	const want = "GET /api/v1/namespaces/flows/pods/p/log?container=flow&previous=true&tailLines=100"
	if diff := cmp.Diff([]string{want}, s.seen()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestServerNowFollowsTheServersClock(t *testing.T) {
	t.Parallel()
	ahead := time.Hour
	c, _ := connect(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		answer(t, w, http.StatusOK, &batchv1.JobList{TypeMeta: metav1.TypeMeta{Kind: "JobList", APIVersion: "batch/v1"}})
	})
	if off := time.Until(c.ServerNow()); off.Abs() > time.Second {
		t.Errorf("before any answer the clock is off by %v", off)
	}
	if _, err := c.Jobs(t.Context(), "flows", ""); err != nil {
		t.Fatal(err)
	}
	if off := time.Until(c.ServerNow()) - ahead; off.Abs() > 2*time.Second {
		t.Errorf("got %v off the server's clock", off)
	}
}
