package retryhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// drainLimit is what is read of an answer that is not wanted, in bytes, so that
// its connection can be used again.
const drainLimit = 64 << 10

// drainTime bounds the time that this may take.
const drainTime = time.Second

// longestRetryAfter bounds what is believed of a Retry-After. A server that needs more
// time asks again.
const longestRetryAfter = time.Minute

// outcome is what became of one try: an answer or an error.
type outcome struct {
	resp      *http.Response
	err       error
	connected bool
	// cancel ends the try.
	cancel context.CancelCauseFunc
}

// promising reports whether the same request may fare better. An error before
// the connection that is no network error (a certificate that is not trusted, a
// header that is not valid) stays.
func (o outcome) promising() bool {
	if o.err == nil {
		return temporaryStatus(o.resp.StatusCode)
	}
	if o.connected || errors.Is(o.err, io.EOF) || errors.Is(o.err, io.ErrUnexpectedEOF) {
		return true
	}
	_, timeout := errors.AsType[*TimeoutError](o.err)
	_, network := errors.AsType[net.Error](o.err)
	return timeout || network
}

func temporaryStatus(code int) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		return false
	}
}

func (o outcome) failure(req *http.Request, tries int) error {
	if o.err == nil {
		return nil
	}
	return &Error{Tries: tries, Err: o.err, text: redact(o.err.Error(), req), temporary: o.promising()}
}

func (o outcome) reason(req *http.Request) string {
	if o.err != nil {
		return redact(o.err.Error(), req)
	}
	return "status " + strconv.Itoa(o.resp.StatusCode)
}

func (o outcome) discard() {
	if o.resp == nil {
		return
	}
	timer := time.AfterFunc(drainTime, func() { o.cancel(nil) })
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, o.resp.Body, drainLimit)
	_ = o.resp.Body.Close()
}

// retryAfter is the pause that the answer asks for, zero if it names none. Both
// forms are read: seconds and a date.
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	value := resp.Header.Get("Retry-After")
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(longestRetryAfter/time.Second))) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(time.Until(date), 0), longestRetryAfter)
}

// Error is a request that got no answer. Its text holds no credential of the
// request; the address is named by the *url.Error that http.Client puts around.
type Error struct {
	// Tries is how often the request was sent or would have been.
	Tries int
	// Err is what the last try failed with.
	Err error

	text      string
	temporary bool
}

func (e *Error) Error() string {
	if e.Tries == 1 {
		return e.text
	}
	return fmt.Sprintf("%s (tried %d times)", e.text, e.Tries)
}

func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool { return e.temporary }

// Timeout reports whether the server was silent for too long.
func (e *Error) Timeout() bool {
	t, ok := errors.AsType[net.Error](e.Err)
	return ok && t.Timeout()
}

// TimeoutError says that the server was silent, or took too long altogether.
type TimeoutError struct {
	// After is the silence, or the time, that was allowed.
	After time.Duration

	whole bool
}

func (e *TimeoutError) Error() string {
	if e.whole {
		return "no whole answer within " + e.After.String()
	}
	return "no answer within " + e.After.String()
}

// Timeout is true.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary is true.
func (e *TimeoutError) Temporary() bool { return true }
