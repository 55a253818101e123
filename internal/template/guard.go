package template

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// errSource means that the operator does not allow an address.
var errSource = errors.New("not among --template-sources")

// hiddenError is what kept the agent from an address that a flow run led it to.
type hiddenError struct{ err error }

func (e *hiddenError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *hiddenError) Unwrap() error { return e.err }

// guard sends requests to addresses that flow runs may name. It sees each hop of a
// redirect, and looks at the addresses that a name has when it connects: another
// answer of the name server, later, changes nothing.
type guard struct {
	sources Sources
	// free goes anywhere. guarded connects to nothing near.
	free, guarded http.RoundTripper
	proxy         func(*http.Request) (*url.URL, error)
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	switch g.sources.address(r.URL) {
	case refused:
		return nil, &hiddenError{errSource}
	case allowed:
		return g.free.RoundTrip(r)
	case guarded:
	}
	answer, err := g.carefully(r)
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); err != nil && !unknown {
		err = &hiddenError{err}
	}
	return answer, err
}

// carefully goes nowhere near.
func (g *guard) carefully(r *http.Request) (*http.Response, error) {
	host := r.URL.Hostname()
	if a, ok := literal(host); ok && near(a) || local(host) {
		return nil, errSource
	}
	if g.proxied(r) {
		// The proxy is the operator's own, and looks up the name itself.
		if nearByName(r.Context(), host) {
			return nil, errSource
		}
		return g.free.RoundTrip(r)
	}
	return g.guarded.RoundTrip(r)
}

func (g *guard) proxied(r *http.Request) bool {
	if g.proxy == nil {
		return false
	}
	proxy, err := g.proxy(r)
	return proxy != nil || err != nil
}

// local reports whether a name is the machine's own by its form (RFC 6761).
func local(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func nearByName(ctx context.Context, host string) bool {
	found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host) // perhaps only the proxy knows the name
	return slices.ContainsFunc(found, near)
}

// control refuses to connect to what is near, whatever name led there.
func control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || near(at.Addr()) {
		return errSource
	}
	return nil
}

// dialer connects to nothing near.
func dialer() *net.Dialer { return &net.Dialer{Control: control} }
