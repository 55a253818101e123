package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// refusing answers the nth create.
type refusing func(n int, r *http.Request) (code int, reason, message string, err error)

type refusals struct {
	answer refusing
	n      int
}

func (s *refusals) RoundTrip(r *http.Request) (*http.Response, error) {
	s.n++
	code, reason, message, err := s.answer(s.n, r)
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": %d, "reason": %q, "message": %q}`, code, reason, message)
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

// An answer that does not change is told after ten seconds, whatever its message says
// beside; what changes or is no answer is tried on until the time is up, and the last
// answer is what the error holds.
func TestRefusalsThatLast(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer refusing
		want   string
		lasts  bool
	}{
		"the same 500": {func(int, *http.Request) (int, string, string, error) {
			return 500, "", "resourceVersion should not be set on objects to be created", nil
		}, "resourceVersion should not be set", true},
		"another message each time": {func(n int, _ *http.Request) (int, string, string, error) {
			return 500, "InternalError", fmt.Sprintf("failed calling webhook, request %d", n), nil
		}, "failed calling webhook", true},
		"one after the other": {func(n int, _ *http.Request) (int, string, string, error) {
			return 500 + 3*(n%2), []string{"InternalError", "ServiceUnavailable"}[n%2], "busy", nil
		}, "busy", false},
		"no connection": {func(int, *http.Request) (int, string, string, error) {
			return 0, "", "", errors.New("connection refused")
		}, "connection refused", false},
		"one answer, then silence": {func(n int, r *http.Request) (int, string, string, error) {
			if n == 1 {
				return 500, "InternalError", "the database is away", nil
			}
			<-r.Context().Done()
			return 0, "", "", r.Context().Err()
		}, "the database is away", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, err := kube.NewClient(&kube.Config{REST: &rest.Config{Host: "http://cluster", QPS: -1, Transport: &refusals{answer: c.answer}}}, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				began := time.Now()
				_, _, err = client.Submit(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j", Namespace: "n"}})
				failed, ok := errors.AsType[*kube.Error](err)
				if !ok || failed.Lasts() != c.lasts || !failed.Temporary() || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q, lasting %v", err, c.want, c.lasts)
				}
				if took := time.Since(began); c.lasts && took > 16*time.Second || took > 30*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}
