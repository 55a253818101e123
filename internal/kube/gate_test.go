package kube_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func ask(ctx context.Context, through http.RoundTripper) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://c.example", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := through.RoundTrip(req)
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}

// A login that does not answer takes no request longer than its own limit, no stop
// waits for it, and nothing piles up behind it. Once it answers, all goes on.
func TestALoginThatHangsEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		free := make(chan struct{})
		gate := kube.GateOver(roundTrip(func(req *http.Request) (*http.Response, error) {
			calls.Add(1)
			<-free
			kube.Sent(req.Context())
			return &http.Response{Body: io.NopCloser(strings.NewReader(""))}, req.Context().Err()
		}), "get-token", "for", "--secret=canary-55")
		for i := range 50 {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := ask(ctx, gate)
			cancel()
			e, ok := errors.AsType[*kube.LoginError](err)
			if !ok || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 20*time.Second {
				t.Fatalf("request %d: got %v after %v", i, err, time.Since(began))
			}
			if text := e.Problem + e.Mend; !strings.Contains(text, `the exec plugin "get-token" of user "me"`) || !strings.Contains(text, "get-token for …;") || strings.Contains(text, "canary") {
				t.Fatalf("got %q, want the plugin, how to run it, and none of its options", text)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := ask(ctx, gate); !errors.Is(err, context.Canceled) || calls.Load() != 1 {
			t.Errorf("got %v after %d calls, want one call, and that a stop ends the wait", err, calls.Load())
		}
		close(free)
		synctest.Wait()
		if err := ask(t.Context(), gate); err != nil || calls.Load() != 2 {
			t.Errorf("got %v after %d calls, want that it goes on", err, calls.Load())
		}
	})
}

// A request that has its credential keeps no other from logging in.
func TestALoginIsFreeOnceARequestIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waiting, answers := 0, make(chan struct{})
		gate := kube.GateOver(roundTrip(func(req *http.Request) (*http.Response, error) {
			waiting++
			kube.Sent(req.Context())
			<-answers
			return &http.Response{Body: http.NoBody}, nil
		}), "get-token")
		ended := make(chan error, 3)
		for range cap(ended) {
			go func() { ended <- ask(t.Context(), gate) }()
		}
		synctest.Wait()
		if waiting != cap(ended) {
			t.Errorf("%d requests are sent, want all %d", waiting, cap(ended))
		}
		close(answers)
		for range cap(ended) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// Only what fails before a request is sent is a matter of the login. client-go asks the
// plugin again after a 401 too, and that has the same limit.
func TestWhatFailsBehindTheLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost, end := errors.New("lost"), make(chan struct{})
		defer close(end)
		for name, c := range map[string]struct {
			next  roundTrip
			want  error
			login bool
		}{
			"before": {func(*http.Request) (*http.Response, error) { return nil, lost }, lost, true},
			"after":  {func(req *http.Request) (*http.Response, error) { kube.Sent(req.Context()); return nil, lost }, lost, false},
			"again": {func(req *http.Request) (*http.Response, error) {
				kube.Sent(req.Context())
				<-end
				return &http.Response{Body: io.NopCloser(strings.NewReader(""))}, nil
			}, context.DeadlineExceeded, false},
		} {
			gate := kube.GateOver(c.next, "get-token")
			for try := range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				err := ask(ctx, gate)
				cancel()
				if _, login := errors.AsType[*kube.LoginError](err); !errors.Is(err, c.want) || login != c.login {
					t.Errorf("%s, try %d: got %v", name, try, err)
				}
			}
		}
	})
}
