package trace

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"time"
)

// Trace is the ordered events of all nodes in one run. It is read, not changed.
type Trace struct {
	// Start of the run; the zero of [Trace.At].
	Start time.Time
	// End of the run.
	End time.Time
	// Speed that the lab runs at.
	Speed float64
	// Events in the order of their time.
	Events []Event
	// Machines are the names of the nodes by their addresses; nil where they are not known.
	Machines map[netip.Addr]string
}

// New returns the trace of a run. It orders the events, of which it makes a copy:
// each node's are in order as they come, but those of several nodes arrive mixed.
func New(start, end time.Time, speed float64, events []Event) *Trace {
	ordered := slices.Clone(events)
	slices.SortStableFunc(ordered, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return &Trace{Start: start, End: end, Speed: cmp.Or(speed, 1), Events: ordered}
}

// Lab turns wall time into lab time.
func (t *Trace) Lab(wall time.Duration) time.Duration {
	return time.Duration(float64(wall) * t.Speed)
}

// At returns when something happened, in lab time since the start.
func (t *Trace) At(when time.Time) time.Duration { return t.Lab(when.Sub(t.Start)) }

// Duration of the run in lab time.
func (t *Trace) Duration() time.Duration { return t.At(t.End) }

// All yields the events that match, in order.
func (t *Trace) All(match ...Match) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for _, e := range t.Events {
			if matches(e, match) && !yield(e) {
				return
			}
		}
	}
}

// First returns the first event that matches.
func (t *Trace) First(match ...Match) (Event, bool) {
	for e := range t.All(match...) {
		return e, true
	}
	return Event{}, false
}

// Last returns the last event that matches.
func (t *Trace) Last(match ...Match) (Event, bool) {
	for _, e := range slices.Backward(t.Events) {
		if matches(e, match) {
			return e, true
		}
	}
	return Event{}, false
}

// Match says whether an event is meant.
type Match func(Event) bool

func matches(e Event, all []Match) bool {
	for _, m := range all {
		if !m(e) {
			return false
		}
	}
	return true
}

// OfType matches events of these types.
func OfType(types ...Type) Match {
	return func(e Event) bool { return slices.Contains(types, e.Type) }
}

// OfSession matches the events of one client session.
func OfSession(id string) Match {
	return func(e Event) bool { return e.Session == id }
}

// OfNode matches the events that one node recorded.
func OfNode(name string) Match {
	return func(e Event) bool { return e.Node == name }
}

// OfConn matches the events of one connection of a session.
func OfConn(conn int) Match {
	return func(e Event) bool { return e.Conn == conn }
}

// Between matches events from one time (included) to another (excluded).
func Between(from, to time.Time) Match {
	return func(e Event) bool { return !e.Time.Before(from) && e.Time.Before(to) }
}
