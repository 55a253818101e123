package kube_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// Some large objects in a row make the pages with them small, and no others: the number
// of pages is bounded.
func TestJobsBehindLargeOnes(t *testing.T) {
	t.Parallel()
	all := make([]batchv1.Job, 3000)
	for i := range all {
		all[i] = *job(strconv.Itoa(i), strconv.Itoa(i))
		if i < 8 {
			all[i].Annotations = map[string]string{"a": strings.Repeat("x", 1<<19)}
		}
	}
	c, s := paged(t, all)
	jobs, err := c.Jobs(t.Context(), "flows", "x=y")
	if err != nil || len(jobs) != len(all) {
		t.Fatalf("got %d Jobs, %v", len(jobs), err)
	}
	if n := len(s.seen()); n > 40 {
		t.Errorf("%d requests", n)
	}
}

// Who keeps none of them may see more than fits in memory.
func TestEachJob(t *testing.T) {
	t.Parallel()
	all := make([]batchv1.Job, 34)
	for i := range all {
		all[i] = *job(strconv.Itoa(i), strconv.Itoa(i))
		all[i].Annotations = map[string]string{"a": strings.Repeat("x", 1<<20)}
	}
	c, _ := paged(t, all)
	n := 0
	if err := c.EachJob(t.Context(), "flows", "x", func(*batchv1.Job) { n++ }); err != nil || n != len(all) {
		t.Errorf("visited %d Jobs, %v", n, err)
	}
	if _, err := c.Jobs(t.Context(), "flows", "x"); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("to keep them all gives %v", err)
	}
}

// Ten thousand Jobs of 20 KB take a few hundred pages, and a server may make them smaller.
func TestManyPages(t *testing.T) {
	t.Parallel()
	c, _ := connect(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		list := &batchv1.JobList{TypeMeta: metav1.TypeMeta{Kind: "JobList", APIVersion: "batch/v1"}, Items: []batchv1.Job{*job("a", "1")}}
		if n < 500 {
			list.Continue = "more"
		}
		answer(t, w, http.StatusOK, list)
	})
	if jobs, err := c.Jobs(t.Context(), "flows", "x"); err != nil || len(jobs) != 500 {
		t.Errorf("got %d Jobs, %v", len(jobs), err)
	}
}

// paged is a server that lists Jobs, as many at once as it is asked for.
func paged(t *testing.T, all []batchv1.Job) (*kube.Client, *server) {
	t.Helper()
	return connect(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		list := &batchv1.JobList{TypeMeta: metav1.TypeMeta{Kind: "JobList", APIVersion: "batch/v1"}}
		if list.Items = all[from:min(from+limit, len(all))]; from+limit < len(all) {
			list.Continue = strconv.Itoa(from + limit)
		}
		for i, size := 0, 0; i < len(list.Items); i++ {
			if size += len(list.Items[i].Annotations["a"]); size > 3<<20 {
				list.Items = list.Items[:i] // nobody reads so much
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list) // who reads may have enough
	})
}
