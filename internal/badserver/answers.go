package badserver

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Answer is a good answer with a text of JSON.
func Answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	}
}

// Sequence answers each request with the next of the handlers; the last one stays.
func Sequence(handlers ...http.Handler) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		handlers[min(int(n.Add(1)), len(handlers))-1].ServeHTTP(w, r)
	}
}

// Hang never answers.
func Hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Drip answers with one byte of the text a second, and with spaces for ever behind it.
func Drip(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rest := strings.NewReader(text)
		for {
			next, err := rest.ReadByte()
			if err != nil {
				next = ' '
			}
			if _, err := w.Write([]byte{next}); err != nil || !flushAndWait(r.Context(), w, time.Second) {
				return
			}
		}
	}
}

// Stall answers with the text and then with nothing, without an end.
func Stall(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// flushAndWait is false if the request ended.
func flushAndWait(ctx context.Context, w http.ResponseWriter, d time.Duration) bool {
	if http.NewResponseController(w).Flush() != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Half promises the whole text, sends half of it and closes the connection.
func Half(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = io.WriteString(w, text[:len(text)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Close takes the request and closes the connection.
func Close(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Raw writes the text in the place of HTTP and closes the connection.
func Raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, text)
		_ = c.Close()
	}
}

// Garbage is no HTTP.
func Garbage(w http.ResponseWriter, r *http.Request) { Raw("\x00\xff\x1b[2J garbage\r\n\r\n")(w, r) }

// Page is a web page with a status, such as that of a proxy that wants a login.
func Page(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><head><title>Log in</title></head><body>Log in, please.</body></html>")
	}
}

// RetryAfter is a status with that header and no body.
func RetryAfter(status int, value string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", value)
		w.WriteHeader(status)
	}
}

// Redirect leads to another address.
func Redirect(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	}
}

// Flood answers with one text between two others, as often as is asked for.
func Flood(before, text, after string, times int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, before)
		const size = 64 << 10
		together := size/(len(text)+1) + 1
		block := strings.Repeat(text, together)
		for left := times; left > 0; left -= together {
			if _, err := io.WriteString(w, block[:min(left, together)*len(text)]); err != nil {
				return // the client has had enough
			}
		}
		_, _ = io.WriteString(w, after)
	}
}

// Gzip sends compressed what the handler writes: a flood becomes a bomb.
func Gzip(handler http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		handler.ServeHTTP(compressed{ResponseWriter: w, z: z}, r)
		_ = z.Close()
	}
}

type compressed struct {
	http.ResponseWriter
	z io.Writer
}

func (c compressed) Write(p []byte) (int, error) { return c.z.Write(p) }

// Unwrap lets handlers flush and take the connection.
func (c compressed) Unwrap() http.ResponseWriter { return c.ResponseWriter }
