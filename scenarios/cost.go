package scenarios

import (
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// down is how long no connection worked: until the first was open, and from each break to the next
// connection, or to the end.
func (st *story) down() time.Duration {
	if len(st.conns) == 0 {
		return st.t.Lab(st.t.End.Sub(st.t.Start))
	}
	total := max(0, st.t.Lab(st.conns[0].open.Time.Sub(st.t.Start)))
	for _, c := range st.conns {
		if c.broke != nil {
			total += c.outage(st.t)
		}
	}
	return total
}

// connected is how long the client had a connection that was open as far as it knew.
func (st *story) connected() time.Duration {
	var total time.Duration
	for _, c := range st.conns {
		from, until := c.open.Time, st.t.End
		if from.Before(st.t.Start) {
			from = st.t.Start
		}
		if c.closed != nil {
			until = c.closed.Time
		}
		total += max(0, until.Sub(from))
	}
	return st.t.Lab(total)
}

// keepaliveBytes are those of the WebSocket frames that kept the session's connections alive during the play.
// What TCP's own keepalive sends no node sees.
func (st *story) keepaliveBytes() int {
	var total int64
	keepalive := trace.OfType(trace.KeepaliveSent, trace.KeepaliveAnswered, trace.KeepaliveLate, trace.KeepaliveReceived)
	for e := range st.t.All(trace.OfSession(st.id), keepalive, trace.Between(st.t.Start, st.t.End)) {
		total += e.Count
	}
	return int(total)
}
