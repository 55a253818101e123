package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// reach makes a client of a server in memory.
func reach(t *testing.T, handler http.Handler) (*kube.Client, *badserver.Server) {
	t.Helper()
	s := badserver.New(t, handler)
	c, err := kube.NewClient(&kube.Config{
		REST: &rest.Config{Host: "https://cluster.test:6443", BearerToken: "hunter22", Transport: s.Transport(t)}, Source: "test",
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// text is an object as the API server sends it.
func text(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// good is an API server with one Job, which it lists and streams as it was asked.
func good(t *testing.T) http.HandlerFunc {
	one := job("a", "1")
	one.Labels = map[string]string{label: "r"}
	jobs := text(t, batchv1.JobList{TypeMeta: metav1.TypeMeta{Kind: "JobList", APIVersion: "batch/v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: []batchv1.Job{*one}})
	pods := text(t, corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "7"}})
	event := fmt.Sprintf(`{"type":"ADDED","object":%s}`, text(t, one))
	return func(w http.ResponseWriter, r *http.Request) {
		isJobs, query := strings.HasSuffix(r.URL.Path, "/jobs"), r.URL.Query()
		mine := query.Get("labelSelector") == label
		switch {
		case query.Get("watch") == "true":
			initial := ""
			if query.Get("sendInitialEvents") == "true" {
				kind := map[bool]string{true: `"kind":"Job","apiVersion":"batch/v1"`, false: `"kind":"Pod","apiVersion":"v1"`}[isJobs]
				initial = fmt.Sprintf(`{"type":"BOOKMARK","object":{%s,"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}`, kind)
				if isJobs && mine {
					initial = event + "\n" + initial
				}
			}
			w.Header().Set("Content-Type", "application/json")
			badserver.Stall(initial)(w, r)
		case isJobs && mine:
			badserver.Answer(jobs)(w, r)
		case isJobs:
			badserver.Answer(strings.ReplaceAll(jobs, "items", "no_items"))(w, r)
		default:
			badserver.Answer(pods)(w, r)
		}
	}
}

// faults are answers that a list, or a watch, must not wait for, or ask for again and
// again.
func faults(t *testing.T) map[string]http.Handler {
	t.Helper()
	body := text(t, batchv1.JobList{TypeMeta: metav1.TypeMeta{Kind: "JobList", APIVersion: "batch/v1"}})
	status := func(code int, reason metav1.StatusReason) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			answer(t, w, code, metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(code), Reason: reason,
				Details: &metav1.StatusDetails{RetryAfterSeconds: 86400},
			})
		}
	}
	bookmarks := func(w http.ResponseWriter, r *http.Request) {
		kind := `"kind":"Pod","apiVersion":"v1"`
		if strings.HasSuffix(r.URL.Path, "/jobs") {
			kind = `"kind":"Job","apiVersion":"batch/v1"`
		}
		badserver.Answer(strings.Repeat(fmt.Sprintf(`{"type":"BOOKMARK","object":{%s,"metadata":{"resourceVersion":"7"}}}`, kind), 3))(w, r)
	}
	gone := `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired","message":"too old"}}`
	return map[string]http.Handler{
		"429, a day":         badserver.RetryAfter(429, "86400"),
		"503, a day":         badserver.RetryAfter(503, "86400"),
		"503, a date":        badserver.RetryAfter(503, "Fri, 31 Dec 9999 23:59:59 GMT"),
		"503, at once":       badserver.RetryAfter(503, "0"),
		"500, past numbers":  badserver.RetryAfter(500, strings.Repeat("9", 40)),
		"503, no number":     badserver.RetryAfter(503, "soon"),
		"429, in the body":   status(429, metav1.StatusReasonTooManyRequests),
		"503, in the body":   status(503, metav1.StatusReasonServiceUnavailable),
		"410":                status(410, metav1.StatusReasonExpired),
		"410, gone":          status(410, metav1.StatusReasonGone),
		"504, timeout":       status(504, metav1.StatusReasonTimeout),
		"500":                status(500, metav1.StatusReasonInternalError),
		"hang":               http.HandlerFunc(badserver.Hang),
		"drip":               badserver.Drip(body),
		"stall":              badserver.Stall(body[:20]),
		"half":               badserver.Half(body),
		"closed":             http.HandlerFunc(badserver.Close),
		"garbage":            http.HandlerFunc(badserver.Garbage),
		"HTML":               badserver.Page(200),
		"HTML of a proxy":    badserver.Page(503),
		"null":               badserver.Answer("null"),
		"nothing":            badserver.Answer(""),
		"a pod":              badserver.Answer(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"}}`),
		"redirect":           badserver.Redirect(307, "http://other.test/"),
		"a watch that ends":  http.HandlerFunc(bookmarks),
		"a watch that broke": badserver.Answer(gone),
		"an unknown event":   badserver.Answer(`{"type":"DREAMT","object":{}}`),
	}
}

// follow keeps a copy of what a server holds.
func follow(t *testing.T, c *kube.Client) *kube.Watch[brief, brief] {
	t.Helper()
	w, err := kube.NewWatch(c.JobsIn("flows"), c.PodsIn("flows"), options(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// One odd answer to the first request of each watch silences nothing for more than a
// minute, and what is wrong is known meanwhile.
func TestWatchOutlivesAnOddAnswer(t *testing.T) {
	t.Parallel()
	for name, fault := range faults(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				healthy := good(t)
				c, _ := reach(t, first(fault, healthy))
				w := follow(t, c)
				time.Sleep(75 * time.Second)
				synctest.Wait()
				if jobs, _ := w.Group("r"); len(jobs) != 1 {
					t.Errorf("the Job is not seen after 75 seconds")
				}
				if since, why := w.Unread(); since != 0 {
					t.Errorf("not read for %v: %v", since, why)
				}
			})
		})
	}
}

// first answers the first request about each kind of object with a fault.
func first(fault, then http.Handler) http.HandlerFunc {
	var jobs, pods atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) {
		seen := &pods
		if strings.HasSuffix(r.URL.Path, "/jobs") {
			seen = &jobs
		}
		if seen.CompareAndSwap(false, true) {
			fault.ServeHTTP(w, r)
			return
		}
		then.ServeHTTP(w, r)
	}
}

// Whatever a server answers for ever, it is asked less and less, and that nothing is
// read is known. What ends is followed again within a minute.
func TestOddAnswersAreNotAskedForInALoop(t *testing.T) {
	t.Parallel()
	for name, fault := range faults(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var over atomic.Bool
				c, server := reach(t, until(&over, fault, good(t)))
				w := follow(t, c)
				askedLess(t, w, server)
				over.Store(true)
				time.Sleep(time.Minute + 45*time.Second)
				synctest.Wait()
				if jobs, _ := w.Group("r"); len(jobs) != 1 {
					t.Error("the Job is not seen after the fault ended")
				}
				if since, why := w.Unread(); since != 0 {
					t.Errorf("still not read for %v: %v", since, why)
				}
			})
		})
	}
}

// askedLess lets ten minutes pass.
func askedLess(t *testing.T, w *kube.Watch[brief, brief], server *badserver.Server) {
	t.Helper()
	time.Sleep(5 * time.Minute)
	early := len(server.Requests())
	time.Sleep(5 * time.Minute)
	late := len(server.Requests()) - early
	const informers, perMinute = 4, 8
	if early > informers*(perMinute*5+10) || late > informers*perMinute*5 {
		t.Errorf("%d requests in five minutes, then %d", early, late)
	}
	if since, why := w.Unread(); since < 9*time.Minute || why == nil {
		t.Errorf("not read for %v, because of %v", since, why)
	}
}

// until answers with a fault until it is over.
func until(over *atomic.Bool, fault, then http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if over.Load() {
			then.ServeHTTP(w, r)
			return
		}
		fault.ServeHTTP(w, r)
	}
}

// calls are all requests of a Client but watches.
func calls(c *kube.Client) map[string]func(context.Context) error {
	failing := func(_ any, err error) error { return err }
	return map[string]func(context.Context) error{
		"get namespace": func(ctx context.Context) error { _, _, err := c.Place(ctx, "flows"); return err },
		"review": func(ctx context.Context) error {
			return failing(c.Allowed(ctx, kube.Access{Resource: "pods", Verb: "list"}))
		},
		"version":      func(ctx context.Context) error { return failing(c.Version(ctx)) },
		"metadata":     func(ctx context.Context) error { return failing(c.Metadata(ctx, "secrets", "flows", "s")) },
		"create":       func(ctx context.Context) error { _, _, err := c.Submit(ctx, job("a", "1")); return err },
		"dry run":      func(ctx context.Context) error { return failing(c.DryRun(ctx, job("a", "1"))) },
		"delete":       func(ctx context.Context) error { return c.Delete(ctx, "flows", "a", "u", "7") },
		"delete a pod": func(ctx context.Context) error { return c.DeletePod(ctx, "flows", "p", "u") },
		"patch":        func(ctx context.Context) error { return c.Stop(ctx, "flows", "a", "u", "7") },
		"log":          func(ctx context.Context) error { return failing(c.PodLog(ctx, "flows", "p", "flow", false, 100, 1000)) },
		"events":       func(ctx context.Context) error { return failing(c.Events(ctx, "flows", "a")) },
		"warnings":     func(ctx context.Context) error { return failing(c.Warnings(ctx, "flows")) },
		"jobs":         func(ctx context.Context) error { return failing(c.Jobs(ctx, "flows", "x=y")) },
		"pods":         func(ctx context.Context) error { return failing(c.Pods(ctx, "flows", "x=y")) },
	}
}

// Each request ends within its limit, whatever the server answers for ever.
func TestEveryRequestEnds(t *testing.T) {
	t.Parallel()
	for name, fault := range faults(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, server := reach(t, fault)
				for call, do := range calls(c) {
					endsInTime(t, call, do, server)
				}
			})
		})
	}
}

func endsInTime(t *testing.T, call string, do func(context.Context) error, server *badserver.Server) {
	t.Helper()
	// A create is sent again until its context ends.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	before, began := len(server.Requests()), time.Now()
	err := do(ctx)
	if took := time.Since(began); took > 61*time.Second && call != "create" {
		t.Errorf("%s took %v", call, took)
	}
	if sent := len(server.Requests()) - before; sent > 130 {
		t.Errorf("%s was sent %d times", call, sent)
	}
	wordless := strings.HasPrefix(call, "delete") || call == "log" || call == "metadata" // they need no certain word of the answer
	if err == nil && !wordless {
		t.Errorf("%s: no error", call)
	}
}

// The token of the cluster follows no redirect.
func TestTokenFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"http://cluster.test:6443/elsewhere", "https://cluster.test:7443/elsewhere", "https://other.test:6443/elsewhere", "/elsewhere",
	} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			synctest.Test(t, func(t *testing.T) { refuseRedirect(t, code, target) })
		}
	}
}

func refuseRedirect(t *testing.T, code int, target string) {
	t.Helper()
	c, server := reach(t, badserver.Redirect(code, target))
	for call, do := range calls(c) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := do(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "/elsewhere") || !strings.Contains(err.Error(), "API server itself") || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%d to %s, %s: got %v, want an error with the address and what to do", code, target, call, err)
		}
	}
	for _, r := range server.Requests() {
		if r.Host != "cluster.test:6443" || r.Scheme != "https" || r.Path == "/elsewhere" {
			t.Errorf("%d to %s: %s://%s%s was asked", code, target, r.Scheme, r.Host, r.Path)
		}
	}
}

// A clean stop in the middle of an answer leaves no line that worries anybody.
func TestCleanStopIsQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := badserver.New(t, badserver.Stall(`{"kind":"JobList",`))
		c, err := kube.NewClient(&kube.Config{REST: &rest.Config{Host: "http://cluster.test", Transport: s.Transport(t)}}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		if _, err := c.Jobs(ctx, "flows", ""); err == nil || log.String() != "" {
			t.Errorf("got %v and the lines %s", err, log.String())
		}
	})
}
