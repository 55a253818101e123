package retryhttp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// step is how the base answers one try.
type step struct {
	status     int
	retryAfter string
	err        error
	silence    time.Duration // before the header
	pauses     []time.Duration
	noConn     bool
}

// base plays steps, the last one for ever, and notes when and what it got.
type base struct {
	steps  []step
	at     []time.Duration
	bodies []string
	start  time.Time
}

func (b *base) RoundTrip(req *http.Request) (*http.Response, error) {
	s := b.steps[min(len(b.at), len(b.steps)-1)]
	b.at = append(b.at, time.Since(b.start))
	if req.Body != nil {
		data, _ := io.ReadAll(req.Body)
		b.bodies = append(b.bodies, string(data))
		_ = req.Body.Close()
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && !s.noConn {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-time.After(s.silence):
	}
	if s.err != nil {
		return nil, s.err
	}
	header := http.Header{}
	if s.retryAfter != "" {
		header.Set("Retry-After", s.retryAfter)
	}
	return &http.Response{StatusCode: s.status, Header: header, Body: &slowBody{ctx: req.Context(), pauses: s.pauses}}, nil
}

// slowBody gives one byte after each pause.
type slowBody struct {
	ctx    context.Context //nolint:containedctx // stands for the connection
	pauses []time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.pauses) == 0 {
		return 0, io.EOF
	}
	select {
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	case <-time.After(b.pauses[0]):
	}
	b.pauses = b.pauses[1:]
	p[0] = 'x'
	return 1, nil
}

func (b *slowBody) Close() error { return nil }

type netError struct{}

func (netError) Error() string   { return "connection reset" }
func (netError) Timeout() bool   { return false }
func (netError) Temporary() bool { return true }

func post(ctx context.Context, t *testing.T) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://api/graphql", strings.NewReader("query"))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// roundTrip sends a request and closes the answer.
func roundTrip(transport http.RoundTripper, req *http.Request) (status int, err error) {
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

type repetition struct {
	steps      []step
	once       bool
	deadline   time.Duration
	wantTries  int
	wantStatus int                // 0: an error
	wantPauses [][2]time.Duration // at least, at most
}

// context is what the request is sent with.
func (c repetition) context(t *testing.T) context.Context {
	ctx := t.Context()
	if c.once {
		ctx = retryhttp.Once(ctx)
	}
	if c.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.deadline)
		t.Cleanup(cancel)
	}
	return ctx
}

func (c repetition) check(t *testing.T) {
	b := &base{steps: c.steps, start: time.Now()}
	status, err := roundTrip(retryhttp.New(retryhttp.Options{Base: b}), post(c.context(t), t))
	if status != c.wantStatus || (err == nil) != (c.wantStatus != 0) {
		t.Errorf("got status %d, %v, want %d", status, err, c.wantStatus)
	}
	if len(b.at) != c.wantTries {
		t.Fatalf("got %d tries at %v, want %d", len(b.at), b.at, c.wantTries)
	}
	for i, want := range c.wantPauses {
		if pause := b.at[i+1] - b.at[i]; pause < want[0] || pause > want[1] {
			t.Errorf("pause %d: got %v, want between %v and %v", i, pause, want[0], want[1])
		}
	}
	for _, body := range b.bodies {
		if body != "query" {
			t.Errorf("got body %q", body)
		}
	}
}

func TestRepetition(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, c := range map[string]repetition{
		"good at once":           {steps: []step{{status: 200}}, wantTries: 1, wantStatus: 200},
		"bad request":            {steps: []step{{status: 400}}, wantTries: 1, wantStatus: 400},
		"503, then good":         {steps: []step{{status: 503}, {status: 200}}, wantTries: 2, wantStatus: 200, wantPauses: [][2]time.Duration{{s / 4, s}}},
		"500 for ever":           {steps: []step{{status: 500}}, wantTries: 4, wantStatus: 500, wantPauses: [][2]time.Duration{{s / 4, s}, {s / 2, 2 * s}, {s, 4 * s}}},
		"reset, then good":       {steps: []step{{err: netError{}}, {status: 200}}, wantTries: 2, wantStatus: 200, wantPauses: [][2]time.Duration{{s / 4, s}}},
		"reset for ever":         {steps: []step{{err: io.EOF}}, wantTries: 4},
		"silent, then good":      {steps: []step{{silence: time.Hour}, {status: 200}}, wantTries: 2, wantStatus: 200, wantPauses: [][2]time.Duration{{15*s + s/4, 16 * s}}},
		"retry after":            {steps: []step{{status: 429, retryAfter: "7"}, {status: 200}}, wantTries: 2, wantStatus: 200, wantPauses: [][2]time.Duration{{7 * s, 7 * s}}},
		"retry after a date":     {steps: []step{{status: 503, retryAfter: "Sat, 01 Jan 2000 00:00:09 GMT"}, {status: 200}}, wantTries: 2, wantStatus: 200, wantPauses: [][2]time.Duration{{9 * s, 9 * s}}},
		"retry after too long":   {steps: []step{{status: 429, retryAfter: "31"}}, wantTries: 1, wantStatus: 429},
		"retry after nonsense":   {steps: []step{{status: 503, retryAfter: "-1"}, {status: 200}}, wantTries: 2, wantStatus: 200, wantPauses: [][2]time.Duration{{s / 4, s}}},
		"past the deadline":      {steps: []step{{status: 503, retryAfter: "7"}}, deadline: 5 * s, wantTries: 1, wantStatus: 503},
		"deadline while silent":  {steps: []step{{silence: time.Hour}}, deadline: 5 * s, wantTries: 1},
		"once, 503":              {steps: []step{{status: 503}}, once: true, wantTries: 1, wantStatus: 503},
		"once, reset":            {steps: []step{{err: netError{}}}, once: true, wantTries: 1},
		"once, silent":           {steps: []step{{silence: time.Hour}}, once: true, wantTries: 1},
		"once, no connection":    {steps: []step{{err: netError{}, noConn: true}, {status: 200}}, once: true, wantTries: 2, wantStatus: 200, wantPauses: [][2]time.Duration{{s / 4, s}}},
		"once, none, then reset": {steps: []step{{err: netError{}, noConn: true}, {err: netError{}}, {status: 200}}, once: true, wantTries: 2},
		"certificate":            {steps: []step{{err: errors.New("not trusted"), noConn: true}}, wantTries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, c.check)
		})
	}
}

func TestErrorsSayWhetherLaterHelps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		try := func(s step) *retryhttp.Error {
			_, err := roundTrip(retryhttp.New(retryhttp.Options{Base: &base{steps: []step{s}}, Tries: 2}), post(t.Context(), t))
			e, ok := errors.AsType[*retryhttp.Error](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			return e
		}
		silent, reset, refused := try(step{silence: time.Hour}), try(step{err: netError{}}), try(step{err: errors.New("x"), noConn: true})
		if !silent.Temporary() || !silent.Timeout() || silent.Error() != "no answer within 15s (tried 2 times)" {
			t.Errorf("silent: got %v, temporary %v, timeout %v", silent, silent.Temporary(), silent.Timeout())
		}
		if !reset.Temporary() || reset.Timeout() || !errors.Is(reset, netError{}) {
			t.Errorf("reset: got %v, temporary %v, timeout %v", reset, reset.Temporary(), reset.Timeout())
		}
		if refused.Temporary() || refused.Tries != 1 || refused.Error() != "x" {
			t.Errorf("refused: got %v, temporary %v", refused, refused.Temporary())
		}
	})
}

func TestCancellationEndsThePause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("draining")
		time.AfterFunc(10*time.Second, func() { cancel(cause) })
		start := time.Now()
		_, err := roundTrip(retryhttp.New(retryhttp.Options{Base: &base{steps: []step{{status: 503, retryAfter: "29"}}}}), post(ctx, t))
		if !errors.Is(err, cause) || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestSilenceInTheBody(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, c := range map[string]struct {
		pauses []time.Duration
		want   string
		err    bool
	}{
		"slow but steady": {pauses: []time.Duration{14 * s, 14 * s, 14 * s}, want: "xxx"},
		"silent":          {pauses: []time.Duration{14 * s, 16 * s}, err: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			transport := retryhttp.New(retryhttp.Options{Base: &base{steps: []step{{status: 200, pauses: c.pauses}}}})
			resp, err := transport.RoundTrip(post(t.Context(), t))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close() //nolint:errcheck // ReadAll closes it
			data, err := retryhttp.ReadAll(resp, 0)
			if _, silent := errors.AsType[*retryhttp.TimeoutError](err); string(data) != c.want || silent != c.err {
				t.Errorf("%s: got %q, %v", name, data, err)
			}
		})
	}
}

// However steadily something comes, a request ends in time, its answer included.
func TestARequestEndsInTime(t *testing.T) {
	t.Parallel()
	const s = time.Second
	drip := badserver.Drip("{")
	busy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		drip(w, r)
	})
	for name, c := range map[string]limited{
		"drip":               {handler: drip, wantTries: 1, want: "no whole answer within 1m0s", after: 60 * s},
		"drip, once":         {handler: drip, once: true, wantTries: 1, want: "no answer within 15s", after: 15 * s},
		"drip, a long time":  {handler: drip, timeout: 90 * s, wantTries: 1, want: "no whole answer within 1m30s", after: 90 * s},
		"stall":              {handler: badserver.Stall("{"), wantTries: 1, want: "no answer within 15s", after: 15 * s},
		"hang":               {handler: http.HandlerFunc(badserver.Hang), wantTries: 4, want: "no whole answer within 1m0s (tried 4 times)", after: 60 * s},
		"busy, then good":    {handler: badserver.Sequence(busy, badserver.Answer("{}")), wantTries: 2},
		"asks for an hour":   {handler: badserver.RetryAfter(503, "3600"), wantTries: 1, want: "status 503 Service Unavailable"},
		"asks for each 29 s": {handler: badserver.RetryAfter(503, "29"), wantTries: 3, want: "status 503 Service Unavailable", after: 58 * s},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, c.check)
		})
	}
}

type limited struct {
	handler   http.Handler
	timeout   time.Duration
	once      bool
	wantTries int
	want      string
	after     time.Duration // 0: as soon as may be
}

func (c limited) check(t *testing.T) {
	server := badserver.New(t, c.handler)
	ctx, start := t.Context(), time.Now()
	if c.once {
		ctx = retryhttp.Once(ctx)
	}
	err := read(retryhttp.New(retryhttp.Options{Base: server.Transport(t), Timeout: c.timeout}), post(ctx, t))
	if (err == nil) != (c.want == "") || err != nil && !strings.HasSuffix(err.Error(), c.want) {
		t.Errorf("got %v, want %q", err, c.want)
	}
	if took := time.Since(start); c.after > 0 && took != c.after || took > time.Minute+c.timeout {
		t.Errorf("it took %v, want %v", took, c.after)
	}
	if len(server.Requests()) != c.wantTries {
		t.Errorf("got %d tries, want %d", len(server.Requests()), c.wantTries)
	}
}

// read sends a request and reads the answer.
func read(transport http.RoundTripper, req *http.Request) error {
	resp, err := transport.RoundTrip(req) //nolint:bodyclose // Check and ReadAll close it
	if err != nil {
		return err
	}
	if err := retryhttp.Check(resp); err != nil {
		return err
	}
	_, err = retryhttp.ReadAll(resp, 0)
	return err
}

// What a server asks for is bounded, and never less than nothing.
func TestRetryAfterIsBounded(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "60": time.Minute, "86400": time.Minute, strings.Repeat("9", 40): time.Minute, "-1": 0, "1e3": 0, "NaN": 0, "Inf": 0, "0.5": 0, "": 0, "\u0661": 0,
		"Sat, 01 Jan 2000 00:00:09 GMT": 9 * time.Second, "Fri, 31 Dec 1999 23:59:59 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": time.Minute, "tomorrow": 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			resp := &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {value}}, Body: http.NoBody}
			if e, ok := errors.AsType[*retryhttp.StatusError](retryhttp.Check(resp)); !ok || e.After() != want {
				t.Errorf("%q: got %v, want %v", value, e.After(), want)
			}
		})
	}
}

func TestBodyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		req := post(t.Context(), t)
		req.GetBody = nil
		b := &base{steps: []step{{status: 503}}}
		status, err := roundTrip(retryhttp.New(retryhttp.Options{Base: b}), req)
		if err != nil || status != 503 || len(b.at) != 1 {
			t.Errorf("got %d, %v after %d tries, want one try", status, err, len(b.at))
		}
		req = post(t.Context(), t)
		broken := errors.New("file is gone")
		req.GetBody = func() (io.ReadCloser, error) { return nil, broken }
		if _, err := roundTrip(retryhttp.New(retryhttp.Options{Base: b}), req); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
	})
}

func TestRepetitionIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		req := post(t.Context(), t)
		req.Header.Set("Authorization", "Bearer hunter2")
		b := &base{steps: []step{{err: errors.New("proxy said: Bearer hunter2 refused")}, {status: 502}, {status: 200}}}
		resp, err := retryhttp.New(retryhttp.Options{Base: b, Logger: slog.New(slog.NewTextHandler(&log, nil))}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		for _, fact := range []string{"level=WARN", "attempt=1", "attempt=2", "status 502", "proxy said: [redacted] refused"} {
			if !strings.Contains(log.String(), fact) {
				t.Errorf("got %s, want %q in it", log.String(), fact)
			}
		}
		if strings.Contains(log.String(), "hunter2") {
			t.Errorf("the credential shows in %s", log.String())
		}
	})
}
