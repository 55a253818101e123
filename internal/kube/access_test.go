package kube_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

func TestAllowed(t *testing.T) {
	t.Parallel()
	logs := kube.Access{Namespace: "flows", Resource: "pods/log", Verb: "get"}
	for name, c := range map[string]struct {
		status authorizationv1.SubjectAccessReviewStatus
		refuse *apierrors.StatusError
		want   bool
		err    string
	}{
		"allowed":                {status: authorizationv1.SubjectAccessReviewStatus{Allowed: true, EvaluationError: "a role is gone"}, want: true},
		"denied":                 {status: authorizationv1.SubjectAccessReviewStatus{Reason: "no"}},
		"not known":              {status: authorizationv1.SubjectAccessReviewStatus{EvaluationError: "webhook away"}, err: "webhook away"},
		"the review is refused":  {refuse: apierrors.NewForbidden(schema.GroupResource{Resource: "selfsubjectaccessreviews"}, "", nil), err: "403 Forbidden"},
		"the review is not had":  {refuse: apierrors.NewNotFound(schema.GroupResource{Resource: "selfsubjectaccessreviews"}, ""), err: "404 NotFound"},
		"the server is starting": {refuse: apierrors.NewInternalError(http.ErrServerClosed), err: "500 InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := connect(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				if c.refuse != nil {
					refuse(t, w, c.refuse)
					return
				}
				answer(t, w, http.StatusCreated, authorizationv1.SelfSubjectAccessReview{
					TypeMeta: metav1.TypeMeta{Kind: "SelfSubjectAccessReview", APIVersion: "authorization.k8s.io/v1"}, Status: c.status,
				})
			})
			got, err := client.Allowed(t.Context(), logs)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, %v; want %v, %q", got, err, c.want, c.err)
			}
			const path = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
			if seen, query, _ := strings.Cut(server.seen()[0], "?"); seen != path || !strings.HasPrefix(query, "timeout=") {
				t.Errorf("asked for %s with %s", seen, query)
			}
			var review authorizationv1.SelfSubjectAccessReview
			if err := json.Unmarshal([]byte(server.bodies[0]), &review); err != nil {
				t.Fatal(err)
			}
			want := &authorizationv1.ResourceAttributes{Namespace: "flows", Verb: "get", Resource: "pods", Subresource: "log"}
			if diff := cmp.Diff(want, review.Spec.ResourceAttributes); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{`{"gitVersion":"v1.33.1"}`: "v1.33.1", `{}`: "", `<html>`: ""} {
		client, _ := connect(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		got, err := client.Version(t.Context())
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v", body, got, err)
		}
	}
}

// Of a Secret nothing is asked for but that it is there.
func TestMetadata(t *testing.T) {
	t.Parallel()
	client, _ := connect(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if accept := r.Header.Get("Accept"); !strings.Contains(accept, "as=PartialObjectMetadata") {
			t.Errorf("accepts %q", accept)
		}
		switch r.URL.Path {
		case "/api/v1/namespaces/flows/secrets/there", "/api/v1/namespaces/flows":
			answer(t, w, http.StatusOK, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "x"}})
		case "/api/v1/namespaces/flows/secrets/gone":
			refuse(t, w, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "gone"))
		default:
			refuse(t, w, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "hidden", nil))
		}
	})
	for _, c := range []struct {
		resource, namespace, name string
		is                        func(error) bool
	}{
		{"secrets", "flows", "there", nil},
		{"namespaces", "", "flows", nil},
		{"secrets", "flows", "gone", apierrors.IsNotFound},
		{"secrets", "flows", "hidden", apierrors.IsForbidden},
	} {
		meta, err := client.Metadata(t.Context(), c.resource, c.namespace, c.name)
		if (meta != nil) != (c.is == nil) || (err != nil) != (c.is != nil) || c.is != nil && !c.is(err) {
			t.Errorf("%s: got %v, %v", c.name, meta, err)
		}
	}
}
