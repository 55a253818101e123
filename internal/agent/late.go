package agent

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// late are runs that were found beside the queue, until the poll loop takes them.
// Its methods are safe for concurrent use; the zero value is empty.
type late struct {
	mu  sync.Mutex
	ids []flowrun.ID
}

// put replaces what was not taken.
func (l *late) put(ids []flowrun.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = ids
}

// some reports whether there are any.
func (l *late) some() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids) > 0
}

// take gives out some of them, without those that are known already.
func (l *late) take(known []flowrun.ID) []flowrun.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	some := l.ids[:min(together, len(l.ids))]
	l.ids = l.ids[len(some):]
	return slices.DeleteFunc(slices.Clone(some), func(id flowrun.ID) bool { return slices.Contains(known, id) })
}

// restored are runs that a state was put back of, each with the last time. Its
// methods are safe for concurrent use; the zero value is empty.
type restored struct {
	mu   sync.Mutex
	runs map[flowrun.ID]time.Time
}

func (r *restored) add(id flowrun.ID, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.runs == nil {
		r.runs = map[flowrun.ID]time.Time{}
	}
	r.runs[id] = at
}

// since gives those that a state was put back of since then; others are forgotten.
func (r *restored) since(then time.Time) []flowrun.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.runs, func(_ flowrun.ID, at time.Time) bool { return at.Before(then) })
	return slices.Sorted(maps.Keys(r.runs))
}
