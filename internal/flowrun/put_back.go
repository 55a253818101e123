package flowrun

// PutBack is the write that uncovers the counting state if a void write of the
// given place hides it: a claim or a verdict that came too late, or a put-back of
// a state that no longer counts. The same is done where somebody else's state of the
// same version hides it: each reader would take another one for what counts. ok is
// false if nothing is covered, or if another place covered it: that one puts it back.
func (s Snapshot) PutBack(agent, place string) (w Write, ok bool) {
	stand := s.Standing()
	if len(s.History) == 0 || !stand.Covered(s.State.Type) || !s.coveredBy(place, stand.Counting.Version) {
		return Write{}, false
	}
	counting := stand.Counting
	return Write{
		FlowRunID: s.ID, Version: s.Version, Type: counting.State.Type, Message: counting.State.Message,
		Inner: counting.State.Data,
		Mark:  Mark{Kind: PutBack, Agent: agent, Place: place, On: counting.Version, OnType: counting.State.Type},
	}, true
}

// coveredBy reports whether the row that is shown is one that this place wrote, or
// one of the version that counts.
func (s Snapshot) coveredBy(place string, counting int) bool {
	for _, row := range s.History {
		m := row.State.Mark
		ours, tie := m.Kind != Foreign && m.Place == place, m.Kind == Foreign && counting == s.Version
		if (ours || tie) && row.Version == s.Version && row.State.Type == s.State.Type {
			return true
		}
	}
	return false
}
