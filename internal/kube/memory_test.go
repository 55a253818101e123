//go:build !race

// The race detector needs several times the memory, so these tests run without it.

package kube_test

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
)

// used is the memory that the process has from the system.
func used() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// asProtobuf is a list of Pods as the API server prefers to send it.
func asProtobuf(t *testing.T, list *corev1.PodList) http.HandlerFunc {
	t.Helper()
	scheme := apiruntime.NewScheme()
	mustNot(t, corev1.AddToScheme(scheme))
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	var data bytes.Buffer
	mustNot(t, protobuf.NewSerializer(scheme, scheme).Encode(list, &data))
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		_, _ = w.Write(data.Bytes())
	}
}

// recorded lets the server pack its answer once, so that its own memory does not count.
func recorded(handler http.Handler) http.HandlerFunc {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return func(to http.ResponseWriter, _ *http.Request) {
		maps.Copy(to.Header(), w.Header())
		_, _ = to.Write(w.Body.Bytes())
	}
}

func failing(handler http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(failed{w}, r) }
}

// failed turns an answer into one of status 500.
type failed struct{ http.ResponseWriter }

func (f failed) Write(p []byte) (int, error) {
	f.WriteHeader(http.StatusInternalServerError)
	return f.ResponseWriter.Write(p)
}

// bombs are answers that would become much more memory than they are long.
func bombs(t *testing.T) map[string]http.Handler {
	t.Helper()
	const list, many = `{"kind":"JobList","apiVersion":"batch/v1","metadata":{"resourceVersion":"7"},"items":[`, 30 << 20
	pod := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","uid":"u"},"spec":{"containers":[`
	event := `{"type":"ADDED","object":` + pod
	small := func(before, text, after string, bytes int) http.Handler {
		return recorded(badserver.Gzip(badserver.Flood(before, text, after, bytes/len(text))))
	}
	flood := func(before, text, after string) http.Handler { return small(before, text, after, many) }
	containers := &corev1.PodList{}
	containers.Items = []corev1.Pod{{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 50_000)}}}
	return map[string]http.Handler{
		"empty objects":       flood(list, `{},`, `{}]}`),
		"null objects":        flood(list, `null,`, `null]}`),
		"empty, that fit":     small(list, `{},`, `{}]}`, 2_000_000),
		"null, that fit":      small(list, `null,`, `null]}`, 2_000_000),
		"lists in lists":      small(list, `[`, ``, 2_000_000),
		"objects in objects":  small(list, `{"a":`, ``, 2_000_000),
		"labels":              small(`{"kind":"JobList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"labels":{"b":""`, `,"a":""`, `}}}]}`, 2_000_000),
		"containers that fit": small(pod, `{},`, `{}]}}`, 2_000_000),
		"a long text":         flood(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"`, `flows`, `"}}`),
		"spaces":              flood(` `, `          `, ` `),
		"a large event":       flood(event, `{"name":"c"},`, `{}]}}}`),
		"events":              small(``, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7"}}}`, ``, 100_000),
		"a text of an error":  failing(flood(`x`, `yyyy`, `z`)),
		"protobuf":            asProtobuf(t, &corev1.PodList{Items: make([]corev1.Pod, 60_000)}),
		"containers":          asProtobuf(t, containers),
	}
}

// Whatever the API server answers, to all requests and four watches at once, it takes
// less than 64 MiB more than without it. The limit is one such as the process sets
// itself in a container; it makes the collector work, and cannot hold what is in use.
func TestHostileAnswersFitInMemory(t *testing.T) { //nolint:paralleltest // it looks at the memory of the whole process
	for name, bomb := range bombs(t) {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // as above
			debug.FreeOSMemory()
			idle := used()
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(idle) + 40<<20))
			var peak atomic.Uint64
			done := make(chan struct{})
			go sample(&peak, done)
			synctest.Test(t, func(t *testing.T) {
				c, _ := reach(t, bomb)
				follow(t, c)
				for _, do := range calls(c) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_ = do(ctx)
					cancel()
				}
				time.Sleep(5 * time.Second)
			})
			done <- struct{}{}
			const most = 64 << 20
			more := peak.Load() - min(idle, peak.Load())
			t.Logf("%d MiB more than idle", more>>20)
			if more > most {
				t.Errorf("%d MiB more than the %d MiB before", more>>20, idle>>20)
			}
		})
	}
}

// sample looks as often as it can.
func sample(peak *atomic.Uint64, done <-chan struct{}) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			peak.Store(max(peak.Load(), used()))
		}
	}
}
