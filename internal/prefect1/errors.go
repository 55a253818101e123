package prefect1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/plain"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

type errorItem struct {
	Message    string `json:"message"`
	Extensions struct {
		Code string `json:"code"`
	} `json:"extensions"`
}

// codeAPIError is what Prefect Cloud answers while it is busy.
const codeAPIError = "API_ERROR"

// GraphQLError is an answer that carries errors.
type GraphQLError struct {
	// Status is the HTTP status: 200 when the operation was executed, 400 when
	// the document or its variables were refused.
	Status int
	items  []errorItem
}

func (e *GraphQLError) Error() string {
	texts := make([]string, len(e.items))
	for i, item := range e.items {
		texts[i] = item.Message
		if item.Extensions.Code != "" {
			texts[i] = item.Extensions.Code + ": " + item.Message
		}
	}
	return "prefect api: " + sentence(strings.Join(texts, "; "))
}

// Temporary reports whether the server asked for the same request again.
func (e *GraphQLError) Temporary() bool { return e.has(codeAPIError) }

// Invalid reports whether the server did not execute the document at all, since
// its schema has other fields.
func (e *GraphQLError) Invalid() bool { return e.Status == http.StatusBadRequest }

// has accepts the code in either place and beside other words, as the Python client
// does by searching the whole error text.
func (e *GraphQLError) has(code string) bool {
	for _, item := range e.items {
		if item.Extensions.Code == code || strings.Contains(item.Message, code) {
			return true
		}
	}
	return false
}

func asError(items []errorItem) error {
	if len(items) == 0 {
		return nil
	}
	return &GraphQLError{Status: http.StatusOK, items: items}
}

// refused is an answer with a status of 400 or more: a *GraphQLError if it carries
// GraphQL errors and is not about the server's own trouble, otherwise a
// *retryhttp.StatusError with the mend.
func (c *Client) refused(resp *http.Response) error {
	// What was read before an error is still the best explanation there is.
	data, _ := io.ReadAll(io.LimitReader(resp.Body, oneThing))
	trouble := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError
	if gql, ok := errors.AsType[*GraphQLError](decode(bytes.NewReader(data), nil)); ok && !trouble {
		gql.Status = resp.StatusCode
		return gql
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	err := retryhttp.Check(resp)
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("prefect api refuses the credential; check the API key or token (--key, --token): %w", err)
	case http.StatusNotFound:
		return fmt.Errorf("no prefect api at this address; check --api or PREFECT__CLOUD__API: %w", err)
	}
	return fmt.Errorf("prefect api: %w", err)
}

// moved names the setting that a redirect is a reason to change.
func (c *Client) moved(err *retryhttp.RedirectError) error {
	to := err.To
	switch {
	case to == "":
		return fmt.Errorf("prefect api: %w; check --api or PREFECT__CLOUD__API", err)
	case c.o.Endpoint != "":
		return fmt.Errorf("prefect api: %w; if that is your server, set PREFECT__CLOUD__GRAPHQL to %s", err, to)
	case c.o.CoreVersion == Version0:
		to = strings.TrimSuffix(to, path0)
	}
	return fmt.Errorf("prefect api: %w; if that is your server, set --api or PREFECT__CLOUD__API to %s", err, to)
}

// MalformedError is an answer that is not what the protocol promises.
type MalformedError struct {
	// Excerpt is its beginning, empty where it may hold secrets.
	Excerpt string
	Err     error
}

func (e *MalformedError) Error() string {
	text := "prefect api: malformed answer: " + sentence(e.Err.Error())
	if e.page() {
		text += "; this looks like a web page, check the address (--api, PREFECT__CLOUD__API)"
	}
	if e.Excerpt == "" {
		return text
	}
	return text + ": " + e.Excerpt
}

func (e *MalformedError) page() bool { return strings.HasPrefix(strings.TrimSpace(e.Excerpt), "<") }

func (e *MalformedError) Unwrap() error { return e.Err }

// excerpt is the beginning of a foreign text.
func excerpt(data []byte) string { return plain.Line(string(data), 200) }

// sentence bounds what somebody else says is wrong.
func sentence(text string) string { return plain.Line(text, 1024) }

// RefusedError says which states of one call were not taken, and why.
type RefusedError struct {
	// Queued holds the ids whose state the server put into a queue instead.
	Queued []string
	// Refused maps ids to the server's message.
	Refused map[string]string
}

func (e *RefusedError) Error() string {
	parts := make([]string, 0, len(e.Refused)+1)
	for id, message := range e.Refused {
		parts = append(parts, id+": "+sentence(message))
	}
	slices.Sort(parts)
	if len(e.Queued) > 0 {
		parts = append(parts, "queued by the server: "+strings.Join(e.Queued, ", "))
	}
	return "set states: " + strings.Join(parts, "; ")
}
