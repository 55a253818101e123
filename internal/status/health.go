// Package status is the HTTP side of the agent: health for the reference's
// probes and for Kubernetes', and the poke that ends a pause. It knows what the
// loops report about themselves; it refuses to know what they do.
package status

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// Health gathers what the loops say about themselves. Its methods are safe for
// concurrent use.
type Health struct {
	secrets *secret.Set

	mu    sync.Mutex
	loops map[string]*Loop
	// stopping and warnings are what Lack was told last.
	stopping, warnings []string
}

// NewHealth makes a Health that knows no loop and is therefore live, and not ready.
// What it is told is shown to whoever can reach the listener, so it hides the secrets.
func NewHealth(secrets *secret.Set) *Health {
	return &Health{secrets: secrets, loops: map[string]*Loop{}}
}

// Loop adds a loop under a name that is unique, such as "poll". It counts as late
// when 30 seconds pass without Progress, Fail or Wait, from now on, and as stuck
// when allowed passes so. A loop that is late is not ready; one that is stuck is
// not live either.
func (h *Health) Loop(name string, allowed time.Duration) *Loop {
	now := time.Now()
	l := &Loop{secrets: h.secrets, allowed: allowed, alive: now, good: now, reason: "not started yet"}
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
	h.stopping, h.warnings = h.lines(stopping), h.lines(warnings)
}

func (h *Health) lines(texts []string) []string {
	var lines []string
	for _, text := range texts {
		lines = append(lines, h.secrets.Line(text, maxReason))
	}
	return lines
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

// Live gives a reason for each loop that is stuck, in the order of names. None
// means that a restart would not help.
func (h *Health) Live(now time.Time) []string {
	var reasons []string
	h.each(func(name string, l *Loop) {
		if silence := l.silence(now); silence > l.allowed {
			reasons = append(reasons, silent(name, silence))
		}
	})
	return reasons
}

// Ready gives a reason for each loop that is late or whose last round did not go
// well, and for what is missing. Without any loop the agent has not started.
func (h *Health) Ready(now time.Time) []string {
	var reasons, failures []string
	loops := 0
	h.each(func(name string, l *Loop) {
		loops++
		if silence := l.silence(now); silence > min(lateAfter, l.allowed) {
			reasons = append(reasons, silent(name, silence))
		}
		if reason, troubled := l.trouble(); troubled {
			failures = append(failures, name+": "+reason)
		}
	})
	reasons = append(reasons, failures...)
	if loops == 0 {
		reasons = append(reasons, "starting")
	}
	return append(reasons, h.lacks()...)
}

func silent(name string, silence time.Duration) string {
	return fmt.Sprintf("%s: no progress for %s", name, silence.Round(time.Second))
}

func (h *Health) each(f func(name string, l *Loop)) {
	h.mu.Lock()
	loops := maps.Clone(h.loops)
	h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(loops)) {
		f(name, loops[name])
	}
}
