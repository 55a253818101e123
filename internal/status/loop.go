package status

import (
	"sync"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// maxReason bounds each text on a page, in bytes.
const maxReason = 1024

// Loop is how one loop reports. Its methods are safe for concurrent use.
type Loop struct {
	secrets *secret.Set
	allowed time.Duration

	mu sync.Mutex
	// alive is the last sign of life, good the last one of a round that went well;
	// both are the end of a pause that was announced after it.
	alive, good time.Time
	worked      bool
	reason      string
}

// Progress says that a round went well.
func (l *Loop) Progress() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.alive, l.good, l.worked, l.reason = now, now, true, ""
}

// Fail says that a round was made and what kept it from going well. The loop is
// alive, but not ready. Whoever can reach the listener is shown the reason.
func (l *Loop) Fail(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alive, l.worked, l.reason = time.Now(), false, l.secrets.Line(reason, maxReason)
}

// Wait says that the loop is about to pause on purpose: the time of its pause
// does not count as silence. What the last round was stays.
func (l *Loop) Wait(pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alive = time.Now().Add(max(pause, 0))
	if l.worked {
		l.good = l.alive
	}
}

// silence is how long the loop has given no sign of life, negative in a pause.
func (l *Loop) silence(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.alive)
}

func (l *Loop) trouble() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason, !l.worked
}

// without is how long the loop has made no progress: it is silent, or none of its
// rounds went well.
func (l *Loop) without(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.good)
}
