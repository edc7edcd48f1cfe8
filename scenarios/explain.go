package scenarios

import (
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
)

// explain says why the session has its verdict.
func explain(st *story, v Verdict) Cause {
	switch {
	case st.crash != nil:
		return Cause{st.crashed()}
	case st.program != nil:
		return st.explainProgram(v)
	case len(st.conns) == 0:
		return st.neverConnected()
	case v == Survived:
		return append(Cause{st.whySurvived(st.conns[0])}, st.trusted(st.conns[0])...)
	}
	c := st.worst()
	if c == nil && st.account.Lost > 0 {
		return Cause{{lostOnTheWay, Args{"lost": st.account.Lost, "messages": messages(st.account.Sent)}}}
	}
	if c == nil {
		return Cause{{nothingBroke, Args{"messages": messages(st.account.Sent)}}}
	}
	cause := append(Cause{c.broke.what}, st.meanwhile(c)...)
	cause = append(cause, st.noticing(c)...)
	cause = append(cause, st.roomless(c)...)
	cause = append(cause, st.attemptsMet(c)...)
	cause = append(cause, st.comingBack(c)...)
	if n := st.alike(c); n > 1 {
		cause = append(cause, Sentence{repeated, Args{"times": times(n)}})
	}
	return cause
}

// trusted says that the client doubted the connection, and how that went on.
func (st *story) trusted(c *connection) Cause {
	n := len(st.events(c, trace.KeepaliveTrusted))
	if n == 0 {
		return nil
	}
	return Cause{{doubtedInVain, Args{"times": times(n)}}}
}

// sought is since when another connection was sought in place of one that was lost: since it was
// noticed, or doubted before.
func (st *story) sought(c *connection) time.Time {
	since := c.noticed.Time
	for _, e := range st.events(c, trace.KeepaliveDoubted, trace.KeepaliveTrusted) {
		switch {
		case e.Time.After(c.noticed.Time):
		case e.Type == trace.KeepaliveDoubted:
			since = e.Time
		default:
			since = c.noticed.Time
		}
	}
	return since
}

// meanwhile says what else happened to a connection because of what broke it.
func (st *story) meanwhile(c *connection) Cause {
	switch c.broke.what.ID {
	case nodeAsleep:
		for _, e := range st.onWay(c, trace.MappingExpired, trace.ConnectionExpired) {
			if e.Time.After(c.broke.at) && !e.Time.After(st.over(c)) {
				k := forgetter(e)
				return Cause{{k.choose(natExpiredMeanwhile, firewallExpiredMeanwhile), k.args(Args{"silence": st.t.Lab(e.Dur)})}}
			}
		}
	case serverVanished:
		back, ok := st.t.First(trace.OfType(trace.Ready), trace.Between(c.broke.at, st.over(c)), func(e trace.Event) bool { return e.Node == c.broke.what.Args["node"] })
		if ok && c.noticed != nil && strings.Contains(c.noticed.Err, "reset") {
			return Cause{{knewNothing, Args{"node": back.Node, "at": st.t.At(back.Time)}}}
		}
	case serverGaveUp:
		if e, ok := st.toxicAt(c, c.broke.at); ok {
			return Cause{{heldAnswerUp, Args{"toxic": e.Detail, "node": e.Node}}}
		}
	case idleClosed, idleClosedUpstream, idleClosedDownstream:
		return st.tooLate(c)
	case serverClosed:
		for _, e := range st.onWay(c, trace.RelayClosed) {
			if e.Detail == closeFrameLost && !e.Time.After(st.over(c)) {
				return Cause{{keptToItself, Args{"node": e.Node}}}
			}
		}
	case falseAlarmBusy:
		if e, ok := st.toxicAt(c, c.broke.at); ok {
			return Cause{{heldUp, Args{"toxic": e.Detail, "node": e.Node}}}
		}
	}
	if c.broke.silent {
		return st.serverTurnedAway(c)
	}
	return nil
}

// serverTurnedAway says that the server gave a connection up that had been broken before.
func (st *story) serverTurnedAway(c *connection) Cause {
	for _, e := range st.onWay(c, trace.ServerClosed) {
		if e.By != "keepalive" || e.Time.Before(c.broke.at) || e.Time.After(st.over(c)) {
			continue
		}
		id := gaveUpMeanwhile
		switch {
		case c.noticed == nil:
			id = gaveUpUnheard
		case e.Time.After(c.noticed.Time.Add(-lag)):
			return nil // both at once: the client needed no server for it
		}
		return Cause{{id, Args{"node": e.Node, "at": st.t.At(e.Time), "reason": reason(e.Detail)}}}
	}
	return nil
}

// tooLate says which keepalive would have kept a proxy from closing the connection, and came
// too late for that.
func (st *story) tooLate(c *connection) (cause Cause) {
	node, _ := c.broke.what.Args["node"].(string)
	answered := make(map[int64]bool)
	for _, e := range st.events(c, trace.KeepaliveAnswered) {
		answered[e.Seq] = true
	}
	for _, e := range st.events(c, trace.KeepaliveSent) {
		if !answered[e.Seq] && !e.Time.After(c.broke.at) {
			cause = Cause{{cameTooLate, Args{"means": means(e.Detail), "sent": st.t.At(e.Time)}}}
		}
	}
	for _, p := range st.probesSent(c) {
		if timeout := st.idle[node]; p.every > 0 && p.every >= timeout {
			cause = append(cause, Sentence{probeGapTooLong, Args{"means": p.means, "interval": Setting(p.every), "timeout": Setting(timeout)}})
		}
	}
	if len(cause) == 0 && st.habits.Keepalive.TCP != nil {
		cause = Cause{{tcpNoBytes, Args{"node": node}}}
	}
	return cause
}

// attemptsMet says what the attempts to replace a connection met, where that is none of
// what the other sentences tell of.
func (st *story) attemptsMet(c *connection) Cause {
	if c.noticed == nil || st.habits.Reconnect == nil {
		return nil
	}
	until := st.t.End
	if c.next != nil {
		until = c.next.Time
	}
	during := trace.Between(st.sought(c), until)
	for e := range st.t.All(trace.OfSession(st.id), trace.OfType(trace.DialFailed), during) {
		dialing := st.during(e)
		if no, ok := st.t.First(trace.OfType(trace.LookupFailed), trace.OfNode(st.client), dialing); ok && e.Stage == "tcp" && e.Flow == nil {
			return Cause{{namesFailed, Args{"node": no.Node, "at": st.t.At(no.Time), "how": no.Err}}}
		}
		if e.Stage == "proxy" && e.Status == 407 {
			return Cause{{wantedUser, Args{"proxy": st.refusing(e), "at": st.t.At(e.Time)}}}
		}
		if no, ok := st.t.First(trace.OfType(trace.Refused), trace.OfSession(st.id), dialing); ok && no.By == slowHandshake {
			return Cause{{slowAnswer, Args{"node": no.Node, "patience": Setting(st.habits.ConnectTimeout)}}}
		}
	}
	return nil
}

// slowHandshake is the setting by which a server takes its time for the answer, as its event names it.
const slowHandshake = "handshake_delay"

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
func (st *story) neverConnected() Cause {
	failed := st.failedDials
	if len(failed) == 0 {
		failed = st.droppedDials // nobody answered, and others were made beside them
	}
	if len(failed) == 0 {
		return Cause{{ID: neverOpened}}
	}
	e := failed[len(failed)-1]
	if cause := st.refusedBySetting(e); cause != nil {
		return cause
	}
	if e.Stage == "proxy" {
		return st.refusedByProxy(e)
	}
	if e.Stage == "websocket" {
		if stripped, ok := st.t.Last(trace.OfType(trace.UpgradeStripped), trace.Between(st.t.Start.Add(-time.Hour), e.Time.Add(lag))); ok {
			return Cause{{upgradeStripped, Args{"proxy": stripped.Node, "status": e.Status}}}
		}
		if no, ok := st.t.Last(trace.OfType(trace.Refused), trace.OfSession(st.id), st.during(e)); ok {
			return Cause{st.refusedByServer(no)}
		}
	}
	return st.failedDial(e)
}

// refusedByServer says what the server did not take of a handshake.
func (st *story) refusedByServer(no trace.Event) Sentence {
	id := handshakeRefused
	switch no.By {
	case "origins":
		id = originRefused
	case "csrf":
		id = csrfRefused
	case "sessions":
		id = sessionRefused
	case slowHandshake:
		return Sentence{handshakeSlow, Args{"node": no.Node, "patience": Setting(st.habits.ConnectTimeout)}}
	}
	return Sentence{id, Args{"node": no.Node, "status": no.Status, "rule": no.Detail}}
}

// during is the time of an attempt that failed.
func (st *story) during(failed trace.Event) func(trace.Event) bool {
	start := st.t.Start.Add(-time.Hour)
	for e := range st.t.All(trace.OfSession(st.id), trace.OfType(trace.DialStart)) {
		if !e.Time.After(failed.Time) {
			start = e.Time
		}
	}
	return trace.Between(start, failed.Time.Add(lag))
}

// refusedByProxy says why a proxy did not lead on: its own rules, or whoever stopped
// what it sent in the client's stead.
func (st *story) refusedByProxy(e trace.Event) Cause {
	proxy := st.refusing(e)
	var cause Cause
	switch e.Status {
	case 407:
		return Cause{{proxyWantsUser, Args{"proxy": proxy}}}
	case 403:
		return Cause{{proxyForbids, Args{"proxy": proxy}}}
	case 502, 503, 504:
		cause = Cause{{proxyUnreachable, Args{"proxy": proxy, "status": e.Status}}}
	default:
		cause = st.failedDial(e)
	}
	if stop, ok := st.stopped(e, proxy); ok && cause.ID() != dialBlocked && cause.ID() != dialInspected {
		cause = append(cause, Sentence{proxyStopped, Args{"node": stop.Node, "proxy": proxy, "rule": stop.Detail}})
	}
	return cause
}

// failedDial says how an attempt of the client itself failed.
func (st *story) failedDial(e trace.Event) Cause {
	args := Args{"stage": e.Stage, "error": firstLine(e.Err)}
	stop, ok := st.stopped(e, st.client)
	if !ok {
		return Cause{{dialFailed, args}}
	}
	args["node"], args["rule"], args["error"] = stop.Node, stop.Detail, last(e.Err)
	if stop.Type == trace.Blocked {
		return Cause{{dialBlocked, args}}
	}
	return Cause{{dialInspected, args}}
}

// stopped finds what a node on the way did to an attempt that failed: an inspection of
// its stream, else packets that were stopped. An attempt that got no TCP connection has
// no flow: what counts then are the packets from or to the node that tried.
func (st *story) stopped(failed trace.Event, tried string) (stop trace.Event, ok bool) {
	during := st.during(failed)
	mine := func(e trace.Event) bool {
		return e.Flow != nil && tried != "" && (st.places[e.Flow.Src.Addr()] == tried || st.places[e.Flow.Dst.Addr()] == tried)
	}
	if failed.Flow != nil && tried == st.client {
		chain := st.t.Chain(trace.Event{Time: failed.Time, Flow: failed.Flow})
		if e, ok := st.t.First(during, trace.OfType(trace.Inspected), chain.Has); ok {
			return e, true
		}
		mine = chain.Has
	}
	return st.t.First(during, trace.OfType(trace.Blocked), mine)
}

// refusedBySetting says which setting of a proxy an attempt has failed at, where the proxy recorded it.
func (st *story) refusedBySetting(failed trace.Event) Cause {
	no, ok := st.atProxy(failed, trace.RelayRefused)
	args := Args{"proxy": no.Node, "rule": no.Detail, "status": failed.Status}
	switch {
	case !ok, failed.Stage == "tcp":
	case no.By == "auth" && failed.Stage == "proxy":
		return Cause{{proxyWantsScheme, args}}
	case no.By == "captive":
		return Cause{{captivePortal, args}}
	case no.By == "max_connections":
		return Cause{{proxyFull, args}}
	case no.By != "" && failed.Stage == "websocket" && no.Status == failed.Status:
		return Cause{{proxyAnswered, args}}
	}
	if opened, ok := st.atProxy(failed, trace.Intercepted); ok && failed.Stage == "tls" {
		return Cause{{tlsIntercepted, Args{"proxy": opened.Node, "issuer": opened.Detail, "error": firstLine(failed.Err)}}}
	}
	return nil
}

// atProxy is what a proxy recorded last of an attempt that failed: of the attempt's own connection, or
// where that is not known, of any at that time.
func (st *story) atProxy(failed trace.Event, what trace.Type) (last trace.Event, ok bool) {
	mine := func(trace.Event) bool { return true }
	if failed.Flow != nil {
		mine = st.t.Chain(trace.Event{Time: failed.Time, Flow: failed.Flow}).Has
	}
	return st.t.Last(trace.OfType(what), st.during(failed), mine)
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
	if c.noticed.By == "strategy" && strings.HasPrefix(c.noticed.Err, addressGone) {
		return Cause{{missedAddress, Args{"after": after}}}
	}
	write, wrote := st.firstWrite(c, c.broke.at)
	if !c.broke.silent || !wrote || write.Time.After(c.noticed.Time) {
		if c.broke.silent && st.habits.Keepalive.TCP != nil && strings.Contains(c.noticed.Err, syscall.ETIMEDOUT.Error()) {
			return append(Cause{{tcpUnanswered, Args{"after": after}}}, st.probedTooLate(c)...)
		}
		cause := Cause{{sawIt, Args{"after": after}}}
		if after < time.Millisecond {
			cause = Cause{{ID: sawAtOnce}}
		}
		if c.broke.silent && strings.Contains(c.noticed.Err, "reset") {
			cause = append(cause, st.mappedAnew(c)...) // for an acknowledgement of the client's kernel
			if !wrote || write.Time.After(c.noticed.Time) {
				cause = append(cause, st.probedTooLate(c)...) // or for its probe
			}
		}
		return cause
	}
	args := Args{"write": st.t.At(write.Time), "after": st.t.Lab(c.noticed.Time.Sub(write.Time))}
	if strings.Contains(c.noticed.Err, "reset") {
		return append(Cause{{wroteReset, args}}, st.mappedAnew(c)...)
	}
	return Cause{{wroteTold, args}}
}

// addressGone is how the error of a client begins that gave a connection up because its machine has
// lost the address.
var addressGone = (&strategy.AddressError{}).Error()

// mappedAnew says that a NAT made a new mapping for what the client sent, and another
// one than before: the RST is the server's.
func (st *story) mappedAnew(c *connection) Cause {
	for _, h := range c.chain.Hops {
		e, ok := st.t.First(trace.OfType(trace.MappingCreated), trace.OfNode(h.Node), trace.Between(c.broke.at, c.noticed.Time.Add(lag)), func(e trace.Event) bool {
			return e.Flow != nil && *e.Flow == h.Flow && e.Next != nil && *e.Next != h.Next
		})
		if ok {
			return Cause{{mappedAnew, Args{"nat": h.Node, "before": h.Next.Src, "now": e.Next.Src}}}
		}
	}
	return nil
}

// timedOut says which keepalive got no answer, and whether they come too seldom.
func (st *story) timedOut(c *connection, e trace.Event) Cause {
	if e.Detail == silence {
		return Cause{{heardNothing, Args{"at": st.t.At(e.Time), "timeout": Setting(st.t.Lab(e.Dur))}}}
	}
	cause := Cause{{probeTimedOut, Args{
		"means": means(e.Detail), "sent": st.t.At(st.sentAt(c, e)), "timeout": st.patience(e),
	}}}
	for _, p := range st.probesSent(c) {
		if string(p.means) == e.Detail {
			cause = append(cause, st.tooSlow(c, p)...)
		}
	}
	return cause
}

// tooSlow says that a means of keepalive comes too seldom for the node that forgot the connection.
func (st *story) tooSlow(c *connection, p probe) Cause {
	for _, k := range st.keepers(c) {
		if k.broke(c) && p.every > k.timeout {
			return Cause{{probeGapTooLong, Args{"means": p.means, "interval": Setting(p.every), "timeout": Setting(k.timeout)}}}
		}
	}
	return nil
}

// probedTooLate says that TCP keepalive begins too late for the node that forgot the connection.
func (st *story) probedTooLate(c *connection) Cause {
	tcp := st.habits.Keepalive.TCP
	for _, k := range st.keepers(c) {
		if tcp != nil && k.broke(c) && tcp.Idle >= k.timeout {
			return Cause{{tcpGapTooLong, Args{"interval": Setting(tcp.Idle), "timeout": Setting(k.timeout)}}}
		}
	}
	return nil
}

// patience is how long an answer was waited for: a setting, but of a client that finds it out by itself.
func (st *story) patience(timeout trace.Event) any {
	d := st.t.Lab(timeout.Dur)
	if st.habits.Keepalive.Adaptive != nil {
		return d
	}
	return Setting(d)
}

// broke says whether it was the node that forgot the connection.
func (k keeper) broke(c *connection) bool {
	what := c.broke.what
	return what.ID == k.choose(natExpired, firewallExpired) && (what.Args["nat"] == k.node || what.Args["firewall"] == k.node)
}

// unnoticed says why the client never learned of it.
func (st *story) unnoticed(c *connection) Cause {
	if relay, ok := c.chain.Relay(); ok && st.habits.Keepalive.TCP != nil {
		if e, ok := st.t.First(trace.OfType(trace.MappingExpired, trace.ConnectionExpired), c.chain.Has); ok && e.Node != relay {
			k := forgetter(e)
			return Cause{{k.choose(tcpEndsAtRelay, tcpEndsBefore), k.args(Args{"relay": relay, "silence": st.t.Lab(e.Dur)})}}
		}
	}
	write, wrote := st.firstWrite(c, c.broke.at)
	if !wrote {
		return Cause{{ID: neverWrote}}
	}
	hung := c.broke.what.ID == serverHung
	cause := Cause{{blackHole, Args{"write": st.t.At(write.Time)}}}
	if hung {
		cause[0].ID = wroteUnread
	}
	switch k := st.habits.Keepalive; {
	case k.Ping != nil || k.Heartbeat != nil && !k.Heartbeat.OneWay || k.Watch != nil || k.Adaptive != nil:
		return append(cause, st.pending(c)...)
	case k.TCP != nil && hung:
		return append(cause, Sentence{ID: tcpAsksKernel})
	case k.TCP != nil:
		if late := st.probedTooLate(c); late != nil {
			return append(cause, late...)
		}
		return append(cause, Sentence{ID: tcpSuspended})
	case k.Server != nil && k.Server.Interval > 0:
		id := serverAsks
		if st.habits.Reconnect != nil {
			id = serverAsksBack
		}
		p := probe{means: means(k.Server.Means), every: k.Server.Interval}
		cause = append(cause, Sentence{id, Args{"means": p.means, "interval": Setting(p.every)}})
		for _, s := range st.tooSlow(c, p) {
			cause = append(cause, Sentence{serverTooSlow, s.Args})
		}
		return cause
	case st.habits.Reconnect != nil:
		return append(cause, Sentence{ID: noTrigger})
	}
	return append(cause, Sentence{ID: noKeepalive})
}

// pending says why a keepalive that notices such a thing had not done so when the play ended.
func (st *story) pending(c *connection) Cause {
	k := st.habits.Keepalive
	for _, e := range st.events(c, trace.KeepaliveSent) {
		timeout := time.Duration(0)
		switch {
		case e.Time.Before(c.broke.at):
		case e.Detail == string(meansPing) && k.Ping != nil:
			timeout = k.Ping.Timeout
		case e.Detail == string(meansHeartbeat) && k.Heartbeat != nil && !k.Heartbeat.OneWay:
			timeout = k.Heartbeat.Timeout
		}
		if timeout > 0 {
			cause := Cause{{askedInVain, Args{"means": means(e.Detail), "sent": st.t.At(e.Time), "timeout": Setting(timeout)}}}
			return append(cause, st.tooSlow(c, probeOf(k, means(e.Detail)))...)
		}
	}
	switch {
	case k.Ping != nil || k.Heartbeat != nil && !k.Heartbeat.OneWay:
		next := meansPing
		if k.Ping == nil {
			next = meansHeartbeat
		}
		p := probeOf(k, next)
		return append(Cause{{notYetAsked, Args{"means": p.means, "interval": Setting(p.every)}}}, st.tooSlow(c, p)...)
	case k.Watch != nil:
		return Cause{{watchPending, Args{"timeout": Setting(k.Watch.Timeout)}}}
	}
	return Cause{{ID: notYetNoticed}}
}

// probeOf is a means that a client asks by, with its interval.
func probeOf(k strategy.Keepalive, m means) probe {
	p := probe{means: m}
	switch {
	case m == meansPing && k.Ping != nil:
		p.every = k.Ping.Interval
	case m == meansHeartbeat && k.Heartbeat != nil:
		p.every = k.Heartbeat.Interval
	}
	return p
}

// roomless says that a NAT had no room for the connection that was to replace the
// one that broke.
func (st *story) roomless(c *connection) Cause {
	if c.noticed == nil || st.habits.Reconnect == nil {
		return nil
	}
	until := st.t.End
	if c.next != nil {
		until = c.next.Time
	}
	for e := range st.t.All(trace.OfType(trace.Blocked), trace.Between(st.sought(c), until)) {
		from := ""
		if e.Flow != nil {
			from = st.places[e.Flow.Src.Addr()]
		}
		if strings.HasPrefix(e.Detail, tableFullRule) && (from == st.client || c.chain.Passes(from)) && from != "" {
			return Cause{{tableFull, Args{"nat": e.Node, "at": st.t.At(e.Time), "rule": e.Detail}}}
		}
	}
	return nil
}

// tableFullRule is how a NAT names the rule by which it drops what it has no room for.
const tableFullRule = "table full"

// comingBack says what the client did once it had noticed.
func (st *story) comingBack(c *connection) Cause {
	switch {
	case c.next != nil:
		args := Args{"outage": c.outage(st.t), "lost": st.account.Lost, "messages": messages(st.account.Sent)}
		id := backWhole
		if st.account.Lost > 0 {
			id = backLossy
		}
		return append(Cause{{id, args}}, st.resuming(c)...)
	case c.noticed == nil:
		return nil
	case st.habits.Reconnect == nil:
		return Cause{{ID: noReconnect}}
	}
	n, last := 0, "no reason is known"
	since := st.sought(c)
	for _, e := range st.failedDials {
		if e.Time.After(since) {
			n, last = n+1, e.Err
		}
	}
	if st.gaveUp != nil && n == 0 {
		return Cause{{gaveUpAtOnce, Args{"reason": st.gaveUp.Detail}}}
	}
	if st.gaveUp != nil {
		return Cause{{gaveUp, Args{"attempts": attempts(n), "error": firstLine(last)}}}
	}
	if n == 0 {
		if e, ok := st.t.Last(trace.OfSession(st.id), trace.OfType(trace.ReconnectWait), trace.Between(since, st.t.End)); ok {
			return Cause{{stillWaiting, Args{"wait": st.t.Lab(e.Dur)}}}
		}
	}
	return Cause{{stillTrying, Args{"attempts": attempts(n)}}}
}

// resuming says what the two ends sent again over the connection that replaced one.
func (st *story) resuming(c *connection) Cause {
	for e := range st.t.All(trace.OfSession(st.id), trace.OfType(trace.SessionResumed), trace.OfConn(c.next.Conn)) {
		server, ok := st.t.Last(trace.OfSession(st.id), trace.OfType(trace.ServerResumed), trace.Between(c.next.Time.Add(-lag), e.Time.Add(lag)))
		switch {
		case !ok:
			return Cause{{ID: notResumed}}
		case server.Detail == freshSession:
			return Cause{{resumedFresh, Args{"node": server.Node, "messages": messages(int(e.Count))}}}
		case e.Count == 0 && server.Count == 0:
			return Cause{{ID: resumedWhole}}
		}
		return Cause{{sentAgain, Args{"node": server.Node, "messages": messages(int(e.Count)), "pushes": messages(int(server.Count))}}}
	}
	return nil
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
	return []survivalRule{crossSite, sleptThrough, bidedTime, madeAnew, waitedOut, waitedForLink, waitedForToxic, keptMapping, keptItsRoom, keptProxy, boreDelay, boreLink, boreSlowness, fromOwnPage}
}

func (st *story) whySurvived(c *connection) Sentence {
	for _, rule := range survivalRules() {
		if s, ok := rule(st, c); ok {
			return s
		}
	}
	return Sentence{nothingBroke, Args{"messages": messages(st.account.Sent)}}
}

// crossSite: the server took a page of another origin for the user whose cookie the
// browser sent along.
func crossSite(st *story, c *connection) (Sentence, bool) {
	e, args, ok := st.fromPage(c)
	return Sentence{hijacked, args}, ok && !sameSite(e)
}

// fromOwnPage: the page was the server's own.
func fromOwnPage(st *story, c *connection) (Sentence, bool) {
	e, args, ok := st.fromPage(c)
	return Sentence{ownPage, args}, ok && sameSite(e)
}

// fromPage says whether a page opened the connection, with the cookie of a user.
func (st *story) fromPage(c *connection) (accepted trace.Event, args Args, ok bool) {
	e, ok := st.t.First(trace.OfType(trace.Accepted), trace.OfSession(st.id), c.chain.Has)
	if !ok || e.By == "" || e.Detail == "" {
		return e, nil, false
	}
	return e, Args{"node": e.Node, "user": e.By, "origin": e.Detail, "messages": messages(st.account.Sent)}, true
}

// sameSite says whether a handshake came from a page of the server itself.
func sameSite(accepted trace.Event) bool {
	u, err := url.Parse(accepted.Detail)
	return err == nil && u.Hostname() == accepted.Node
}

// madeAnew: the NAT dropped the mapping, and made the same one again; or a firewall did
// so with the connection.
func madeAnew(st *story, c *connection) (Sentence, bool) {
	e, ok := st.t.First(trace.OfType(trace.MappingExpired, trace.MappingFlushed, trace.ConnectionExpired, trace.ConnectionFlushed), c.chain.Has)
	if !ok || !st.wentRoundAfter(c, e.Time) {
		return Sentence{}, false
	}
	k := forgetter(e)
	return Sentence{k.choose(natRecovered, firewallRecovered), k.args(Args{"at": st.t.At(e.Time)})}, true
}

// sleptThrough: the client's machine, or one on the way, was asleep for a while.
func sleptThrough(st *story, c *connection) (Sentence, bool) {
	for e := range st.t.All(trace.OfType(trace.Asleep)) {
		if e.Detail == c.open.Node || st.passes(c, e.Detail) {
			return Sentence{sleptWell, Args{"node": e.Detail, "at": st.t.At(e.Time), "silence": st.t.Lab(st.awake(e).Sub(e.Time))}}, true
		}
	}
	return Sentence{}, false
}

// bidedTime: the client's program stood still for a while.
func bidedTime(st *story, _ *connection) (Sentence, bool) {
	e, ok := st.t.First(trace.OfSession(st.id), trace.OfType(trace.Stalled))
	return Sentence{stoodStill, Args{"at": st.t.At(e.Time), "silence": Setting(st.t.Lab(e.Dur))}}, ok
}

// waitedOut: a node on the way stood still for a while.
func waitedOut(st *story, c *connection) (Sentence, bool) {
	for e := range st.t.All(trace.OfType(trace.Paused)) {
		own := e.Detail == c.open.Node
		if !own && !st.passes(c, e.Detail) {
			continue
		}
		until := st.t.End
		for r := range st.t.All(trace.OfType(trace.Resumed)) {
			if r.Detail == e.Detail && r.Time.After(e.Time) {
				until = r.Time
				break
			}
		}
		id := outlastedIt
		if own {
			id = thawed
		}
		return Sentence{id, Args{"node": e.Detail, "at": st.t.At(e.Time), "silence": st.t.Lab(until.Sub(e.Time))}}, true
	}
	return Sentence{}, false
}

// waitedForLink: a link on the way carried nothing for a while.
func waitedForLink(st *story, c *connection) (Sentence, bool) {
	for _, e := range st.linkEvents(c) {
		if isDown(e) && e.Time.After(c.open.Time) {
			return Sentence{whichLink(e, outlastedNetwork, outlastedPlace), Args{
				"network": e.Network, "node": e.By, "at": st.t.At(e.Time), "silence": st.t.Lab(st.linkUntil(e).Sub(e.Time)),
			}}, true
		}
	}
	return Sentence{}, false
}

// waitedForToxic: a toxic on the way let nothing through for a while.
func waitedForToxic(st *story, c *connection) (Sentence, bool) {
	for _, e := range st.onWay(c, trace.ToxicFired) {
		if e.Detail != blackholeToxic || !e.Time.After(c.open.Time) {
			continue
		}
		for gone := range st.t.All(trace.OfType(trace.ToxicRemoved)) {
			if gone.Node == e.Node && gone.Detail == e.Detail && gone.Time.After(e.Time) {
				return Sentence{outlastedToxic, Args{
					"toxic": e.Detail, "node": e.Node, "at": st.t.At(e.Time), "silence": st.t.Lab(gone.Time.Sub(e.Time)),
				}}, true
			}
		}
	}
	return Sentence{}, false
}

// boreLink: the conditions of a link made answers slow, and nothing was given up for it.
func boreLink(st *story, c *connection) (Sentence, bool) {
	for _, e := range st.linkEvents(c) {
		if e.Detail == "" || isDown(e) {
			continue
		}
		slowest := time.Duration(0)
		for _, answer := range st.roundTrips(c) {
			if answer.Time.After(e.Time) {
				slowest = max(slowest, st.t.Lab(answer.Dur))
			}
		}
		if slowest > 0 {
			return Sentence{whichLink(e, boreNetwork, borePlace), Args{
				"network": e.Network, "node": e.By, "conditions": e.Detail, "at": st.t.At(e.Time), "rtt": slowest,
			}}, true
		}
	}
	return Sentence{}, false
}

// keptMapping: there was a silence that the NAT, or the firewall, would not have
// borne, and keepalive broke it.
func keptMapping(st *story, c *connection) (Sentence, bool) {
	keepers := st.keepers(c)
	if len(keepers) == 0 || st.longestSilence(c) <= keepers[0].timeout {
		return Sentence{}, false
	}
	k := keepers[0]
	longest, seen := time.Duration(0), false
	for _, e := range st.onWay(c, trace.MappingRefreshed, trace.ConnectionRefreshed) {
		if e.Node == k.node {
			longest, seen = max(longest, st.t.Lab(e.Dur)), true
		}
	}
	if !seen {
		return Sentence{}, false
	}
	args := k.args(Args{"silence": longest, "timeout": Setting(k.timeout)})
	if sent := st.probesSent(c); len(sent) > 0 {
		args["probes"] = sent
		return Sentence{k.choose(keptAlive, keptTracked), args}, true
	}
	if st.habits.Keepalive.TCP != nil {
		return Sentence{k.choose(keptAliveTCP, keptTrackedTCP), args}, true
	}
	return Sentence{}, false
}

// keptItsRoom: a NAT made room by giving up what had been silent for longest, and keepalive
// had broken this silence before.
func keptItsRoom(st *story, c *connection) (Sentence, bool) {
	least, nat := time.Duration(0), ""
	for e := range st.t.All(trace.OfType(trace.MappingEvicted)) {
		if c.chain.Passes(e.Node) && (nat == "" || st.t.Lab(e.Dur) < least) {
			least, nat = st.t.Lab(e.Dur), e.Node
		}
	}
	sent := st.probesSent(c)
	if nat == "" || len(sent) == 0 && st.habits.Keepalive.TCP == nil || st.longestSilence(c) < least {
		return Sentence{}, false
	}
	longest := time.Duration(0)
	for _, e := range st.onWay(c, trace.MappingRefreshed) {
		if e.Node == nat {
			longest = max(longest, st.t.Lab(e.Dur))
		}
	}
	args := Args{"nat": nat, "least": least, "silence": longest}
	if len(sent) == 0 {
		return Sentence{keptRoomTCP, args}, longest > 0
	}
	args["probes"] = sent.inside()
	return Sentence{keptRoom, args}, longest > 0
}

// keptProxy: a node that ends TCP would have closed the connection for its silence.
func keptProxy(st *story, c *connection) (Sentence, bool) {
	sent, silence := st.probesSent(c), st.longestSilence(c)
	keepers := st.keepers(c)
	for _, h := range c.chain.Hops {
		id, helped := keptBusy, sent
		if !st.proxies[h.Node].pingsCount() {
			id, helped = keptBusyData, slices.DeleteFunc(slices.Clone(sent), func(p probe) bool { return p.means == "ping" || p.means == "server ping" })
		}
		forgets := slices.ContainsFunc(keepers, func(k keeper) bool { return k.node == h.Node })
		if timeout := st.idle[h.Node]; h.Relay && !forgets && timeout > 0 && silence > timeout && len(helped) > 0 {
			return Sentence{id, Args{"probes": helped, "node": h.Node, "timeout": Setting(timeout)}}, true
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
	received := st.events(c, trace.KeepaliveReceived)
	var all probes
	if st.habits.Keepalive.Adaptive != nil {
		for _, m := range []means{"ping", "heartbeat"} {
			if silence := st.silenceBefore(c, m); silence > 0 {
				all = append(all, probe{means: m, after: silence})
			}
		}
	}
	if p := st.habits.Keepalive.Ping; p != nil && seen["ping"] {
		all = append(all, probe{means: "ping", every: p.Interval})
	}
	if h := st.habits.Keepalive.Heartbeat; h != nil && seen["heartbeat"] {
		all = append(all, probe{means: "heartbeat", every: h.Interval})
	}
	if v := st.habits.Keepalive.Server; v != nil && v.Interval > 0 && len(received) > 0 {
		all = append(all, probe{means: means("server " + v.Means), every: v.Interval})
	}
	return all
}

// silenceBefore is the longest silence on the connection that a means of keepalive ended, 0 if it ended none.
func (st *story) silenceBefore(c *connection, m means) (longest time.Duration) {
	last := c.open.Time
	all := st.events(c, trace.Sent, trace.Acked, trace.Received, trace.KeepaliveSent, trace.KeepaliveAnswered, trace.KeepaliveReceived)
	for _, e := range all {
		if e.Type == trace.KeepaliveSent && e.Detail == string(m) {
			longest = max(longest, st.t.Lab(e.Time.Sub(last)))
		}
		last = e.Time
	}
	return longest
}

// boreDelay: a toxic made answers slow, and nothing was given up for it.
func boreDelay(st *story, c *connection) (Sentence, bool) {
	for e := range st.t.All(trace.OfType(trace.ToxicAdded)) {
		if !c.chain.Passes(e.Node) {
			continue
		}
		slowest := time.Duration(0)
		for _, answer := range st.roundTrips(c) {
			if answer.Time.After(e.Time) {
				slowest = max(slowest, st.t.Lab(answer.Dur))
			}
		}
		if late := st.latestPush(c, e.Time); late > 2*slowest {
			return Sentence{pushesLate, Args{"toxic": e.Detail, "node": e.Node, "late": late}}, true
		}
		if slowest > 0 {
			return Sentence{delayed, Args{"toxic": e.Detail, "node": e.Node, "rtt": slowest}}, true
		}
	}
	return Sentence{}, false
}

// latestPush is the longest time that a message of the server took, of those that came after a time.
func (st *story) latestPush(c *connection, after time.Time) (longest time.Duration) {
	pushed := make(map[int64]time.Time)
	for e := range st.t.All(trace.OfSession(st.id), trace.OfConn(c.number), trace.OfType(trace.ServerPushed)) {
		pushed[e.Seq] = e.Time
	}
	for _, e := range st.events(c, trace.Received) {
		if at, ok := pushed[e.Seq]; ok && e.Time.After(after) {
			longest = max(longest, st.t.Lab(e.Time.Sub(at)))
		}
	}
	return longest
}

// boreSlowness: a firewall slowed the stream for what it found in it, and nothing was
// given up for it.
func boreSlowness(st *story, c *connection) (Sentence, bool) {
	for _, e := range st.onWay(c, trace.Inspected) {
		if e.By != slowed {
			continue
		}
		slowest := time.Duration(0)
		for _, answer := range st.roundTrips(c) {
			slowest = max(slowest, st.t.Lab(answer.Dur))
		}
		return Sentence{streamSlowed, Args{"node": e.Node, "rule": e.Detail, "rtt": slowest}}, true
	}
	return Sentence{}, false
}

// last is what an error comes down to: who did what to whom stands before it.
func last(err string) string {
	line := firstLine(err)
	if i := strings.LastIndex(line, ": "); i >= 0 {
		return line[i+2:]
	}
	return line
}

// firstLine of a text; errors of programs can be long.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}
