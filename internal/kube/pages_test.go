package kube_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	c, s := connect(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		list := &batchv1.JobList{TypeMeta: metav1.TypeMeta{Kind: "JobList", APIVersion: "batch/v1"}}
		if list.Items = all[from:min(from+limit, len(all))]; from+limit < len(all) {
			list.Continue = strconv.Itoa(from + limit)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list) // who reads may have enough
	})
	jobs, err := c.Jobs(t.Context(), "flows", "x=y")
	if err != nil || len(jobs) != len(all) {
		t.Fatalf("got %d Jobs, %v", len(jobs), err)
	}
	if n := len(s.seen()); n > 40 {
		t.Errorf("%d requests", n)
	}
}
