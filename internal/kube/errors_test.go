package kube_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// What the run's owner reads holds the answer's status, reason and message.
func TestErrorsNameTheAnswer(t *testing.T) {
	t.Parallel()
	refused := apierrors.NewForbidden(schema.GroupResource{Group: "batch", Resource: "jobs"}, "x", errors.New("exceeded quota: team"))
	for _, tt := range []struct {
		name      string
		err       *kube.Error
		want      string
		temporary bool
	}{
		{"refused", &kube.Error{Op: "create job", Mend: "Ask for more", Err: refused}, `create job: 403 Forbidden: jobs.batch "x" is forbidden: exceeded quota: team. Ask for more`, false},
		{"our credential", &kube.Error{Op: "list pods", Err: apierrors.NewUnauthorized("expired")}, "list pods: 401 Unauthorized: expired", true},
		{"another writer", &kube.Error{Op: "create job", Err: apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "q", errors.New("changed"))}, `create job: 409 Conflict: Operation cannot be fulfilled on resourcequotas "q": changed`, true},
		{"hostile text", &kube.Error{Op: "list pods", Err: apierrors.NewInternalError(errors.New("\x1b]52;c;cm0=\a\n" + strings.Repeat("x", 5<<20)))}, "list pods: 500 InternalError: Internal error occurred: \ufffd]52;c;cm0=\ufffd " + strings.Repeat("x", 2<<10-len("500 InternalError: Internal error occurred: \ufffd]52;c;cm0=\ufffd …")) + "…", true},
		{"no answer", &kube.Error{Op: "list pods", Err: errors.New("connection refused")}, "list pods: connection refused", true},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got := tt.err.Temporary(); got != tt.temporary {
			t.Errorf("%s: temporary is %v, want %v", tt.name, got, tt.temporary)
		}
	}
}

// Without a connection the error says what to look at.
func TestNoConnectionHasAMend(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	safe := httptest.NewTLSServer(http.NotFoundHandler())
	safe.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(safe.Close)
	for host, want := range map[string]string{
		closed.URL: "kubectl cluster-info", "http://api.invalid": "kubectl cluster-info", safe.URL: "certificate-authority",
	} {
		c, err := kube.NewClient(&kube.Config{REST: &rest.Config{Host: host}, Source: "test"}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = c.Place(t.Context(), "flows"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", host, err, want)
		}
	}
}
