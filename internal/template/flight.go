package template

import (
	"context"
	"errors"
	"time"
)

const (
	// remembered is how long the answer of another machine counts, a refusal too: runs
	// that name one address cost one request.
	remembered = time.Minute
	// ownRemembered is how long the agent's own template counts as unreadable: nothing
	// is started meanwhile.
	ownRemembered = 5 * time.Second
	// mostFlights bounds how many Reads may be under way, mostKept how many bytes are
	// remembered, the paths included.
	mostFlights, mostKept = 512, 8 << 20
)

// flight is one Read under way or done, for everybody who asks for its path.
type flight struct {
	done chan struct{}
	text []byte
	err  error
	// until is when it is forgotten.
	until time.Time
	// landed says that nothing waits for it any more. One that was given up stays until
	// then, so that what hangs, hangs once.
	landed bool
}

func (f *flight) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// share returns the flight of a path, and starts one if there is none.
func (l *Loader) share(ctx context.Context, path string, now time.Time) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	under := 0
	for known, f := range l.flights {
		switch {
		case !f.ended():
			under++
		case f.landed && !now.Before(f.until):
			l.forget(known)
		}
	}
	if f, ok := l.flights[path]; ok {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if under >= mostFlights {
		f.err = &Error{Problem: "too many templates are being read", Mend: "try again later", temporary: true, busy: true}
		close(f.done)
		return f
	}
	l.flights[path] = f
	go l.fly(context.WithoutCancel(ctx), path, f)
	return f
}

// fly reads, and gives up after the time limit, whatever still waits then.
func (l *Loader) fly(ctx context.Context, path string, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	came := make(chan struct{})
	var text []byte
	var err error
	go func() {
		text, err = l.read(ctx, path)
		l.land(f)
		close(came)
	}()
	select {
	case <-came:
	case <-ctx.Done():
	case <-l.closed:
		cancel()
	}
	select {
	case <-came:
	case <-time.After(lastMoment): // what knows ctx ends with it
		l.end(path, f, nil, l.explain(path, true, context.DeadlineExceeded))
		return
	}
	if err != nil {
		err = l.explain(path, errors.Is(ctx.Err(), context.DeadlineExceeded), err)
	}
	l.end(path, f, text, err)
}

// lastMoment is what a Read has to say why it ended, once it has to end.
const lastMoment = 100 * time.Millisecond

func (l *Loader) land(f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.landed = true
}

// end remembers what came of another machine, and what came of nobody in time. A file
// of this machine is read again for each Job.
func (l *Loader) end(path string, f *flight, text []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.text, f.err = text, err
	close(f.done)
	l.kept += size(path, f)
	switch {
	case path == l.own && err != nil:
		f.until = time.Now().Add(ownRemembered)
	case Remote(path) || temporary(err):
		f.until = time.Now().Add(remembered)
	}
	if f.landed && f.until.IsZero() {
		l.forget(path)
	}
	l.shrink()
}

func temporary(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.temporary
}

// shrink forgets what would be forgotten first, until the rest is small enough.
func (l *Loader) shrink() {
	for l.kept > mostKept {
		first := ""
		for path, f := range l.flights {
			if f.ended() && f.landed && (first == "" || f.until.Before(l.flights[first].until)) {
				first = path
			}
		}
		if first == "" {
			return
		}
		l.forget(first)
	}
}

func (l *Loader) forget(path string) {
	if f := l.flights[path]; f.ended() {
		l.kept -= size(path, f)
	}
	delete(l.flights, path)
}

func size(path string, f *flight) int { return len(path) + len(f.text) }
