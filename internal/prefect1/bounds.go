package prefect1

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// Bounds of what is believed of an answer. A flow run is foreign input: whoever may
// register a flow decides what its answer holds.
const (
	// maxQueue is how many ids of one answer of the queue are looked at. Servers
	// return 25; the others are offered again.
	maxQueue = 500
	// maxDepth is how deep an answer may be nested.
	maxDepth = 500
	// maxID is how long an id may be; a UUID has 36 characters.
	maxID = 64
	// tooMuch is how long a run whose answer is beyond these bounds is left alone
	// before it is read again.
	tooMuch = 5 * time.Minute
)

// DepthError is an answer that is nested too deep.
type DepthError struct {
	// Limit is what was allowed.
	Limit int
}

func (e *DepthError) Error() string {
	return fmt.Sprintf("answer nested deeper than %d levels", e.Limit)
}

// checkDepth looks at brackets outside of texts; what else is wrong is found later.
func checkDepth(data []byte) error {
	depth, inText := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return &DepthError{Limit: maxDepth}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// beyond reports whether an answer was larger or deeper than is allowed.
func beyond(err error) bool {
	_, large := errors.AsType[*retryhttp.TooLargeError](err)
	_, deep := errors.AsType[*DepthError](err)
	return large || deep
}

// plain reports whether an id can stand in a query and a label selector. A server
// gives UUIDs.
func plain(id flowrun.ID) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// hostile remembers the runs whose answers were beyond the bounds, so that their
// answers are not fetched with every poll.
type hostile struct {
	mu   sync.Mutex
	runs map[flowrun.ID]rejection
}

type rejection struct {
	err   error
	until time.Time
}

func (h *hostile) add(id flowrun.ID, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for id, r := range h.runs {
		if now.After(r.until) {
			delete(h.runs, id)
		}
	}
	if h.runs == nil {
		h.runs = map[flowrun.ID]rejection{}
	}
	h.runs[id] = rejection{err, now.Add(tooMuch)}
}

// part splits ids into those to be read and the runs that are left alone.
func (h *hostile) part(ids []flowrun.ID) (fresh []flowrun.ID, left []FlowRun) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if r, ok := h.runs[id]; ok && time.Now().Before(r.until) {
			left = append(left, unreadable(id, r.err))
			continue
		}
		fresh = append(fresh, id)
	}
	return fresh, left
}

func unreadable(id flowrun.ID, err error) FlowRun {
	return FlowRun{Snapshot: flowrun.Snapshot{ID: id, Err: err}}
}

// divide reads runs in one call, and in halves if the answer is beyond the bounds,
// until the run that makes it so is alone. That one comes back with its Err set.
func (c *Client) divide(ctx context.Context, ids []flowrun.ID, read func(context.Context, []flowrun.ID) ([]FlowRun, error)) ([]FlowRun, error) {
	fresh, runs := c.hostile.part(ids)
	if len(fresh) == 0 {
		return runs, nil
	}
	found, err := read(ctx, fresh)
	switch {
	case !beyond(err):
		return append(runs, found...), err
	case len(fresh) == 1:
		c.hostile.add(fresh[0], err)
		return append(runs, unreadable(fresh[0], err)), nil
	}
	for _, half := range [][]flowrun.ID{fresh[:len(fresh)/2], fresh[len(fresh)/2:]} {
		found, err := c.divide(ctx, half, read)
		if err != nil {
			return nil, err
		}
		runs = append(runs, found...)
	}
	return runs, nil
}
