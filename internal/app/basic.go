package app

import (
	"net/http"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// basicAuth sends the user name and the password of the API's address in the place of
// any other credential, as Python's requests does. Without them it changes nothing.
func basicAuth(user secret.Value, base http.RoundTripper) http.RoundTripper {
	if !user.IsSet() {
		return base
	}
	return &basicTransport{user: user, base: base}
}

type basicTransport struct {
	user secret.Value
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *basicTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := b.user.Reveal()
	if err != nil {
		return nil, err
	}
	name, password, _ := strings.Cut(text, ":")
	r = r.Clone(r.Context())
	r.SetBasicAuth(name, password)
	return b.base.RoundTrip(r)
}
