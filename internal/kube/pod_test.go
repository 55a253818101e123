package kube_test

import (
	"errors"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDeletePodNamesWhatWasLookedAt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refusal *apierrors.StatusError
		want    bool
	}{
		"deleted":   {nil, true},
		"gone":      {apierrors.NewNotFound(corev1.Resource("pods"), "p"), true},
		"another":   {apierrors.NewConflict(corev1.Resource("pods"), "p", errors.New("uid")), false},
		"forbidden": {apierrors.NewForbidden(corev1.Resource("pods"), "p", errors.New("no role")), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := connect(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				if tt.refusal != nil {
					refuse(t, w, tt.refusal)
					return
				}
				answer(t, w, http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Success"})
			})
			if err := c.DeletePod(t.Context(), "flows", "p", "uid-p"); (err == nil) != tt.want {
				t.Errorf("got %v", err)
			}
			if got := s.seen(); len(got) != 1 || got[0] != "DELETE /api/v1/namespaces/flows/pods/p" {
				t.Errorf("got %q", got)
			}
			const body = `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"uid-p"}}`
			if got := s.bodies[0]; got != body+"\n" {
				t.Errorf("got body %q, want %q", got, body)
			}
		})
	}
}
