package flowrun

import (
	"cmp"
	"slices"
	"strconv"
)

// Row is one line of a flow run's history.
type Row struct {
	Version int
	State   State
}

// Standing is what a history means.
type Standing struct {
	// Counting is the state that counts. Every decision uses it, never the
	// state shown. Its Version is 0 in an empty history.
	Counting Row
	// Scheduled is the version of the Scheduled row that the current attempt
	// rests on, 0 if the history holds none.
	Scheduled int
	// Holder is the claim that counts for the current attempt, nil if there is none,
	// and Ran says that Running followed it.
	Holder *Row
	Ran    bool
	// Previous is the last claim that counted for an earlier attempt, nil if there is
	// none. PreviousScheduled is the version of the Scheduled row of that attempt, and
	// PreviousRan says that Running followed the claim, so that its Job was there: no
	// create of it is under way any more.
	Previous          *Row
	PreviousScheduled int
	PreviousRan       bool
	// Claimed reports whether the history holds any claim of ours, void ones included.
	Claimed bool
}

// Attempt is the identity of a start that rests on the Scheduled row of the
// given version.
func Attempt(version int) string { return "v" + strconv.Itoa(version) }

// Fold reads a history in the one order that every reader agrees on: version,
// ours before foreign, agent id. Rows of one version exist because the servers
// read a run's version and insert the next row in two steps.
//
//   - a claim counts if the state that counts before it is Scheduled: the first wins
//   - a verdict counts if the state it was decided on still counts
//   - a put-back never counts, and every state by anybody else does
func Fold(history []Row) Standing {
	rows := slices.Clone(history)
	slices.SortStableFunc(rows, compareRows)
	var s Standing
	for _, row := range rows {
		s.add(row)
	}
	return s
}

func (s *Standing) add(row Row) {
	mark := row.State.Mark
	switch mark.Kind {
	case Claim:
		s.Claimed = true
		if s.Counting.State.Type == Scheduled {
			s.Counting, s.Holder = row, &row
		}
	case Verdict:
		if s.Counting.Version == mark.On && s.Counting.State.Type == mark.OnType {
			s.Counting = row
		}
	case PutBack:
	case Foreign:
		s.follow(row)
	}
}

// follow takes in a state that somebody else wrote.
func (s *Standing) follow(row Row) {
	switch {
	case row.State.Type == Running:
		s.Ran = s.Holder != nil
	case row.State.Type == Scheduled && s.Holder != nil:
		s.Previous, s.PreviousScheduled, s.PreviousRan = s.Holder, s.Scheduled, s.Ran
		s.Holder, s.Ran = nil, false
	}
	if row.State.Type == Scheduled {
		s.Scheduled = row.Version
	}
	s.Counting = row
}

// compareRows is total in everything that a decision rests on: one agent may leave
// two rows of one version too, the slow one of an earlier attempt.
func compareRows(a, b Row) int {
	return cmp.Or(
		cmp.Compare(a.Version, b.Version),
		cmp.Compare(order(a.State.Mark.Kind), order(b.State.Mark.Kind)),
		cmp.Compare(a.State.Mark.Agent, b.State.Mark.Agent),
		cmp.Compare(progress(a.State.Type), progress(b.State.Type)),
		cmp.Compare(a.State.Type, b.State.Type),
		cmp.Compare(a.State.Mark.On, b.State.Mark.On),
		cmp.Compare(a.State.Mark.OnType, b.State.Mark.OnType),
		cmp.Compare(a.State.Mark.Job, b.State.Mark.Job),
	)
}

// progress lets the state that is further along count where two foreign ones have
// the same version: a cancel is not undone by the Running that came with it.
func progress(t StateType) int {
	switch {
	case t.IsScheduled():
		return 0
	case t == Running:
		return 2
	case t == Cancelling:
		return 3
	case t.IsFinished():
		return 4
	}
	return 1
}

// order puts foreign rows behind ours.
func order(k MarkKind) int {
	if k == Foreign {
		return int(PutBack) + 1
	}
	return int(k)
}

// Last is the claim that held the run most recently: the holder of the current
// attempt, else that of the one before. It is nil if no claim of ours ever counted.
func (s Standing) Last() *Row {
	if s.Holder != nil {
		return s.Holder
	}
	return s.Previous
}

// Holds reports whether the claim that this agent made on the given attempt is
// the state that counts, with nothing behind it.
func (s Standing) Holds(agent string, scheduled int) bool {
	return s.Counting.State.Mark.Kind == Claim && s.Counting.State.Mark.Agent == agent && s.Scheduled == scheduled
}

// Covered reports whether the state shown differs in type from the state that
// counts, which a void write of ours may have caused.
func (s Standing) Covered(shown StateType) bool {
	return s.Counting.Version > 0 && s.Counting.State.Type != shown
}
