package template_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/template"
)

// asks counts requests, and answers each by its path.
type asks struct {
	mu sync.Mutex
	n  map[string]int
	// stuck holds up requests whatever their context says.
	stuck chan struct{}
}

func (a *asks) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.n[r.URL.Path]++
	a.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/slow"):
		<-r.Context().Done()
		return nil, r.Context().Err()
	case r.URL.Path == "/stuck":
		<-a.stuck
		return nil, errors.New("reset")
	}
	status := http.StatusOK
	if r.URL.Path == "/busy" {
		status = http.StatusServiceUnavailable
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
}

func (a *asks) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n[path]
}

func (a *asks) loader() *template.Loader {
	a.n, a.stuck = map[string]int{}, make(chan struct{})
	return template.New(template.Options{Sources: template.AnySource(), Base: a})
}

// Whoever asks, a template is fetched once a minute, and a refusal counts as long.
func TestOneRequestAMinute(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/job.yaml", "/busy", "/slow"} {
		synctest.Test(t, func(t *testing.T) {
			var a asks
			l := a.loader()
			began := time.Now()
			for minute := 1; minute <= 2; minute++ {
				var group sync.WaitGroup
				for range 25 {
					group.Go(func() { _, _ = l.Read(t.Context(), "https://host"+path) })
				}
				group.Wait()
				if a.count(path) != minute {
					t.Errorf("%s: %d requests in minute %d, want one a minute", path, a.count(path), minute)
				}
				time.Sleep(time.Minute)
			}
			if took := time.Since(began) - 2*time.Minute; took > 21*time.Second {
				t.Errorf("%s: waited %v beside the minutes, want the time limit once for each", path, took)
			}
		})
	}
}

func TestAFileIsReadForEachJob(t *testing.T) {
	t.Parallel()
	l := template.New(template.Options{})
	file := filepath.Join(t.TempDir(), "job.yaml")
	for _, text := range []string{"", "one", "two"} {
		if text != "" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := l.Read(t.Context(), file); string(got) != text || (err == nil) != (text != "") {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	}
}

// Slow addresses, as many as there are, keep nobody else waiting; who has less time
// than the read goes, and finds what became of it later.
func TestSlowAddressesHoldUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a asks
		l := a.loader()
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		var group sync.WaitGroup
		for i := range 300 {
			group.Go(func() {
				if _, err := l.Read(ctx, fmt.Sprintf("https://host/slow-%d", i)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want the end of its own time", err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if _, err := l.Read(t.Context(), "https://host/job.yaml"); err != nil || time.Since(began) > 0 {
			t.Errorf("got %v after %v behind slow ones", err, time.Since(began))
		}
		group.Wait()
		want{"https://host/slow-7", "", "was not there after 10s"}.check(t, l)
		if took := time.Since(began); took != 10*time.Second || a.count("/slow-7") != 1 {
			t.Errorf("the second reader waited until %v with %d requests, want 10 s and one", took, a.count("/slow-7"))
		}
	})
}

// Reads beyond a bound are not tried, which is no fault of their paths.
func TestTooManySlowAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a asks
		l := a.loader()
		for i := range 512 {
			go func() { _, _ = l.Read(t.Context(), fmt.Sprintf("https://host/slow-%d", i)) }()
		}
		synctest.Wait()
		_, err := l.Read(t.Context(), "https://host/job.yaml")
		if e, ok := errors.AsType[*template.Error](err); !ok || !e.Busy() || a.count("/job.yaml") != 0 {
			t.Errorf("got %v", err)
		}
		time.Sleep(11 * time.Second)
		if _, err := l.Read(t.Context(), "https://host/job.yaml"); err != nil {
			t.Errorf("then got %v", err)
		}
	})
}

// What heeds no time limit, as a client that opens a pipe, is given up, and tried
// again only when it has ended.
func TestWhatHangsHangsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a asks
		l := a.loader()
		for range 3 {
			want{"https://host/stuck", "", "was not there after 10s"}.check(t, l)
			time.Sleep(2 * time.Minute)
		}
		if a.count("/stuck") != 1 {
			t.Errorf("tried %d times while the first hangs", a.count("/stuck"))
		}
		close(a.stuck)
		synctest.Wait()
		want{"https://host/stuck", "", "reset"}.check(t, l)
		if a.count("/stuck") != 2 {
			t.Errorf("tried %d times, want once more", a.count("/stuck"))
		}
	})
}

func TestCloseEndsReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a asks
		l, began := a.loader(), time.Now()
		time.AfterFunc(time.Second, l.Close)
		if _, err := l.Read(t.Context(), "https://host/slow"); err == nil || time.Since(began) > 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

// Few answers are remembered, and only for so long as they are small.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	server := badserver.New(t, badserver.Answer(strings.Repeat("x", 1<<20)))
	l := template.New(template.Options{Sources: template.AnySource(), Base: server.Transport(t)})
	for range 2 {
		for i := range 20 {
			if _, err := l.Read(t.Context(), fmt.Sprintf("http://host/%d", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := len(server.Requests()); got != 40 {
		t.Errorf("%d requests for twice 20 MiB, want each one forgotten for the others", got)
	}
}

// What a server says of its refusal is told, on one line, of the agent's own template.
func TestReasons(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`<?xml version='1.0'?><Error><Code>UserProjectMissing</Code><Message>Bucket is requester pays.</Message></Error>`: "400 Bad Request: UserProjectMissing Bucket is requester pays.",
		`{"error": {"code": 400, "message": "Bucket is\trequester pays"}}`:                                                "400 Bad Request: Bucket is requester pays",
		`{"detail": "no"}`: "400 Bad Request: no", `{"error": "no such thing"}`: "400 Bad Request: no such thing",
		"<html><head><title>x</title></head><body><h1>400 Bad Request</h1></body></html>": "400 Bad Request;", "": "400 Bad Request;",
		"go \x1b[2J away\x00": "400 Bad Request: go \ufffd[2J away\ufffd", strings.Repeat("a", 5000): strings.Repeat("a", 290),
	} {
		server := badserver.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(body))
		}))
		own := template.New(template.Options{Own: "http://host/job.yaml", Base: server.Transport(t)})
		_, err := own.Read(t.Context(), "http://host/job.yaml")
		if err == nil || !strings.Contains(err.Error()+";", want) || len(err.Error()) > 500 {
			t.Errorf("%.60q: got %v, want %q in it", body, err, want)
		}
		if _, err := own.Read(t.Context(), "http://host/of/a/flow.yaml"); err == nil || strings.Contains(err.Error(), "requester") {
			t.Errorf("%.60q: got %v, want no words of a server that a flow's author chose", body, err)
		}
	}
}
