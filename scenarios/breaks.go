package scenarios

import (
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
		mappingExpired,
		mappingFlushed,
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
		keepaliveUnanswered,
		closedByPeer,
		endedByNetwork,
		stillUnanswered,
	}
}

func mappingExpired(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.MappingExpired) {
		found = append(found, breakage{at: e.Time, silent: true, what: Sentence{natExpired, Args{
			"nat": e.Node, "at": st.t.At(e.Time), "silence": st.t.Lab(e.Dur),
		}}})
	}
	return found
}

func mappingFlushed(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.MappingFlushed) {
		found = append(found, breakage{at: e.Time, silent: true, what: Sentence{natFlushed, Args{"nat": e.Node, "at": st.t.At(e.Time)}}})
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
			found = append(found, breakage{at: e.Time, what: Sentence{idleClosed, Args{"node": e.Node, "at": at, "timeout": Setting(st.idle[e.Node])}}})
		}
	}
	return found
}

func restarted(st *story, c *connection) (found []breakage) {
	for e := range st.t.All(trace.OfType(trace.Restarting)) {
		if !c.chain.Passes(e.Node) {
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
		if c.chain.Passes(e.Detail) {
			found = append(found, breakage{at: e.Time, silent: true, what: Sentence{nodePaused, Args{"node": e.Detail, "at": st.t.At(e.Time)}}})
		}
	}
	return found
}

func inspected(st *story, c *connection) (found []breakage) {
	for _, e := range st.onWay(c, trace.Inspected) {
		found = append(found, breakage{at: e.Time, what: Sentence{streamInspected, Args{"node": e.Node, "at": st.t.At(e.Time), "rule": e.Detail}}})
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
				"timeout": Setting(st.t.Lab(timeout.Dur)), "rtt": st.t.Lab(late.Dur), "at": st.t.At(st.sentAt(c, timeout)),
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

func keepaliveUnanswered(st *story, c *connection) []breakage {
	for _, e := range st.events(c, trace.KeepaliveTimeout) {
		return []breakage{{at: st.lastGood(c), what: Sentence{probeUnanswered, Args{
			"means": means(e.Detail), "at": st.t.At(st.sentAt(c, e)), "timeout": Setting(st.t.Lab(e.Dur)),
		}}, own: true}}
	}
	return nil
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
