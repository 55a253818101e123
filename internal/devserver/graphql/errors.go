package graphql

import (
	"errors"
	"fmt"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// Codes of extensions.code, those of Apollo Server 2.
const (
	codeParse      = "GRAPHQL_PARSE_FAILED"
	codeValidation = "GRAPHQL_VALIDATION_FAILED"
	codeInput      = "BAD_USER_INPUT"
	codeInternal   = "INTERNAL_SERVER_ERROR"
)

// Location is a place in a document, counted from one.
type Location struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Error is one entry of the errors of an answer.
type Error struct {
	Message    string            `json:"message"`
	Path       []any             `json:"path,omitempty"`
	Locations  []Location        `json:"locations,omitempty"`
	Extensions map[string]string `json:"extensions"`
	cause      error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what went wrong inside, for the log; clients do not see it.
func (e *Error) Unwrap() error { return e.cause }

func fail(code, format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...), Extensions: map[string]string{"code": code}}
}

// input is an error of the values in a request.
func input(format string, args ...any) *Error { return fail(codeInput, format, args...) }

// fromList turns the errors of the parser and the validator into ours.
func fromList(code string, list gqlerror.List) []*Error {
	out := make([]*Error, 0, len(list))
	for _, e := range list {
		one := fail(code, "%s", e.Message)
		for _, l := range e.Locations {
			one.Locations = append(one.Locations, Location(l))
		}
		out = append(out, one)
	}
	return out
}

// answer turns any error of an operation into an entry for the client. Texts of
// refusals go out, texts of the database do not.
func answer(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*store.Error](err); ok {
		code := e.Code
		if code == "" {
			code = codeInternal
		}
		return fail(code, "%s", e.Message)
	}
	e := fail(codeInternal, "internal error of the development backend")
	e.cause = err
	return e
}
