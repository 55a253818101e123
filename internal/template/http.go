package template

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

const maxRedirects = 5

// readHTTP is a plain GET. Nothing of the agent's own goes with it.
func (l *Loader) readHTTP(ctx context.Context, address string) ([]byte, error) {
	client := &http.Client{Transport: l.guard, CheckRedirect: checkRedirect}
	if address == l.own {
		client.Transport = l.base
	}
	return get(ctx, client, address, l.decide(address) == allowed)
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

// get returns what is behind an address. What else the server says of a refusal is
// told where the operator named the server: elsewhere the author of a flow would read
// answers that are not meant for him.
func get(ctx context.Context, client *http.Client, address string, tell bool) ([]byte, error) {
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
		refusal := statusError(answer.StatusCode)
		if tell {
			refusal.Problem += reason(answer.StatusCode, answer.Body)
		}
		return nil, refusal
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

func statusError(code int) *Error {
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

const (
	maxBody   = 16 << 10
	maxReason = 300
)

var (
	hiddenTags = regexp.MustCompile(`(?is)<(script|style|head)\b.*?</(script|style|head)>`)
	tags       = regexp.MustCompile(`(?s)<[^>]*>`)
)

// reason is what a server says of its refusal, in one line: the message of an object
// of JSON, or the words of a page or of XML.
func reason(code int, from io.Reader) string {
	body, _ := io.ReadAll(io.LimitReader(from, maxBody)) // what there is of it
	text := message(body)
	if text == "" {
		text = tags.ReplaceAllString(hiddenTags.ReplaceAllString(string(body), " "), " ")
	}
	text = plain.Line(strings.Join(strings.Fields(text), " "), maxReason)
	if rest := strings.NewReplacer(strconv.Itoa(code), "", strings.ToLower(http.StatusText(code)), "", "page", "", " ", "").Replace(strings.ToLower(text)); rest == "" {
		return "" // no more than the status
	}
	return ": " + text
}

// message is the text below error, message or detail of an object of JSON.
func message(body []byte) string {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return ""
	}
	for _, key := range []string{"error", "message", "detail"} {
		var text string
		if json.Unmarshal(object[key], &text) == nil && text != "" {
			return text
		}
		if text = message(object[key]); text != "" {
			return text
		}
	}
	return ""
}

// isPage reports whether a server sent a page for people, such as that of a login.
func isPage(contentType string, text []byte) bool {
	start := bytes.ToLower(bytes.TrimSpace(text[:min(len(text), 256)]))
	return strings.HasPrefix(strings.ToLower(contentType), "text/html") && bytes.HasPrefix(start, []byte("<")) ||
		bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}
