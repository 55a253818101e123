package flowrun

// PutBack is the write that uncovers the counting state if a void write hides it: a
// claim or a verdict that came too late, or a put-back of a state that no longer
// counts. It is for the place that wrote it, and for the one that holds the run, since
// the other may have no process any more. The same is done by anybody where a foreign
// state of the same version hides it: each reader would take another one for what
// counts. ok is false if nothing is covered, or if that is another place's to do.
func (s Snapshot) PutBack(agent string, place Place) (w Write, ok bool) {
	stand := s.Standing()
	if len(s.History) == 0 || !stand.Covered(s.State.Type) || !s.coveredFor(place, stand) {
		return Write{}, false
	}
	counting := stand.Counting
	return Write{
		FlowRunID: s.ID, Version: s.Version, Type: counting.State.Type, Message: counting.State.Message,
		Inner: counting.State.Data,
		Mark:  Mark{Kind: PutBack, Agent: agent, Place: place, On: counting.Version, OnType: counting.State.Type},
	}, true
}

// coveredFor reports whether the row that is shown is one that the place puts back.
func (s Snapshot) coveredFor(place Place, stand Standing) bool {
	holds := stand.Last() != nil && stand.Last().State.Mark.Place.Is(place)
	for _, row := range s.History {
		m := row.State.Mark
		ours := m.Kind != Foreign && (m.Place.Is(place) || holds)
		tie := m.Kind == Foreign && stand.Counting.Version == s.Version
		if (ours || tie) && row.Version == s.Version && row.State.Type == s.State.Type {
			return true
		}
	}
	return false
}
