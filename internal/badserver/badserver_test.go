package badserver_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type seen struct {
	status int
	bytes  int
	err    string
	after  time.Duration
}

// fetch asks once and reads everything that comes within the time.
func fetch(t *testing.T, handler http.Handler, within time.Duration) (s seen, header http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://p.test:4200/x", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := badserver.New(t, handler).Transport(t).RoundTrip(req)
	if err == nil {
		var data []byte
		data, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		s.status, s.bytes, header = resp.StatusCode, len(data), resp.Header
	}
	if err != nil {
		s.err = err.Error()
	}
	s.after = time.Since(start)
	return s, header
}

// Each answer is as bad as its name says, on fake time.
func TestAnswersAreAsBadAsTheySay(t *testing.T) {
	t.Parallel()
	const soon = 59*time.Second + 500*time.Millisecond // no byte drips at the end of it
	for name, c := range map[string]struct {
		handler http.Handler
		want    seen
		header  [2]string
	}{
		"answer":   {handler: badserver.Answer("{}"), want: seen{status: 200, bytes: 2}},
		"drip":     {handler: badserver.Drip("{}"), want: seen{status: 200, bytes: 60, err: "context deadline exceeded", after: soon}},
		"hang":     {handler: http.HandlerFunc(badserver.Hang), want: seen{err: "context deadline exceeded", after: soon}},
		"stall":    {handler: badserver.Stall("abc"), want: seen{status: 200, bytes: 3, err: "context deadline exceeded", after: soon}},
		"half":     {handler: badserver.Half("abcd"), want: seen{status: 200, bytes: 2, err: "unexpected EOF"}},
		"close":    {handler: http.HandlerFunc(badserver.Close), want: seen{err: "EOF"}},
		"garbage":  {handler: http.HandlerFunc(badserver.Garbage), want: seen{err: "malformed HTTP"}},
		"page":     {handler: badserver.Page(503), want: seen{status: 503, bytes: 90}},
		"after":    {handler: badserver.RetryAfter(429, "86400"), want: seen{status: 429}, header: [2]string{"Retry-After", "86400"}},
		"redirect": {handler: badserver.Redirect(307, "http://q.test/"), want: seen{status: 307}, header: [2]string{"Location", "http://q.test/"}},
		"bomb":     {handler: badserver.Gzip(badserver.Flood("[", "{},", "{}]", 1e5)), want: seen{status: 200, bytes: 300_004}},
		"sequence": {handler: badserver.Sequence(badserver.Page(404), badserver.Page(200)), want: seen{status: 404, bytes: 90}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, header := fetch(t, c.handler, soon)
				if strings.Contains(got.err, c.want.err) && c.want.err != "" {
					got.err = c.want.err
				}
				if got != c.want || header.Get(c.header[0]) != c.header[1] {
					t.Errorf("got %+v, %v, want %+v, %v", got, header, c.want, c.header)
				}
			})
		})
	}
}

func TestRequestsAreNoted(t *testing.T) {
	t.Parallel()
	s := badserver.New(t, badserver.Answer("{}"))
	client := &http.Client{Transport: s.Transport(t)}
	for _, url := range []string{"http://a.test/1", "https://b.test:8443/2"} {
		resp, err := client.Post(url, "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	var got []string
	for _, r := range s.Requests() {
		got = append(got, r.Method+" "+r.Scheme+" "+r.Host+r.Path+" "+r.Body+" "+r.Header.Get("Content-Type"))
	}
	if want := "POST http a.test/1 body text/plain, POST https b.test:8443/2 body text/plain"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNobodyWritesToTheFIFO(t *testing.T) {
	t.Parallel()
	f, err := os.OpenFile(badserver.FIFO(t), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err == nil {
		_ = f.Close()
		t.Error("somebody reads it")
	}
}
