package retryhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// DefaultSize bounds what ReadAll takes, in bytes after decompression.
const DefaultSize = 32 << 20

// excerptLimit bounds what is read of the body of a failure, in bytes; excerptSize
// what is shown of it.
const (
	excerptLimit = 4 << 10
	excerptSize  = 300
)

const redacted = "[redacted]"

// body ends the try it belongs to when it is closed, or when the server stays
// silent between two reads.
type body struct {
	io.ReadCloser
	silence *TimeoutError
	timer   *time.Timer
	ended   func() error
	cancel  context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
		b.timer.Reset(b.silence.After)
	case errors.Is(err, io.EOF):
		b.timer.Stop()
	case errors.Is(b.ended(), b.silence):
		err = b.silence
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// bounded ends the request it belongs to when it is closed, and says so when the
// request took too long.
type bounded struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // the body outlives the call that made it
	cancel context.CancelFunc
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if ended, ok := errors.AsType[*TimeoutError](context.Cause(b.ctx)); ok {
		err = ended
	}
	return n, err
}

func (b *bounded) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// TooLargeError says that an answer was longer than allowed.
type TooLargeError struct {
	// Limit is what was allowed, in bytes.
	Limit int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("answer larger than %d bytes", e.Limit)
}

// ReadAll reads the body of an answer and closes it. A limit of zero or less is
// DefaultSize; a longer body is a *TooLargeError.
func ReadAll(resp *http.Response, limit int64) ([]byte, error) {
	defer resp.Body.Close() //nolint:errcheck // nothing is left to be lost
	if limit <= 0 {
		limit = DefaultSize
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, &TooLargeError{Limit: limit}
	}
	return data, nil
}

// StatusError is an answer with a status of 400 or more.
type StatusError struct {
	// Code is the HTTP status.
	Code int
	// RetryAfter is the pause that the server asked for, zero if none.
	RetryAfter time.Duration
	// Body is the beginning of the body on one line, without credentials of the request.
	Body string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d %s", e.Code, http.StatusText(e.Code))
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// Temporary reports whether the same request may succeed later.
func (e *StatusError) Temporary() bool {
	return temporaryStatus(e.Code) || e.Code == http.StatusRequestTimeout || e.RetryAfter > 0
}

// After is the pause that the server asked for, zero if none.
func (e *StatusError) After() time.Duration { return e.RetryAfter }

// Check returns nil for an answer below 400. For others it closes the body and
// returns a *StatusError.
func Check(resp *http.Response) error {
	if resp.StatusCode < http.StatusBadRequest {
		return nil
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to be lost
	// What was read before an error is still the best explanation there is.
	data, _ := io.ReadAll(io.LimitReader(resp.Body, excerptLimit))
	return &StatusError{Code: resp.StatusCode, RetryAfter: retryAfter(resp), Body: plain.Line(redact(string(data), resp.Request), excerptSize)}
}

// redact replaces what the request carried as credentials. Servers and proxies
// repeat headers in what they answer.
func redact(text string, req *http.Request) string {
	if req == nil {
		return text
	}
	for _, c := range credentials(req) {
		// Shorter ones are words that occur by chance.
		if len(c) >= 4 {
			text = strings.ReplaceAll(text, c, redacted)
		}
	}
	return text
}

func credentials(req *http.Request) []string {
	var found []string
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
		for _, value := range req.Header.Values(name) {
			found = append(found, value)
			if _, after, ok := strings.Cut(value, " "); ok {
				found = append(found, after)
			}
		}
	}
	if req.URL == nil {
		return found
	}
	if password, ok := req.URL.User.Password(); ok {
		found = append(found, password)
	}
	for _, values := range req.URL.Query() {
		found = append(found, values...)
	}
	return found
}
