// Package status is the HTTP side of the agent: health for the reference's
// probes and for Kubernetes', and the poke that ends a pause. It knows what the
// loops report about themselves; it refuses to know what they do.
package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Health gathers what the loops say about themselves. Its methods are safe for
// concurrent use.
type Health struct {
	mu    sync.Mutex
	loops map[string]*Loop
	// stopping and warnings are what Lack was told last.
	stopping, warnings []string
}

// NewHealth makes a Health that knows no loop and is therefore live, and not ready.
func NewHealth() *Health { return &Health{loops: map[string]*Loop{}} }

// Loop is how one loop reports. It is stuck when it has made no progress for
// longer than it allows itself; it is ready while its last round went well.
type Loop struct {
	allowed time.Duration

	mu       sync.Mutex
	progress time.Time
	worked   bool
	reason   string
}

// Loop adds a loop under a name that is unique, such as "poll". It counts as
// stuck when allowed passes without Progress, Fail or Wait, from now on.
func (h *Health) Loop(name string, allowed time.Duration) *Loop {
	l := &Loop{allowed: allowed, progress: time.Now(), reason: "not started yet"}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loops[name] = l
	return l
}

// Remove forgets a loop that has ended as it should, so that it is not called stuck.
func (h *Health) Remove(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.loops, name)
}

// Lack replaces what is known to be missing: without the one the agent is not
// ready, without the other it works all the same.
func (h *Health) Lack(stopping, warnings []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping, h.warnings = slices.Clone(stopping), slices.Clone(warnings)
}

// Warnings are what does not work without keeping the agent from being ready.
func (h *Health) Warnings() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.warnings)
}

func (h *Health) lacks() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.stopping)
}

// Progress says that a round went well.
func (l *Loop) Progress() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress, l.worked, l.reason = time.Now(), true, ""
}

// Fail says that a round was made and what kept it from going well. The loop is
// alive, but not ready. The reason is shown to whoever can reach the listener:
// it must hold no credential.
func (l *Loop) Fail(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress, l.worked, l.reason = time.Now(), false, reason
}

// Wait says that the loop is about to pause on purpose: the time of its pause
// does not count as silence. What the last round was stays.
func (l *Loop) Wait(pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress = time.Now().Add(max(pause, 0))
}

// stuck is how long the loop has been silent beyond what it allows itself.
func (l *Loop) stuck(now time.Time) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	silence := now.Sub(l.progress)
	return silence, silence > l.allowed
}

func (l *Loop) trouble() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason, !l.worked
}

// Live gives a reason for each loop that is stuck, in the order of names. None
// means that a restart would not help.
func (h *Health) Live(now time.Time) []string {
	var reasons []string
	h.each(func(name string, l *Loop) {
		if silence, stuck := l.stuck(now); stuck {
			reasons = append(reasons, fmt.Sprintf("%s: no progress for %s", name, silence.Round(time.Second)))
		}
	})
	return reasons
}

// Ready gives a reason for each loop that is stuck or whose last round did not
// go well, and for what is missing. Without any loop the agent has not started.
func (h *Health) Ready(now time.Time) []string {
	reasons := h.Live(now)
	loops := 0
	h.each(func(name string, l *Loop) {
		loops++
		if reason, troubled := l.trouble(); troubled {
			reasons = append(reasons, name+": "+strings.Join(strings.Fields(reason), " "))
		}
	})
	if loops == 0 {
		reasons = append(reasons, "starting")
	}
	return append(reasons, h.lacks()...)
}

func (h *Health) each(f func(name string, l *Loop)) {
	h.mu.Lock()
	loops := maps.Clone(h.loops)
	h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(loops)) {
		f(name, loops[name])
	}
}
