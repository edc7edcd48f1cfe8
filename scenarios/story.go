package scenarios

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// facts are what all sessions of a play share.
type facts struct {
	t *trace.Trace
	// idle is how long each node bears silence, where it says so.
	idle map[string]time.Duration
	// places are the addresses of nodes.
	places map[netip.Addr]string
	// client is the node that the sessions start from.
	client string
	// forward is the proxy of wslab's own that clients are to go through, "" if there is none.
	forward string
	// nodes are the specs of the lab's, with their routes.
	nodes []topology.NodeSpec
	// proxies are what else the nodes' settings say of connections that they end.
	proxies map[string]proxyFacts
	// crash of a node that ended the play, or nil.
	crash *crash
}

// proxyFacts are settings of a proxy that a cause may tell of.
type proxyFacts struct {
	// Activity is what re-arms the idle timeout; Lifetime how long a connection may last.
	Activity string        `json:"activity"`
	Lifetime time.Duration `json:"max_lifetime"`
}

// pingsCount says whether a proxy takes pings for activity.
func (p proxyFacts) pingsCount() bool { return p.Activity != "data" }

// proxyFacts reads the settings of the nodes, those of the play included.
func (p *player) proxyFacts() map[string]proxyFacts {
	proxies := make(map[string]proxyFacts)
	read := func(node string, settings json.RawMessage) {
		f := proxies[node]
		if json.Unmarshal(settings, &f) == nil && f != (proxyFacts{}) {
			proxies[node] = f
		}
	}
	for _, n := range p.plan.Nodes {
		read(n.Name, n.Settings)
	}
	for _, c := range p.play.With {
		read(c.Node, c.Settings)
	}
	return proxies
}

// idleTimeouts reads the idle timeouts of the nodes, those of the play included.
func (p *player) idleTimeouts() map[string]time.Duration {
	type limits struct {
		Idle time.Duration `json:"idle_timeout"`
		Read time.Duration `json:"read_timeout"` // the same of a proxy that speaks HTTP
	}
	nodes := make(map[string]*limits)
	for _, n := range p.plan.Nodes {
		nodes[n.Name] = new(limits)
		_ = json.Unmarshal(n.Settings, nodes[n.Name]) // settings without them have none
	}
	for _, c := range p.play.With {
		_ = json.Unmarshal(c.Settings, nodes[c.Node]) // only the keys that are changed
	}
	idle := make(map[string]time.Duration)
	for name, l := range nodes {
		if l.Idle == 0 || l.Read == 0 {
			l.Idle = max(l.Idle, l.Read)
		} else {
			l.Idle = min(l.Idle, l.Read)
		}
		if l.Idle > 0 {
			idle[name] = l.Idle
		}
	}
	return idle
}

// addresses tells which node has which address.
func (p *player) addresses() map[netip.Addr]string {
	places := make(map[netip.Addr]string)
	for _, n := range p.plan.Nodes {
		for _, i := range n.Interfaces {
			for _, a := range i.Addrs() {
				places[a] = n.Name
			}
		}
	}
	return places
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
	// droppedDials are those that were dropped for others, in order.
	droppedDials []trace.Event
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
	// witnessed says that the client records nothing: when it noticed what is not known.
	witnessed bool
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
			c := &connection{number: e.Conn, open: e, chain: f.t.Chain(e), witnessed: e.Witnessed}
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
		case trace.DialDropped:
			st.droppedDials = append(st.droppedDials, e)
		case trace.ReconnectGaveUp:
			st.gaveUp = &e
		}
	}
	st.alive = len(st.conns) > 0 && st.conns[len(st.conns)-1].noticed == nil && !st.waits()
	for i, c := range st.conns {
		if i < len(st.conns)-1 || !st.alive {
			c.broke = st.findBreak(c)
		}
	}
	return st
}

// waits says whether something that was sent over the last connection was not answered at the end.
func (st *story) waits() bool {
	if st.program == nil {
		return outstanding(st.t.Events, st.id) > 0
	}
	last := st.conns[len(st.conns)-1]
	if unansweredPushes(st.t.Events, st.id) > 0 {
		return true
	}
	for _, e := range st.onWay(last, trace.Answered) {
		if e.Detail == probeAnswer {
			return false
		}
	}
	return true
}

// roundTrips are the answers, to either end, that prove that a connection worked.
func (st *story) roundTrips(c *connection) []trace.Event {
	if st.program != nil {
		return st.onWay(c, trace.Answered)
	}
	return st.events(c, trace.Acked, trace.KeepaliveAnswered)
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
	if c.noticed == nil || c.witnessed {
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

// passes says whether a node is known to be on the connection's way: it changed the
// flow, it is the server, or it tracked the connection.
func (st *story) passes(c *connection, node string) bool {
	return c.chain.Passes(node) || slices.ContainsFunc(st.onWay(c, trace.ConnectionTracked), func(e trace.Event) bool { return e.Node == node })
}

// lastGood is the last proof that the connection worked.
func (st *story) lastGood(c *connection) time.Time {
	if st.program != nil {
		if good := st.onWay(c, trace.Answered, trace.Heard); len(good) > 0 {
			return good[len(good)-1].Time
		}
		return c.open.Time
	}
	good := st.events(c, trace.Acked, trace.Received, trace.KeepaliveAnswered, trace.KeepaliveReceived)
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
	first, last := breakRules(), lastRules()
	if st.program != nil {
		first, last = append(first, programOver), []breakRule{programLeft, programSilent}
	}
	for _, rule := range first {
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
		earliest := slices.MinFunc(found, func(a, b breakage) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
		return &earliest
	}
	for _, rule := range last {
		if b := rule(st, c); len(b) > 0 {
			return &b[0]
		}
	}
	return &breakage{at: st.lastGood(c), what: Sentence{ID: unknownBreak, Args: Args{"at": st.t.At(st.lastGood(c))}}}
}

// wentRoundAfter says whether a message or a keepalive that was sent over the
// connection after a time was answered.
func (st *story) wentRoundAfter(c *connection, when time.Time) bool {
	return slices.ContainsFunc(st.roundTrips(c), func(e trace.Event) bool {
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

// keeper is a node that forgets connections after silence: a NAT, or a firewall.
type keeper struct {
	node    string
	timeout time.Duration
	// firewall says that it is one.
	firewall bool
}

// keepers returns those on the connection's way whose timeout is known, the one with
// the shortest first.
func (st *story) keepers(c *connection) []keeper {
	var all []keeper
	for e := range st.t.All(trace.OfType(trace.MappingCreated, trace.ConnectionTracked), c.chain.Has) {
		timeout, known := st.idle[e.Node]
		if known && !slices.ContainsFunc(all, func(k keeper) bool { return k.node == e.Node }) {
			all = append(all, keeper{e.Node, timeout, e.Type == trace.ConnectionTracked})
		}
	}
	slices.SortStableFunc(all, func(a, b keeper) int { return cmp.Compare(a.timeout, b.timeout) })
	return all
}

// args are the arguments of a sentence about the node.
func (k keeper) args(more Args) Args {
	name := "nat"
	if k.firewall {
		name = "firewall"
	}
	more[name] = k.node
	return more
}

// choose returns the sentence for a NAT or for a firewall.
func (k keeper) choose(nat, firewall SentenceID) SentenceID {
	if k.firewall {
		return firewall
	}
	return nat
}

// forgetter is the node whose event says that it forgot a connection.
func forgetter(e trace.Event) keeper {
	return keeper{node: e.Node, firewall: e.Type == trace.ConnectionExpired || e.Type == trace.ConnectionFlushed}
}
