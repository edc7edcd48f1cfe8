package trace

// Missable returns the events of a session without what the server has pushed over connections that the
// client dropped for another that it tried at the same time ([DialDropped]): it never took them for open,
// nor can it have missed what went over them.
func (t *Trace) Missable(session string) []Event {
	dropped := make(map[Flow]bool)
	for e := range t.All(OfSession(session), OfType(DialDropped)) {
		if e.Flow != nil {
			dropped[*e.Flow] = true
		}
	}
	var kept []Event
	never := make(map[int]bool) // by the server's number of the connection
	for e := range t.All(OfSession(session)) {
		if e.Type == Accepted && len(dropped) > 0 {
			never[e.Conn] = dropped[t.Origin(e)]
		}
		if e.Type != ServerPushed || !never[e.Conn] {
			kept = append(kept, e)
		}
	}
	return kept
}
