package dispatch

import (
	"fmt"
	"slices"
)

// Phase is where one start stands.
type Phase uint8

// A start goes Offered, Waiting (for its time), Built, Claimed, Submitted. It
// leaves the path as Dropped, when it is somebody else's or no longer wanted, or
// as Aborted, when it cannot be started and its flow run must say why.
const (
	Offered Phase = iota
	Waiting
	Built
	Claimed
	Submitted
	Dropped
	Aborted
)

var phaseNames = [...]string{"offered", "waiting", "built", "claimed", "submitted", "dropped", "aborted"}

func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// next lists the phases that may follow each phase.
var next = map[Phase][]Phase{
	Offered:   {Waiting, Built, Dropped},
	Waiting:   {Offered, Dropped},
	Built:     {Claimed, Submitted, Dropped, Aborted},
	Claimed:   {Submitted, Dropped, Aborted},
	Submitted: {},
	Dropped:   {},
	Aborted:   {},
}

// mayFollow reports whether a start in phase p may go on to phase to.
func (p Phase) mayFollow(to Phase) bool { return slices.Contains(next[p], to) }

// Final reports whether nothing follows.
func (p Phase) Final() bool { return len(next[p]) == 0 }
