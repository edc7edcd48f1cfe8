package scenarios

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// facts are what all sessions of a play share.
type facts struct {
	t *trace.Trace
	// idle is how long each node bears silence, where it says so.
	idle map[string]time.Duration
	// crash of a node that ended the play, or nil.
	crash *crash
}

// idleTimeouts reads the idle timeouts of the nodes, those of the play included.
func (p *player) idleTimeouts() map[string]time.Duration {
	idle := make(map[string]time.Duration)
	read := func(node string, settings json.RawMessage) {
		var s struct {
			Idle *time.Duration `json:"idle_timeout"`
		}
		if json.Unmarshal(settings, &s) == nil && s.Idle != nil && *s.Idle > 0 {
			idle[node] = *s.Idle
		}
	}
	for _, n := range p.plan.Nodes {
		read(n.Name, n.Settings)
	}
	for _, c := range p.play.With {
		read(c.Node, c.Settings)
	}
	return idle
}

// story is what happened to one session, put together from the trace.
type story struct {
	facts
	session
	conns   []*connection
	account account
	// alive: at the end a connection was open and everything sent over it had arrived.
	alive bool
	// gaveUp is the event that says so, if any.
	gaveUp *trace.Event
	// failedDials are those that failed, in order.
	failedDials []trace.Event
}

// connection is one connection of a session.
type connection struct {
	number int
	open   trace.Event
	chain  trace.Chain
	// noticed is when the client took the connection for lost; nil if never.
	noticed *trace.Event
	// closed is the client's own event.
	closed *trace.Event
	// next is the opening of the connection that replaced this one.
	next *trace.Event
	// broke is when and why it stopped working; nil if it did not.
	broke *breakage
}

// breakage is how a connection stopped working.
type breakage struct {
	at   time.Time
	what Sentence
	// silent: the node that broke it tells nobody (a NAT that drops).
	silent bool
	// takes is how long after it was recorded it may take effect: a node that says
	// it is about to be restarted still answers for a moment.
	takes time.Duration
	// own: the client itself ended a connection that worked.
	own bool
}

// tell puts the story of a session together.
func tell(f facts, s session) *story {
	st := &story{facts: f, session: s}
	byNumber := make(map[int]*connection)
	for e := range f.t.All(trace.OfSession(s.id)) {
		switch e.Type {
		case trace.Open:
			c := &connection{number: e.Conn, open: e, chain: f.t.Chain(e)}
			byNumber[e.Conn] = c
			if n := len(st.conns); n > 0 {
				st.conns[n-1].next = &e
			}
			st.conns = append(st.conns, c)
		case trace.KeepaliveTimeout, trace.Close:
			c, ok := byNumber[e.Conn]
			if !ok {
				continue
			}
			if c.noticed == nil {
				c.noticed = &e
			}
			if e.Type == trace.Close {
				c.closed = &e
			}
		case trace.DialFailed:
			st.failedDials = append(st.failedDials, e)
		case trace.ReconnectGaveUp:
			st.gaveUp = &e
		}
	}
	st.alive = len(st.conns) > 0 && st.conns[len(st.conns)-1].noticed == nil && outstanding(f.t.Events, s.id) == 0
	for i, c := range st.conns {
		if i < len(st.conns)-1 || !st.alive {
			c.broke = st.findBreak(c)
		}
	}
	return st
}

// worst is the connection whose break mattered most: the one that never came
// back, else the one with the longest outage.
func (st *story) worst() *connection {
	var worst *connection
	for _, c := range st.conns {
		if c.broke == nil {
			continue
		}
		if worst == nil || c.next == nil || (worst.next != nil && c.outage(st.t) > worst.outage(st.t)) {
			worst = c
		}
	}
	return worst
}

// outage is the time from the break to the next connection, or to the end.
func (c *connection) outage(t *trace.Trace) time.Duration {
	back := t.End
	if c.next != nil {
		back = c.next.Time
	}
	return max(0, t.Lab(back.Sub(c.broke.at)))
}

// durations returns the outage and its two parts, nil where there is none.
func (c *connection) durations(t *trace.Trace) (outage, detect, recover *time.Duration) {
	out := c.outage(t)
	if c.noticed == nil {
		return &out, nil, nil
	}
	d := max(0, t.Lab(c.noticed.Time.Sub(c.broke.at)))
	if c.next == nil {
		return &out, &d, nil
	}
	r := max(0, t.Lab(c.next.Time.Sub(c.noticed.Time)))
	return &out, &d, &r
}

// events yields the client's events about one connection.
func (st *story) events(c *connection, types ...trace.Type) []trace.Event {
	return slices.Collect(st.t.All(trace.OfSession(st.id), trace.OfConn(c.number), trace.OfType(types...)))
}

// onWay returns the events of nodes about the connection's flows.
func (st *story) onWay(c *connection, types ...trace.Type) []trace.Event {
	return slices.Collect(st.t.All(c.chain.Has, trace.OfType(types...)))
}

// lastGood is the last proof that the connection worked.
func (st *story) lastGood(c *connection) time.Time {
	good := st.events(c, trace.Acked, trace.Received, trace.KeepaliveAnswered)
	if len(good) == 0 {
		return c.open.Time
	}
	return good[len(good)-1].Time
}

// lag is how much later than the client a node may record what both saw.
const lag = 500 * time.Millisecond

// over is when nothing more can break the connection.
func (st *story) over(c *connection) time.Time {
	if c.noticed != nil {
		return c.noticed.Time.Add(lag)
	}
	return st.t.End.Add(time.Hour) // to the end of what was recorded
}

// findBreak finds out how a connection broke: of all that may have broken it the
// first in time, unless messages went round later.
func (st *story) findBreak(c *connection) *breakage {
	var found []breakage
	for _, rule := range breakRules() {
		for _, b := range rule(st, c) {
			if b.at.Before(c.open.Time) || b.at.After(st.over(c)) || st.wentRoundAfter(c, b.at.Add(b.takes)) {
				continue
			}
			if c.noticed != nil && b.at.After(c.noticed.Time) {
				b.at = c.noticed.Time // one clock, but the client was faster to write it down
			}
			found = append(found, b)
		}
	}
	if len(found) > 0 {
		first := slices.MinFunc(found, func(a, b breakage) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
		return &first
	}
	for _, rule := range lastRules() {
		if b := rule(st, c); len(b) > 0 {
			return &b[0]
		}
	}
	return &breakage{at: st.lastGood(c), what: Sentence{ID: unknownBreak, Args: Args{"at": st.t.At(st.lastGood(c))}}}
}

// wentRoundAfter says whether a message or a keepalive that was sent over the
// connection after a time was answered.
func (st *story) wentRoundAfter(c *connection, when time.Time) bool {
	return slices.ContainsFunc(st.events(c, trace.Acked, trace.KeepaliveAnswered), func(e trace.Event) bool {
		return e.Dur > 0 && e.Time.Add(-e.Dur).After(when)
	})
}

// firstWrite is the first message or keepalive that the client wrote after a time.
func (st *story) firstWrite(c *connection, after time.Time) (trace.Event, bool) {
	for _, e := range st.events(c, trace.Sent, trace.KeepaliveSent) {
		if e.Time.After(after) {
			return e, true
		}
	}
	return trace.Event{}, false
}

// natHop returns the NAT on the connection's way and its timeout, if both are known.
func (st *story) natHop(c *connection) (node string, timeout time.Duration, ok bool) {
	for e := range st.t.All(trace.OfType(trace.MappingCreated), c.chain.Has) {
		if d, known := st.idle[e.Node]; known {
			return e.Node, d, true
		}
	}
	return "", 0, false
}
