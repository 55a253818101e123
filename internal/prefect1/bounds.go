package prefect1

import (
	"fmt"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// Bounds of what is believed of an answer. A flow run is foreign input: whoever may
// register a flow decides what its answer holds.
const (
	// maxQueue is how many ids of one answer of the queue are looked at. Servers
	// return 25; the others are offered again.
	maxQueue = 500
	// maxDepth is how deep an answer may be nested.
	maxDepth = 500
	// maxID is how long an id may be, as the value of a label; a UUID has 36 characters.
	maxID = 63
	// tooMuch is how long a run whose answer is beyond these bounds is left alone
	// before it is read again.
	tooMuch = 5 * time.Minute
	// maxSuspects is how many runs are remembered as possibly beyond the bounds, and
	// suspicion how long after the last read of one.
	maxSuspects = 2 * maxQueue
	suspicion   = time.Hour
)

// DepthError is an answer that is nested too deep.
type DepthError struct {
	// Limit is what was allowed.
	Limit int
}

func (e *DepthError) Error() string {
	return fmt.Sprintf("answer nested deeper than %d levels", e.Limit)
}

// depth counts brackets outside of texts; what else is wrong is found later.
type depth struct {
	level           int
	inText, escaped bool
}

// allows reports whether an answer that goes on so stays within the bound.
func (d *depth) allows(data []byte) bool {
	for _, c := range data {
		switch {
		case d.escaped:
			d.escaped = false
		case d.inText:
			d.escaped, d.inText = c == '\\', c != '"'
		case c == '"':
			d.inText = true
		case c == '{' || c == '[':
			if d.level++; d.level > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			d.level--
		}
	}
	return true
}

// wellFormed reports whether an id can stand in a query and a label selector. A server
// gives UUIDs.
func wellFormed(id flowrun.ID) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i, c := range []byte(id) {
		inside := i > 0 && i < len(id)-1 && (c == '-' || c == '_')
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !inside {
			return false
		}
	}
	return true
}
