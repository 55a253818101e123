package template

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const (
	googleStorage = "https://storage.googleapis.com"
	readOnly      = "https://www.googleapis.com/auth/devstorage.read_only"
	// emulatorHost is what the clients of Google Cloud Storage read, too. With it,
	// no credentials are sent.
	emulatorHost = "STORAGE_EMULATOR_HOST"
)

// readGoogle is objects.get of the JSON API. The client library of Google Cloud
// Storage would more than double the binary.
func (l *Loader) readGoogle(ctx context.Context, where location) ([]byte, error) {
	if err := where.checkObject(); err != nil {
		return nil, err
	}
	base, client := googleStorage, &http.Client{Transport: l.base, CheckRedirect: checkRedirect}
	if emulator := os.Getenv(emulatorHost); emulator != "" {
		if base = strings.TrimSuffix(emulator, "/"); !strings.Contains(base, "://") {
			base = "http://" + base
		}
	} else {
		var err error
		if client, err = l.googleClient(ctx); err != nil {
			return nil, err
		}
	}
	text, err := get(ctx, client, base+"/storage/v1/b/"+url.PathEscape(where.host)+"/o/"+url.PathEscape(where.key())+"?alt=media", true)
	return text, googleError(err)
}

// googleClient is made once: it holds the token that it got.
func (l *Loader) googleClient(ctx context.Context) (*http.Client, error) {
	l.clients.Lock()
	defer l.clients.Unlock()
	if l.google != nil {
		return l.google, nil
	}
	// Tokens are renewed long after this Read, so its end must not end them.
	lasting := context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: l.base, Timeout: l.timeout})
	source, err := google.DefaultTokenSource(lasting, readOnly)
	if err != nil {
		return nil, &Error{
			Problem: "Google credentials: " + err.Error(),
			Mend:    "give the agent's service account an identity at Google, or set GOOGLE_APPLICATION_CREDENTIALS", cause: err,
		}
	}
	l.google = &http.Client{Transport: &oauth2.Transport{Source: source, Base: l.base}, CheckRedirect: checkRedirect}
	return l.google, nil
}

// googleError says more than a status: a token that cannot be got is no matter
// of the network alone.
func googleError(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return &Error{Problem: "Google gives no token: " + refused.ErrorCode + " " + refused.ErrorDescription, Mend: "check the agent's credentials", cause: err}
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Mend = "let the agent's Google identity do storage.objects.get there"
	case http.StatusNotFound:
		e.Mend = "check bucket and object"
	}
	return err
}
