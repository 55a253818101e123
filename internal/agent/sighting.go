package agent

import (
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

// sightings keep since when a loop of this process has known each run to be as it
// is. The zero value is empty.
type sightings struct {
	runs   map[flowrun.ID]sighting
	pruned time.Time
}

type sighting struct {
	as          string
	since, last time.Time
	whose       whose
}

// whose says what the history of a Submitted run told: unread, claimed for this
// place, or nothing that could be done about it here.
type whose uint8

const (
	unread whose = iota
	ours
	others
)

// forgetAfter is how long a run that is not seen again is remembered.
const forgetAfter = 20 * time.Minute

// see notes that a run is seen in a certain way, and returns since when it is.
func (s *sightings) see(id flowrun.ID, as string, at time.Time) sighting {
	if s.runs == nil {
		s.runs = map[flowrun.ID]sighting{}
	}
	known, ok := s.runs[id]
	if !ok || known.as != as {
		known = sighting{as: as, since: at}
	}
	known.last = at
	s.runs[id] = known
	s.prune(at)
	return known
}

// known reports whether a run was last seen in this way.
func (s *sightings) known(id flowrun.ID, as string) bool { return s.runs[id].as == as }

// mark notes whose a run is, if it was last seen in this way.
func (s *sightings) mark(id flowrun.ID, as string, w whose) {
	if seen, ok := s.runs[id]; ok && seen.as == as {
		seen.whose = w
		s.runs[id] = seen
	}
}

func (s *sightings) prune(now time.Time) {
	if now.Sub(s.pruned) < forgetAfter {
		return
	}
	s.pruned = now
	for id, seen := range s.runs {
		if now.Sub(seen.last) >= forgetAfter {
			delete(s.runs, id)
		}
	}
}
