package scenarios

import (
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// breakRule finds events that may have broken a connection. Every figure comes
// from an event of the connection's way or of its client.
type breakRule func(st *story, c *connection) []breakage

// breakRules is the list of what breaks connections on their way. The first in
// time is the cause; of two at once, the one listed first.
func breakRules() []breakRule {
	return []breakRule{
		restarted,
		paused,
		asleep,
		stalled,
		endedByServer,
		halfOpened,
		moved,
		linkDown,
		swallowed,
		forgotten,
		evicted,
		flushed,
		relayEnded,
		inspected,
		blocked,
	}
}

// lastRules is the list of what is looked at when nothing on the way broke the
// connection: how it ended for the client. The first that applies counts.
func lastRules() []breakRule {
	return []breakRule{
		falseAlarm,
		busyAlarm,
		keepaliveUnanswered,
		closedByPeer,
		endedByNetwork,
		stillUnanswered,
	}
}

// forgotten is a NAT, or a firewall, that forgot the connection because of silence.
func forgotten(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.MappingExpired, trace.ConnectionExpired) {
		k, at := forgetter(e), e.Time
		// A node finds out by the packet that came too late, and may stop that one first.
		if b, ok := st.t.First(trace.OfType(trace.Blocked), trace.OfNode(e.Node), c.chain.Has, trace.Between(e.Time.Add(-lag), e.Time)); ok {
			at = b.Time
		}
		found = append(found, breakage{at: at, silent: true, what: Sentence{k.choose(natExpired, firewallExpired), k.args(Args{
			"at": st.t.At(at), "silence": st.t.Lab(e.Dur),
		})}})
	}
	return found
}

// flushed is one that was made to forget.
func flushed(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.MappingFlushed, trace.ConnectionFlushed) {
		k := forgetter(e)
		found = append(found, breakage{at: e.Time, silent: true, what: Sentence{k.choose(natFlushed, firewallFlushed), k.args(Args{"at": st.t.At(e.Time)})}})
	}
	return found
}

// evicted is a NAT that had to make room.
func evicted(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.MappingEvicted) {
		found = append(found, breakage{at: e.Time, silent: true, what: Sentence{natEvicted, Args{
			"nat": e.Node, "at": st.t.At(e.Time), "silence": st.t.Lab(e.Dur),
		}}})
	}
	return found
}

// moved is a node that had another address from then on: the client, and the
// connection had the old one, or a NAT.
func moved(st *story, c *connection) (found []breakage) {
	for e := range st.t.All(trace.OfType(trace.AddressChanged)) {
		args := Args{"at": st.t.At(e.Time), "addresses": e.Detail}
		old, _, _ := strings.Cut(e.Detail, " ")
		what := Sentence{addressChanged, args}
		switch {
		case e.Node == c.open.Node && c.open.Flow != nil && c.open.Flow.Src.Addr().String() == old:
			args["node"] = e.Node
		case c.chain.Passes(e.Node):
			what.ID, args["nat"] = natAddressChanged, e.Node
		default:
			continue
		}
		// It is recorded before it is done, and what is under way may still get through.
		found = append(found, breakage{at: e.Time, takes: lag, silent: true, what: what})
	}
	return found
}

// relayEnded is a node that ends TCP and ended the pair of its own accord: what
// its neighbours did first is not its doing.
func relayEnded(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.RelayClosed) {
		at := st.t.At(e.Time)
		switch {
		case e.By == "node" && e.Detail == "reset", e.By == "toxic" && (e.Detail == "reset" || e.Detail == "reset_peer"):
			found = append(found, breakage{at: e.Time, what: Sentence{resetSent, Args{"node": e.Node, "at": at}}})
		case e.By == "toxic":
			found = append(found, breakage{at: e.Time, what: Sentence{toxicEnded, Args{"node": e.Node, "toxic": e.Detail, "at": at}}})
		case e.By == "idle":
			id := idleClosed
			switch st.proxies[e.Node].Activity {
			case "data":
				id = idleClosedData
			case "upstream":
				id = idleClosedUpstream
			case "downstream":
				id = idleClosedDownstream
			}
			found = append(found, breakage{at: e.Time, what: Sentence{id, Args{"node": e.Node, "at": at, "timeout": Setting(st.idle[e.Node])}}})
		case e.By == "lifetime":
			found = append(found, breakage{at: e.Time, what: Sentence{lifetimeOver, Args{
				"node": e.Node, "at": at, "age": st.t.Lab(e.Dur), "lifetime": Setting(st.proxies[e.Node].Lifetime),
			}}})
		case e.By == "drain":
			found = append(found, breakage{at: e.Time, what: Sentence{drained, Args{"node": e.Node, "at": at, "how": ending(e.Detail)}}})
		case e.By == "limit":
			found = append(found, breakage{at: e.Time, what: Sentence{limitExceeded, Args{"node": e.Node, "at": at, "what": e.Detail}}})
		case e.Detail == closeFrameLost:
			found = append(found, breakage{at: e.Time, what: Sentence{closeFrameDropped, Args{"node": e.Node, "at": at, "side": side(e.By)}}})
		}
	}
	return found
}

func restarted(st *story, c *connection) (found []breakage) {
	for e := range st.t.All(trace.OfType(trace.Restarting)) {
		if !st.passes(c, e.Node) {
			continue
		}
		what := Sentence{nodeReplaced, Args{"node": e.Node, "at": st.t.At(e.Time)}}
		if e.Dur > 0 {
			what.ID, what.Args["down"] = nodeRestarted, Setting(st.t.Lab(e.Dur))
		}
		found = append(found, breakage{at: e.Time, takes: lag, what: what})
	}
	return found
}

func paused(st *story, c *connection) (found []breakage) {
	for e := range st.t.All(trace.OfType(trace.Paused)) {
		if e.Detail == c.open.Node || st.passes(c, e.Detail) {
			found = append(found, breakage{at: e.Time, silent: true, what: Sentence{nodePaused, Args{"node": e.Detail, "at": st.t.At(e.Time)}}})
		}
	}
	return found
}

// asleep is a machine that was put to sleep: the client's own, or one on the way.
func asleep(st *story, c *connection) (found []breakage) {
	for e := range st.t.All(trace.OfType(trace.Asleep)) {
		if e.Detail == c.open.Node || st.passes(c, e.Detail) {
			found = append(found, breakage{at: e.Time, takes: lag, silent: true, what: Sentence{nodeAsleep, Args{
				"node": e.Detail, "at": st.t.At(e.Time), "silence": st.t.Lab(st.awake(e).Sub(e.Time)),
			}}})
		}
	}
	return found
}

// awake is when a node that was put to sleep woke up.
func (st *story) awake(asleep trace.Event) time.Time {
	for e := range st.t.All(trace.OfType(trace.Awake)) {
		if e.Detail == asleep.Detail && e.Time.After(asleep.Time) {
			return e.Time
		}
	}
	return st.t.End
}

// stalled is a client whose program did not come back from a message.
func stalled(st *story, c *connection) (found []breakage) {
	for e := range st.t.All(trace.OfSession(st.id), trace.OfType(trace.Stalled)) {
		found = append(found, breakage{at: e.Time, silent: true, what: Sentence{clientStalled, Args{
			"at": st.t.At(e.Time), "silence": Setting(st.t.Lab(e.Dur)),
		}}})
	}
	return found
}

// linkDown is a network, or a node's place on one, that carries nothing.
func linkDown(st *story, c *connection) (found []breakage) {
	for _, e := range st.linkEvents(c) {
		if isDown(e) {
			found = append(found, breakage{at: e.Time, silent: true, what: Sentence{whichLink(e, networkDown, placeDown), Args{
				"network": e.Network, "node": e.By, "at": st.t.At(e.Time),
			}}})
		}
	}
	return found
}

// swallowed is a toxic that let nothing of the connection through any more.
func swallowed(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.ToxicFired) {
		args := Args{"toxic": e.Detail, "node": e.Node, "at": st.t.At(e.Time)}
		switch e.Detail {
		case blackholeToxic:
			found = append(found, breakage{at: e.Time, silent: true, what: Sentence{toxicSwallows, args}})
		case natIdleToxic:
			found = append(found, breakage{at: e.Time, what: Sentence{toxicForgot, args}})
		}
	}
	return found
}

// Toxics that let nothing through while both connections stay open, as their events name them.
const (
	blackholeToxic = "blackhole"
	natIdleToxic   = "nat_idle_timeout"
)

// isDown says whether conditions of a link let nothing pass.
func isDown(e trace.Event) bool { return slices.Contains(strings.Fields(e.Detail), "down=true") }

// whichLink chooses between a sentence about a network and one about a node's place on it.
func whichLink(e trace.Event, network, place SentenceID) SentenceID {
	if e.By != "" {
		return place
	}
	return network
}

// endedByServer is a server that closed the connection of its own accord: because it was
// told to, because of a limit, or because the client asked for it.
func endedByServer(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.ServerClosed) {
		args := Args{"node": e.Node, "at": st.t.At(e.Time), "code": e.Code, "meaning": closeMeaning(e.Code), "what": e.Detail, "reason": reason(e.Detail)}
		switch {
		case e.By == "limit":
			found = append(found, breakage{at: e.Time, what: Sentence{serverLimit, args}})
		case e.By == "keepalive":
			found = append(found, breakage{at: e.Time, what: Sentence{serverGaveUp, args}})
		case e.By == "node" && e.Code == 1006 && e.Detail != "":
			args["how"] = ending(e.Detail)
			found = append(found, breakage{at: e.Time, what: Sentence{serverLeft, args}})
		case (e.By == "node" || e.By == "client") && e.Code != 1006:
			found = append(found, breakage{at: e.Time, what: Sentence{serverClosed, args}})
		}
	}
	return found
}

// halfOpened is a server whose end was gone from then on.
func halfOpened(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.HalfOpen) {
		id := serverVanished
		if e.Detail == "hung" {
			id = serverHung
		}
		found = append(found, breakage{at: e.Time, silent: true, what: Sentence{id, Args{"node": e.Node, "at": st.t.At(e.Time)}}})
	}
	return found
}

// closeFrameLost is how a proxy that drops close frames says that it did.
const closeFrameLost = "close frame dropped"

// slowed is what an inspection does that does not end a stream, as its event has it.
const slowed = "slow"

func inspected(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.Inspected) {
		if e.By == slowed {
			continue
		}
		silent := e.By == "drop" || e.By == "black-hole"
		found = append(found, breakage{at: e.Time, silent: silent, what: Sentence{streamInspected, Args{"node": e.Node, "at": st.t.At(e.Time), "rule": e.Detail}}})
	}
	return found
}

func blocked(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.Blocked) {
		found = append(found, breakage{at: e.Time, silent: true, what: Sentence{packetsBlocked, Args{"node": e.Node, "at": st.t.At(e.Time), "rule": e.Detail}}})
	}
	return found
}

// falseAlarm is a keepalive whose answer came after the connection was given up.
func falseAlarm(st *story, c *connection) []breakage {
	for _, timeout := range st.events(c, trace.KeepaliveTimeout) {
		for _, late := range st.events(c, trace.KeepaliveLate) {
			if late.Seq != timeout.Seq || late.Detail != timeout.Detail {
				continue
			}
			id := falseAlarmPing
			if late.Detail == "heartbeat" {
				id = falseAlarmHeartbeat
			}
			return []breakage{{at: timeout.Time, own: true, what: Sentence{id, Args{
				"timeout": st.patience(timeout), "rtt": st.t.Lab(late.Dur), "at": st.t.At(st.sentAt(c, timeout)),
			}}}}
		}
	}
	return nil
}

// busyAlarm is a keepalive that was given up while messages of the server arrived: its
// answer was behind them.
func busyAlarm(st *story, c *connection) []breakage {
	for _, timeout := range st.events(c, trace.KeepaliveTimeout) {
		sent, n := st.sentAt(c, timeout), 0
		for _, e := range st.events(c, trace.Received, trace.Acked) {
			if e.Time.After(sent) && !e.Time.After(timeout.Time) {
				n++
			}
		}
		if n > 0 {
			return []breakage{{at: timeout.Time, own: true, what: Sentence{falseAlarmBusy, Args{
				"means": means(timeout.Detail), "sent": st.t.At(sent), "timeout": st.patience(timeout), "messages": messages(n),
			}}}}
		}
	}
	return nil
}

// sentAt is when the keepalive was sent whose answer or timeout the event is.
func (st *story) sentAt(c *connection, e trace.Event) time.Time {
	for _, sent := range st.events(c, trace.KeepaliveSent) {
		if sent.Seq == e.Seq && sent.Detail == e.Detail {
			return sent.Time
		}
	}
	return e.Time.Add(-e.Dur)
}

// silence is how a keepalive timeout says that nothing was asked.
const silence = "silence"

func keepaliveUnanswered(st *story, c *connection) []breakage {
	timeouts := st.events(c, trace.KeepaliveTimeout)
	if len(timeouts) == 0 {
		return nil
	}
	e := timeouts[0]
	if e.Detail == silence {
		return []breakage{{at: st.lastGood(c), what: Sentence{serverSilent, Args{"at": st.t.At(e.Time), "timeout": Setting(st.t.Lab(e.Dur))}}, own: true}}
	}
	sent := st.sentAt(c, e)
	what := Sentence{probeUnanswered, Args{"means": means(e.Detail), "at": st.t.At(sent), "timeout": st.patience(e)}}
	if toxic, ok := st.toxicAt(c, e.Time); ok {
		what.ID, what.Args["toxic"], what.Args["node"] = probeHeldUp, toxic.Detail, toxic.Node
	} else if link, ok := st.conditionsAt(c, e.Time); ok {
		what.ID = whichLink(link, probeHeldUpByNetwork, probeHeldUpByPlace)
		what.Args["network"], what.Args["node"], what.Args["conditions"] = link.Network, link.By, link.Detail
	}
	return []breakage{{at: st.lastGood(c), what: what, own: true}}
}

// toxicAt is a toxic that was on the connection's way at a time, the last that was put there.
func (st *story) toxicAt(c *connection, when time.Time) (last trace.Event, ok bool) {
	for e := range st.t.All(trace.OfType(trace.ToxicAdded, trace.ToxicRemoved)) {
		switch {
		case e.Time.After(when) || !c.chain.Passes(e.Node):
		case e.Type == trace.ToxicAdded:
			last, ok = e, true
		case e.Node == last.Node && e.Detail == last.Detail:
			ok = false
		}
	}
	return last, ok
}

// conditionsAt are the conditions that a link on the connection's way had at a time.
func (st *story) conditionsAt(c *connection, when time.Time) (last trace.Event, ok bool) {
	for _, e := range st.linkEvents(c) {
		if !e.Time.After(when) && e.Detail != "" && st.linkUntil(e).After(when) {
			last, ok = e, true
		}
	}
	return last, ok
}

func closedByPeer(st *story, c *connection) []breakage {
	if c.closed == nil || c.closed.By != "peer" {
		return nil
	}
	return []breakage{{at: c.closed.Time, what: Sentence{peerClosed, Args{"at": st.t.At(c.closed.Time), "code": c.closed.Code}}, own: true}}
}

func endedByNetwork(st *story, c *connection) []breakage {
	if c.closed == nil {
		return nil
	}
	return []breakage{{at: c.closed.Time, what: Sentence{networkEnded, Args{"at": st.t.At(c.closed.Time), "error": c.closed.Err}}, own: true}}
}

func stillUnanswered(st *story, c *connection) []breakage {
	n := outstanding(st.t.Events, st.id)
	if n == 0 {
		return nil
	}
	at := st.lastGood(c)
	return []breakage{{at: at, what: Sentence{unanswered, Args{"messages": messages(n), "at": st.t.At(at)}}, own: true}}
}
