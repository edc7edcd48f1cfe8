package scenarios

import (
	"strings"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// explain says why the session has its verdict.
func explain(st *story, v Verdict) Cause {
	switch {
	case st.crash != nil:
		return Cause{st.crashed()}
	case len(st.conns) == 0:
		return Cause{st.neverConnected()}
	case v == Survived:
		return Cause{st.whySurvived(st.conns[0])}
	}
	c := st.worst()
	if c == nil {
		return Cause{{nothingBroke, Args{"messages": messages(st.account.Sent)}}}
	}
	cause := append(Cause{c.broke.what}, st.noticing(c)...)
	cause = append(cause, st.comingBack(c)...)
	if n := st.alike(c); n > 1 {
		cause = append(cause, Sentence{repeated, Args{"times": times(n)}})
	}
	return cause
}

func (st *story) crashed() Sentence {
	at := st.t.End
	if e, ok := st.t.Last(trace.OfNode(st.crash.node), trace.OfType(trace.Stopped)); ok {
		at = e.Time
	}
	why := st.crash.why
	if why == "" {
		why = "no reason is known"
	}
	return Sentence{nodeCrashed, Args{"node": st.crash.node, "at": st.t.At(at), "error": firstLine(why)}}
}

// neverConnected says why there was no connection at all, from the last attempt.
func (st *story) neverConnected() Sentence {
	if len(st.failedDials) == 0 {
		return Sentence{ID: neverOpened}
	}
	e := st.failedDials[len(st.failedDials)-1]
	if e.Stage == "proxy" {
		proxy := st.refusing(e)
		switch e.Status {
		case 407:
			return Sentence{proxyWantsUser, Args{"proxy": proxy}}
		case 403:
			return Sentence{proxyForbids, Args{"proxy": proxy}}
		case 502, 503, 504:
			return Sentence{proxyUnreachable, Args{"proxy": proxy, "status": e.Status}}
		}
	}
	return Sentence{dialFailed, Args{"stage": e.Stage, "error": firstLine(e.Err)}}
}

// refusing names the proxy that refused at that time: the one that says so last before it.
func (st *story) refusing(failed trace.Event) string {
	name := "the proxy"
	for e := range st.t.All(trace.OfType(trace.RelayRefused)) {
		if !e.Time.After(failed.Time.Add(lag)) {
			name = e.Node
		}
	}
	return name
}

// noticing says how the client learned of the break, or why it did not.
func (st *story) noticing(c *connection) Cause {
	switch b := c.broke; {
	case b.own:
		return nil
	case c.noticed == nil:
		return st.unnoticed(c)
	case c.noticed.Type == trace.KeepaliveTimeout:
		return st.timedOut(c, *c.noticed)
	}
	after := st.t.Lab(c.noticed.Time.Sub(c.broke.at))
	write, wrote := st.firstWrite(c, c.broke.at)
	if !c.broke.silent || !wrote || write.Time.After(c.noticed.Time) {
		if after < time.Millisecond {
			return Cause{{ID: sawAtOnce}}
		}
		return Cause{{sawIt, Args{"after": after}}}
	}
	args := Args{"write": st.t.At(write.Time), "after": st.t.Lab(c.noticed.Time.Sub(write.Time))}
	if strings.Contains(c.noticed.Err, "reset") {
		return Cause{{wroteReset, args}}
	}
	return Cause{{wroteTold, args}}
}

// timedOut says which keepalive got no answer, and whether they come too seldom.
func (st *story) timedOut(c *connection, e trace.Event) Cause {
	cause := Cause{{probeTimedOut, Args{
		"means": means(e.Detail), "sent": st.t.At(st.sentAt(c, e)), "timeout": Setting(st.t.Lab(e.Dur)),
	}}}
	_, idle, known := st.natHop(c)
	if c.broke.what.ID != natExpired || !known {
		return cause
	}
	for _, p := range st.probesSent(c) {
		if string(p.means) == e.Detail && p.every > idle {
			cause = append(cause, Sentence{probeGapTooLong, Args{"means": p.means, "interval": Setting(p.every), "timeout": Setting(idle)}})
		}
	}
	return cause
}

// unnoticed says why the client never learned of it.
func (st *story) unnoticed(c *connection) Cause {
	if relay, ok := c.chain.Relay(); ok && st.habits.Keepalive.TCP != nil {
		if e, ok := st.t.First(trace.OfType(trace.MappingExpired), c.chain.Has); ok && e.Node != relay {
			return Cause{{tcpEndsAtRelay, Args{"relay": relay, "nat": e.Node, "silence": st.t.Lab(e.Dur)}}}
		}
	}
	write, wrote := st.firstWrite(c, c.broke.at)
	if !wrote {
		return Cause{{ID: neverWrote}}
	}
	cause := Cause{{blackHole, Args{"write": st.t.At(write.Time)}}}
	switch k := st.habits.Keepalive; {
	case k.Ping != nil || k.Heartbeat != nil:
		return append(cause, Sentence{ID: notYetNoticed})
	case k.TCP != nil:
		return append(cause, Sentence{ID: tcpSuspended})
	case st.habits.Reconnect != nil:
		return append(cause, Sentence{ID: noTrigger})
	}
	return append(cause, Sentence{ID: noKeepalive})
}

// comingBack says what the client did once it had noticed.
func (st *story) comingBack(c *connection) Cause {
	switch {
	case c.next != nil:
		args := Args{"outage": c.outage(st.t), "lost": st.account.Lost, "messages": messages(st.account.Sent)}
		if st.account.Lost > 0 {
			return Cause{{backLossy, args}}
		}
		return Cause{{backWhole, args}}
	case c.noticed == nil:
		return nil
	case st.habits.Reconnect == nil:
		return Cause{{ID: noReconnect}}
	}
	n, last := 0, "no reason is known"
	for _, e := range st.failedDials {
		if e.Time.After(c.noticed.Time) {
			n, last = n+1, e.Err
		}
	}
	if st.gaveUp != nil && n == 0 {
		return Cause{{gaveUpAtOnce, Args{"reason": st.gaveUp.Detail}}}
	}
	if st.gaveUp != nil {
		return Cause{{gaveUp, Args{"attempts": attempts(n), "error": firstLine(last)}}}
	}
	return Cause{{stillTrying, Args{"attempts": attempts(n)}}}
}

// alike counts the connections that broke in the same way.
func (st *story) alike(c *connection) int {
	n := 0
	for _, other := range st.conns {
		if other.broke != nil && other.broke.what.ID == c.broke.what.ID {
			n++
		}
	}
	return n
}

// survivalRule says why a connection survived, if that is why.
type survivalRule func(st *story, c *connection) (Sentence, bool)

// survivalRules is the list of what threatens connections and of how they outlive
// it. The first that applies counts.
func survivalRules() []survivalRule {
	return []survivalRule{madeAnew, waitedOut, keptMapping, keptProxy, boreDelay}
}

func (st *story) whySurvived(c *connection) Sentence {
	for _, rule := range survivalRules() {
		if s, ok := rule(st, c); ok {
			return s
		}
	}
	return Sentence{nothingBroke, Args{"messages": messages(st.account.Sent)}}
}

// madeAnew: the NAT dropped the mapping, and made the same one again.
func madeAnew(st *story, c *connection) (Sentence, bool) {
	e, ok := st.t.First(trace.OfType(trace.MappingExpired, trace.MappingFlushed), c.chain.Has)
	if !ok || !st.wentRoundAfter(c, e.Time) {
		return Sentence{}, false
	}
	return Sentence{natRecovered, Args{"nat": e.Node, "at": st.t.At(e.Time)}}, true
}

// waitedOut: a node on the way stood still for a while.
func waitedOut(st *story, c *connection) (Sentence, bool) {
	for e := range st.t.All(trace.OfType(trace.Paused)) {
		if !c.chain.Passes(e.Detail) {
			continue
		}
		until := st.t.End
		for r := range st.t.All(trace.OfType(trace.Resumed)) {
			if r.Detail == e.Detail && r.Time.After(e.Time) {
				until = r.Time
				break
			}
		}
		return Sentence{outlastedIt, Args{"node": e.Detail, "at": st.t.At(e.Time), "silence": st.t.Lab(until.Sub(e.Time))}}, true
	}
	return Sentence{}, false
}

// keptMapping: there was a silence that the NAT would not have borne, and
// keepalive broke it.
func keptMapping(st *story, c *connection) (Sentence, bool) {
	nat, timeout, ok := st.natHop(c)
	if !ok || st.longestSilence(c) <= timeout {
		return Sentence{}, false
	}
	longest, seen := time.Duration(0), false
	for _, e := range st.onWay(c, trace.MappingRefreshed) {
		if e.Node == nat {
			longest, seen = max(longest, st.t.Lab(e.Dur)), true
		}
	}
	if !seen {
		return Sentence{}, false
	}
	args := Args{"nat": nat, "silence": longest, "timeout": Setting(timeout)}
	if sent := st.probesSent(c); len(sent) > 0 {
		args["probes"] = sent
		return Sentence{keptAlive, args}, true
	}
	if st.habits.Keepalive.TCP != nil {
		return Sentence{keptAliveTCP, args}, true
	}
	return Sentence{}, false
}

// keptProxy: a node that ends TCP would have closed the connection for its silence.
func keptProxy(st *story, c *connection) (Sentence, bool) {
	sent, silence := st.probesSent(c), st.longestSilence(c)
	nat, _, _ := st.natHop(c)
	for _, h := range c.chain.Hops {
		if timeout := st.idle[h.Node]; h.Relay && h.Node != nat && timeout > 0 && silence > timeout && len(sent) > 0 {
			return Sentence{keptBusy, Args{"probes": sent, "node": h.Node, "timeout": Setting(timeout)}}, true
		}
	}
	return Sentence{}, false
}

// longestSilence is the longest time without a message either way, in lab time.
func (st *story) longestSilence(c *connection) time.Duration {
	last, longest := c.open.Time, time.Duration(0)
	messages := trace.OfType(trace.Sent, trace.Acked, trace.Received, trace.ServerReceived, trace.ServerPushed)
	for e := range st.t.All(trace.OfSession(st.id), messages) {
		longest = max(longest, st.t.Lab(e.Time.Sub(last)))
		last = e.Time
	}
	return max(longest, st.t.Lab(st.t.End.Sub(last)))
}

// probesSent are the means of keepalive that the client is seen to have used.
func (st *story) probesSent(c *connection) probes {
	seen := make(map[string]bool)
	for _, e := range st.events(c, trace.KeepaliveSent) {
		seen[e.Detail] = true
	}
	var all probes
	if p := st.habits.Keepalive.Ping; p != nil && seen["ping"] {
		all = append(all, probe{"ping", p.Interval})
	}
	if h := st.habits.Keepalive.Heartbeat; h != nil && seen["heartbeat"] {
		all = append(all, probe{"heartbeat", h.Interval})
	}
	return all
}

// boreDelay: a toxic made answers slow, and nothing was given up for it.
func boreDelay(st *story, c *connection) (Sentence, bool) {
	for e := range st.t.All(trace.OfType(trace.ToxicAdded)) {
		if !c.chain.Passes(e.Node) {
			continue
		}
		slowest := time.Duration(0)
		for _, answer := range st.events(c, trace.Acked, trace.KeepaliveAnswered) {
			if answer.Time.After(e.Time) {
				slowest = max(slowest, st.t.Lab(answer.Dur))
			}
		}
		if slowest > 0 {
			return Sentence{delayed, Args{"toxic": e.Detail, "node": e.Node, "rtt": slowest}}, true
		}
	}
	return Sentence{}, false
}

// firstLine of a text; errors of programs can be long.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}
