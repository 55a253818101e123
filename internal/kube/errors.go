package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/prefect-kube/prefect-kube/internal/plain"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// Error is a request that did not succeed. Its cause keeps the API server's
// own reason, so apierrors.IsForbidden and its like work on it.
type Error struct {
	// Op says what was attempted, such as: create job "x" in namespace "y".
	Op string
	// Mend says what to do about it, empty if nothing is known.
	Mend string
	Err  error

	lasts bool
}

func (e *Error) Error() string {
	text := e.Op + ": " + cause(e.Err)
	if e.Mend != "" {
		text += ". " + e.Mend
	}
	return text
}

// maxCause bounds what an error shows of the answer, in bytes.
const maxCause = 2 << 10

// cause is the answer's status, reason and message, where there was one, fit to be shown.
func cause(err error) string {
	text := err.Error()
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Code != 0 {
		text = fmt.Sprintf("%d %s: %s", status.Status().Code, status.Status().Reason, text)
	}
	return plain.Line(text, maxCause)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Lasts reports whether the server has given this answer for long.
func (e *Error) Lasts() bool { return e.lasts }

// Temporary reports whether the same request may succeed later: the server is
// busy, failing or out of reach, or does not accept our credential now. Another
// refusal is final.
func (e *Error) Temporary() bool { return temporary(e.Err) }

func temporary(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		// No answer of the API server: the connection, or a proxy in between.
		return true
	}
	_, suggested := apierrors.SuggestsClientDelay(err)
	return suggested || apierrors.IsUnauthorized(err) || apierrors.IsConflict(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || status.Status().Code >= 500
}

// retryAfter is what the server asked for, zero if it asked for nothing.
func retryAfter(err error) time.Duration {
	seconds, ok := apierrors.SuggestsClientDelay(err)
	if !ok {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, longestRetryAfter)
}

// unreachable reports whether there was no connection: nobody listens, or no such name.
func unreachable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	at, ok := errors.AsType[*net.OpError](err)
	return ok && (at.Op == "dial" || at.Op == "proxyconnect")
}

func distrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// NamespaceError means that the namespace for Jobs does not exist.
type NamespaceError struct{ Namespace string }

func (e *NamespaceError) Error() string {
	return fmt.Sprintf("namespace %q does not exist: create it with kubectl create namespace %s, or name another one with --namespace",
		e.Namespace, e.Namespace)
}

// VanishedError means that a Job of this name existed when the create was sent
// and was gone when it was read. Nobody may create it again without a new read
// of the run it belongs to.
type VanishedError struct{ Namespace, Job string }

func (e *VanishedError) Error() string {
	return fmt.Sprintf("job %q in namespace %q existed and was deleted in the same moment", e.Job, e.Namespace)
}

// Temporary says that it is worth to begin again, with a read.
func (e *VanishedError) Temporary() bool { return true }

// fail wraps an error of a request on a resource of a namespace.
func fail(err error, verb, resource, namespace, name string) error {
	if err == nil {
		return nil
	}
	op := fmt.Sprintf("%s %s in namespace %q", verb, resource, namespace)
	if name != "" {
		op = fmt.Sprintf("%s %s %q in namespace %q", verb, resource, name, namespace)
	}
	return &Error{Op: op, Mend: mend(err, verb, resource, namespace), Err: err}
}

func mend(err error, verb, resource, namespace string) string {
	_, redirected := errors.AsType[*retryhttp.RedirectError](err)
	login, ofLogin := errors.AsType[*LoginError](err)
	switch {
	case ofLogin:
		return login.Mend
	case redirected:
		return "Name the API server itself as server in the kubeconfig, and no login page or proxy"
	case distrusted(err):
		return "Correct certificate-authority or certificate-authority-data of the cluster in the kubeconfig"
	case unreachable(err):
		return "Check that the API server runs and that this machine reaches it: kubectl cluster-info asks the server of the same kubeconfig"
	case apierrors.IsUnauthorized(err):
		return "The credential is not valid in this cluster: renew it"
	case apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, namespaceTerminating):
		return fmt.Sprintf("If it is a matter of permission, grant the verb %q on %s in namespace %q to this agent; "+
			"agent install kubernetes --rbac prints the Role", verb, resource, namespace)
	}
	return ""
}
