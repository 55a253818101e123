package template

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
)

const maxRedirects = 5

// readHTTP is a plain GET. Nothing of the agent's own goes with it.
func (l *Loader) readHTTP(ctx context.Context, address string) ([]byte, error) {
	client := &http.Client{Transport: l.base, CheckRedirect: checkRedirect}
	return get(ctx, client, address)
}

func checkRedirect(next *http.Request, before []*http.Request) error {
	if len(before) > maxRedirects {
		return &Error{Problem: fmt.Sprintf("is redirected more than %d times", maxRedirects), Mend: "name the last address"}
	}
	if before[len(before)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return &Error{Problem: "is redirected from https to " + next.URL.Scheme, Mend: "name the last address, if that is wanted"}
	}
	return nil
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody) //nolint:gosec // the operator or the flow's owner names the address on purpose
	if err != nil {
		return nil, &Error{Problem: "is not a valid URL", Mend: "correct it", cause: inner(err)}
	}
	if request.URL.Host == "" {
		return nil, &Error{Problem: "names no host", Mend: "write https://HOST/PATH"}
	}
	answer, err := client.Do(request) //nolint:gosec // the operator or the flow's owner names the address on purpose
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // read only
	if answer.StatusCode != http.StatusOK {
		return nil, statusError(answer.StatusCode)
	}
	text, err := readAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if isPage(answer.Header.Get("Content-Type"), text) {
		return nil, &Error{Problem: "is an HTML page, not a template", Mend: "name the address of the raw text, one that needs no login"}
	}
	return text, nil
}

func statusError(code int) error {
	e := &Error{Problem: strings.TrimSpace(fmt.Sprintf("the server answers %d %s", code, http.StatusText(code))), status: code}
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Mend = "let the agent read it"
	case code == http.StatusNotFound || code == http.StatusGone:
		e.Mend = "check the address"
	case code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		e.Mend, e.temporary = "try again later", true
	}
	return e
}

// isPage reports whether a server sent a page for people, such as that of a login.
func isPage(contentType string, text []byte) bool {
	start := bytes.ToLower(bytes.TrimSpace(text[:min(len(text), 256)]))
	return strings.HasPrefix(strings.ToLower(contentType), "text/html") && bytes.HasPrefix(start, []byte("<")) ||
		bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}
