package retryhttp

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// NoRedirects is a transport that follows no redirect, and lets no client on top of it
// follow one: an answer 3xx is a *RedirectError. Clients differ in what they send along.
// Go's keeps the credential when scheme or port change, and client-go adds it to every hop.
func NoRedirects(next http.RoundTripper) http.RoundTripper { return noRedirects{next} }

type noRedirects struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t noRedirects) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil || resp.StatusCode < 300 || resp.StatusCode >= http.StatusBadRequest {
		return resp, err
	}
	_ = resp.Body.Close()
	return nil, &RedirectError{Code: resp.StatusCode, To: target(req, resp.Header.Get("Location"))}
}

// CloseIdleConnections closes the connections that are kept for later.
func (t noRedirects) CloseIdleConnections() {
	if c, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// target is where a redirect leads, without what may be a secret: user info, query and
// fragment. It is empty for what is no address.
func target(req *http.Request, location string) string {
	to, err := url.Parse(location)
	if err != nil || location == "" {
		return ""
	}
	to = req.URL.ResolveReference(to)
	if to.Host == "" {
		return ""
	}
	return plain.Line(redact((&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String(), req), excerptSize)
}

// RedirectError is an answer that leads to another address.
type RedirectError struct {
	// Code is the HTTP status, 300 to 399.
	Code int
	// To is the other address, fit to be shown, empty where the answer names none.
	To string
}

func (e *RedirectError) Error() string {
	to := e.To
	if to == "" {
		to = "no address"
	}
	return fmt.Sprintf("status %d leads to %s, and no redirect is followed, so that nothing is sent to another address", e.Code, to)
}

// Temporary reports whether the same request may succeed later: somebody has to
// correct the address.
func (e *RedirectError) Temporary() bool { return false }
