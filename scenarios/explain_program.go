package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// lastLines is how many lines of a program's output a cause repeats, and mostText how much of them.
const (
	lastLines = 3
	mostText  = 300
)

// explainProgram says why a session of a program has its verdict: from what the nodes have recorded of
// its connections, because the program itself records nothing.
func (st *story) explainProgram(v Verdict) Cause {
	hung := st.hung()
	switch {
	case len(st.conns) == 0:
		return append(st.programNeverConnected(), hung...)
	case v == Survived:
		return Cause{st.whyProgramSurvived(st.conns[0])}
	}
	c := st.worst()
	if c == nil {
		return append(Cause{st.programWhole(st.conns[0])}, hung...)
	}
	cause := append(Cause{c.broke.what}, st.meanwhile(c)...)
	cause = append(cause, st.programAfter(c)...)
	if c.next != nil {
		cause = append(cause, st.comingBack(c)...)
	}
	if n := st.alike(c); n > 1 {
		cause = append(cause, Sentence{repeated, Args{"times": times(n)}})
	}
	if c.broke.what.ID == programEnded {
		cause = append(cause, st.lastWords()...)
	}
	return append(cause, hung...)
}

// ended is the end of the program before that of the play, if it came to that.
func (st *story) ended() (trace.Event, bool) {
	return st.t.First(trace.OfSession(st.id), trace.OfType(trace.ProgramEnded), trace.Between(st.t.Start.Add(-time.Hour), st.t.End))
}

// begun is when the program was started.
func (st *story) begun() time.Time {
	e, _ := st.t.First(trace.OfSession(st.id), trace.OfType(trace.ProgramStarted)) // no play is without
	return e.Time
}

// killed says whether the program did not end when it was told to.
func (st *story) killed() bool {
	_, killed := st.t.First(trace.OfSession(st.id), trace.OfType(trace.ProgramKilled))
	return killed
}

func (st *story) hung() Cause {
	if !st.killed() {
		return nil
	}
	return append(Cause{{ID: programHung}}, st.lastWords()...)
}

// lastWords are the last lines that the program has written before it was over.
func (st *story) lastWords() Cause {
	var all []string
	for e := range st.t.All(trace.OfSession(st.id), trace.OfType(trace.ProgramOutput)) {
		all = append(all, e.Detail)
	}
	text := strings.Join(all[max(0, len(all)-lastLines):], " | ")
	if text == "" {
		return nil
	}
	if runes := []rune(text); len(runes) > mostText {
		text = "..." + string(runes[len(runes)-mostText:])
	}
	return Cause{{programSaid, Args{"lines": text}}}
}

// programNeverConnected says why the server never accepted a connection: what the nodes on the way
// did to attempts, and what became of the program.
func (st *story) programNeverConnected() Cause {
	cause := st.whoStopped()
	e, over := st.ended()
	switch {
	case over && cause == nil:
		cause = Cause{{neverReached, Args{"after": e.Time.Sub(st.begun()), "how": e.Detail}}}
	case over:
		cause = append(cause, Sentence{endedEarly, Args{"after": e.Time.Sub(st.begun()), "how": e.Detail}})
	case cause == nil:
		cause = Cause{{ID: neverTried}}
	}
	if n := strangers(st.t); n > 0 {
		cause = append(cause, Sentence{withoutSession, Args{"connections": connections(n)}})
	}
	return append(cause, st.lastWords()...)
}

// whoStopped is which node has refused or stopped the client's attempts, as it recorded that itself.
func (st *story) whoStopped() Cause {
	until := st.t.End
	if e, over := st.ended(); over {
		until = e.Time
	}
	during := trace.Between(st.begun(), until.Add(lag))
	if e, ok := st.t.Last(trace.OfType(trace.UpgradeStripped), during); ok { // the server's refusal is its work
		return Cause{{upgradeStripped, Args{"proxy": e.Node, "status": e.Status}}}
	}
	if no, ok := st.t.Last(trace.OfType(trace.Refused), trace.OfSession(st.id), during); ok {
		return Cause{st.refusedByServer(no)}
	}
	if e, ok := st.t.Last(trace.OfType(trace.Intercepted), during, func(e trace.Event) bool { return e.Err != "" }); ok {
		return Cause{{tlsIntercepted, Args{"proxy": e.Node, "issuer": e.Detail, "error": firstLine(e.Err)}}}
	}
	if e, ok := st.t.Last(trace.OfType(trace.RelayRefused), during); ok {
		return Cause{st.refusedAt(e)}
	}
	others := st.everyChain()
	if e, ok := st.t.Last(trace.OfType(trace.Inspected, trace.Blocked), during, st.fromClient, func(e trace.Event) bool {
		return !slices.ContainsFunc(others, func(c trace.Chain) bool { return c.Has(e) })
	}); ok {
		return Cause{{programStopped, Args{"node": e.Node, "rule": e.Detail}}}
	}
	if st.forward != "" {
		if _, asked := st.t.First(trace.OfNode(st.forward), during, st.fromClient); !asked {
			return Cause{{proxyUnasked, Args{"proxy": st.forward}}}
		}
	}
	return nil
}

// everyChain is the way of each connection that came about in the play: what is recorded of it says nothing
// about attempts that came to nothing.
func (st *story) everyChain() (all []trace.Chain) {
	for e := range st.t.All(trace.OfType(trace.Open)) {
		all = append(all, st.t.Chain(e))
	}
	return all
}

// refusedAt says why a proxy refused.
func (st *story) refusedAt(e trace.Event) Sentence {
	args := Args{"proxy": e.Node, "status": e.Status, "rule": e.Detail}
	switch {
	case e.By == "captive":
		return Sentence{captivePortal, args}
	case e.By == "max_connections":
		return Sentence{proxyFull, args}
	case e.Status == 407:
		return Sentence{proxyWantsUser, args}
	case e.Status == 403:
		return Sentence{proxyForbids, args}
	case e.Status == 502 || e.Status == 503 || e.Status == 504:
		return Sentence{proxyUnreachable, args}
	}
	return Sentence{proxyRefused, args}
}

// fromClient says whether an event is about a connection that the client's machine opened.
func (st *story) fromClient(e trace.Event) bool {
	return e.Flow != nil && st.places[e.Flow.Src.Addr()] == st.client
}

// programAfter says what is known of the client after its connection broke.
func (st *story) programAfter(c *connection) Cause {
	var cause Cause
	after := func(e trace.Event) bool { return e.Time.After(c.broke.at) }
	e, over := st.ended()
	stopped, wrote := st.t.First(trace.OfType(trace.Blocked), after, func(e trace.Event) bool { return e.Flow != nil && slices.Contains(c.chain.Flows, *e.Flow) })
	closed, left := st.t.First(trace.OfType(trace.RelayClosed), after, c.chain.Has, func(e trace.Event) bool { return e.By == "client" })
	switch {
	case c.broke.own || c.next != nil:
	case over && e.Time.After(c.broke.at):
		return append(Cause{{programGone, Args{"at": st.t.At(e.Time), "how": e.Detail}}}, st.lastWords()...)
	case left:
		cause = Cause{{programLet, Args{"at": st.t.At(closed.Time)}}}
	case c.closed != nil && c.closed.Time.After(c.broke.at.Add(lag)):
		cause = Cause{{programLet, Args{"at": st.t.At(c.closed.Time)}}}
	case c.broke.silent && wrote:
		cause = Cause{{programWrote, Args{"node": stopped.Node, "write": st.t.At(stopped.Time)}}}
	}
	if c.next == nil && !over {
		cause = append(cause, Sentence{ID: noOther})
	}
	return cause
}

// whyProgramSurvived says what a connection has outlived, and by what.
func (st *story) whyProgramSurvived(c *connection) Sentence {
	for _, rule := range programSurvivalRules() {
		if s, ok := rule(st, c); ok {
			return s
		}
	}
	return st.programWhole(c)
}

// programSurvivalRules is the list for programs: what rests on the settings of a strategy is replaced by
// what the server has heard.
func programSurvivalRules() []survivalRule {
	return []survivalRule{crossSite, sleptThrough, bidedTime, madeAnew, waitedOut, waitedForLink, waitedForToxic, programKeptMapping, programKeptProxy, boreDelay, boreLink, boreSlowness, fromOwnPage}
}

// programWhole says that nothing broke a connection, and how that is known.
func (st *story) programWhole(c *connection) Sentence {
	if st.account.Sent > 1 || len(st.account.received) > 0 { // one push is a try
		return Sentence{nothingBroke, Args{"messages": messages(st.account.Sent)}}
	}
	n := 0
	for range st.t.All(trace.OfSession(st.id), trace.OfType(trace.Answered), c.chain.Has, func(e trace.Event) bool { return e.Seq == 0 }) {
		n++
	}
	return Sentence{pingsAnswered, Args{"pings": pings(n), "node": c.chain.Server}}
}

// pause is the longest time in which the server had nothing to say to the client.
func (st *story) pause(c *connection) (from, to time.Time) {
	from, to = c.open.Time, c.open.Time
	last := c.open.Time
	for e := range st.t.All(trace.OfSession(st.id), trace.OfType(trace.ServerPushed, trace.Answered)) {
		if e.Time.Sub(last) > to.Sub(from) {
			from, to = last, e.Time
		}
		last = e.Time
	}
	return from, to
}

// hearing is what came from a client of its own accord.
type hearing []string

func (h hearing) text(l Language) string {
	switch {
	case len(h) == 0 && l == Japanese:
		return "TCP キープアライブなど WebSocket より下のもの"
	case len(h) == 0:
		return "Something below WebSocket, such as TCP keepalive,"
	case l == Japanese:
		return "クライアントの " + strings.Join(h, " と ")
	}
	plural := make([]string, len(h))
	for i, what := range h {
		plural[i] = what + "s"
	}
	return "The client's " + strings.Join(plural, " and ")
}

// heard is what came over a connection between two times.
func (st *story) heard(c *connection, from, to time.Time) (h hearing) {
	for e := range st.t.All(trace.OfSession(st.id), trace.OfType(trace.Heard, trace.ServerReceived), trace.Between(from, to)) {
		what := e.Detail
		if e.Type == trace.ServerReceived {
			what = "message"
		} else if !c.chain.Has(e) {
			continue
		}
		if !slices.Contains(h, what) {
			h = append(h, what)
		}
	}
	return h
}

// programKeptMapping: the server had nothing to say for longer than a NAT, or a firewall, would have borne.
func programKeptMapping(st *story, c *connection) (Sentence, bool) {
	keepers := st.keepers(c)
	from, to := st.pause(c)
	if len(keepers) == 0 || st.t.Lab(to.Sub(from)) <= keepers[0].timeout {
		return Sentence{}, false
	}
	k := keepers[0]
	longest, seen := time.Duration(0), false
	for _, e := range st.onWay(c, trace.MappingRefreshed, trace.ConnectionRefreshed) {
		if e.Node == k.node {
			longest, seen = max(longest, st.t.Lab(e.Dur)), true
		}
	}
	args := k.args(Args{"silence": longest, "timeout": Setting(k.timeout), "heard": st.heard(c, from, to)})
	return Sentence{k.choose(keptByProgram, trackedByProgram), args}, seen
}

// programKeptProxy: a node that ends TCP would have closed the connection for its silence.
func programKeptProxy(st *story, c *connection) (Sentence, bool) {
	from, to := st.pause(c)
	keepers := st.keepers(c)
	for _, h := range c.chain.Hops {
		forgets := slices.ContainsFunc(keepers, func(k keeper) bool { return k.node == h.Node })
		heard := st.heard(c, from, to)
		if timeout := st.idle[h.Node]; h.Relay && !forgets && timeout > 0 && st.t.Lab(to.Sub(from)) > timeout && len(heard) > 0 {
			return Sentence{busyByProgram, Args{"heard": heard, "node": h.Node, "timeout": Setting(timeout)}}, true
		}
	}
	return Sentence{}, false
}

// programOver is a program that ended while its connection worked.
func programOver(st *story, c *connection) []breakage {
	e, over := st.ended()
	if !over || e.Time.Before(c.open.Time) {
		return nil
	}
	return []breakage{{at: e.Time, own: true, takes: lag, what: Sentence{programEnded, Args{"at": st.t.At(e.Time), "how": e.Detail}}}}
}

// programLeft is a client that ended its connection of its own accord.
func programLeft(st *story, c *connection) []breakage {
	if c.closed == nil {
		return nil
	}
	args := Args{"at": st.t.At(c.closed.Time), "code": c.closed.Code, "meaning": closeMeaning(c.closed.Code)}
	if c.closed.By == "strategy" {
		return []breakage{{at: c.closed.Time, own: true, what: Sentence{programClosed, args}}}
	}
	return []breakage{{at: c.closed.Time, own: true, what: Sentence{programDropped, args}}}
}

// programSilent is a client that did not answer any more.
func programSilent(st *story, c *connection) []breakage {
	at := st.lastGood(c)
	return []breakage{{at: at, own: true, what: Sentence{noAnswer, Args{"at": st.t.At(at)}}}}
}

func pings(n int) quantity       { return quantity{n, "ping", "pings", "回の ping"} }
func connections(n int) quantity { return quantity{n, "connection", "connections", "個の接続"} }

// Describe is how a process ended, for [Process.Ending].
func Describe(code int) string {
	if code > 128 {
		return fmt.Sprintf("signal %d", code-128)
	}
	return fmt.Sprintf("exit code %d", code)
}
