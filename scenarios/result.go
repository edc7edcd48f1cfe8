package scenarios

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// Result is what came of a play.
type Result struct {
	Scenario string
	Summary  string
	// Family of the scenario, see [Families]; "" for none.
	Family string
	// Lab is the name of the lab in its file, Path the way that was taken.
	Lab, Path string
	// From is the client node that the sessions start from, where the scenario names it.
	From string
	// With is what was changed at nodes for the time of the play, as the scenario file has it: "NODE: SETTINGS".
	With  []string
	Speed float64
	// Round counts the plays of the same scenario on the same lab by the same way, from 1; 0
	// where it was played once.
	Round int
	// Untrusted says why the timing of the play cannot be trusted; empty is that it can.
	Untrusted string
	// Cells are the clients, in the order of the expectations.
	Cells []Cell
	// Way is what the connections pass: the client node, each machine on the way, the server.
	// Where no connection came about it is every node of the lab.
	Way []Machine
	// Trace of the play; its zero is when the first step began.
	Trace *trace.Packed
}

// Machine is a node as a reader of results has to know it.
type Machine struct {
	Name, Kind string
}

// Passed says whether every client did as expected.
func (r *Result) Passed() bool {
	return !slices.ContainsFunc(r.Cells, func(c Cell) bool { return !c.Passed })
}

// Cell is what became of one client. Durations are lab time, nil where there is none.
type Cell struct {
	// Client is the name of the strategy, Session what the events of the trace call it.
	Client   string
	Session  string
	Verdict  Verdict
	Expected Expected
	Passed   bool
	Cause    Cause
	// Unmet says what else was expected and did not come: limits, or another cause.
	Unmet Cause
	// Connections that the client has opened.
	Connections int
	// Sent counts the numbered messages of both ways, Lost those that never
	// arrived, Duplicated how many came again.
	Sent, Lost, Duplicated int
	// Outage is the longest time without a connection that worked: Detect
	// until the client noticed, and Recover from then to the new connection.
	Outage, Detect, Recover *time.Duration
	// Down is the whole time of the play without a connection that worked, Connected that with one that
	// was open for the client, whether it worked or not.
	Down, Connected time.Duration
	// KeepaliveBytes are those of the WebSocket frames that kept the connections alive, both ways.
	KeepaliveBytes int
}

// judge draws the results from what was recorded up to now.
func (p *player) judge(start, end time.Time, down *crash) *Result {
	t := trace.New(start, end, p.plan.Speed, p.rec.snapshot())
	if drawn := p.drawn(t); len(drawn) > 0 {
		t = trace.New(start, end, p.plan.Speed, slices.Concat(t.Events, drawn))
	}
	t.Machines = machines(p.plan)
	r := &Result{
		Scenario: p.play.Scenario.Name,
		Summary:  p.play.Scenario.Summary,
		Family:   p.play.Scenario.Family,
		Lab:      p.labName(),
		Path:     p.path,
		From:     p.play.Client,
		With:     p.play.Changed(),
		Speed:    p.plan.Speed,
		Trace:    t.Pack(),
	}
	f := facts{t: untilEnd(t), idle: p.idleTimeouts(), proxies: p.proxyFacts(), places: p.addresses(), client: p.client, forward: p.forward(), nodes: p.plan.Nodes, crash: down}
	r.Way = f.passed(p.sessions)
	for _, s := range p.sessions {
		r.Cells = append(r.Cells, judge(f, s))
	}
	return r
}

// untilEnd leaves out how connections came and went after the last step: what was
// sent until then may still arrive, but a client that is back only afterwards was not back.
func untilEnd(t *trace.Trace) *trace.Trace {
	judged := slices.DeleteFunc(slices.Clone(t.Events), func(e trace.Event) bool {
		switch e.Type {
		case trace.DialStart, trace.DialFailed, trace.DialDropped, trace.KeepaliveDoubted, trace.KeepaliveTrusted, trace.Open, trace.Accepted, trace.Close, trace.KeepaliveSent,
			trace.KeepaliveTimeout, trace.ReconnectWait, trace.ReconnectGaveUp:
			return e.Time.After(t.End)
		}
		return false
	})
	until := trace.New(t.Start, t.End, t.Speed, judged)
	until.Machines = t.Machines
	return until
}

// machines are the nodes by their addresses.
func machines(p *topology.Plan) map[netip.Addr]string {
	names := make(map[netip.Addr]string)
	for _, n := range p.Nodes {
		for _, i := range n.Interfaces {
			for _, a := range i.Addrs() {
				names[a] = n.Name
			}
		}
	}
	return names
}

// labName is the lab's name in its file, whatever the instance is called.
func (p *player) labName() string {
	for _, n := range p.plan.Nodes {
		if n.Source != "" {
			return n.Source
		}
	}
	return p.plan.Lab
}

// draw draws up the account of the session.
func (st *story) draw() account {
	if st.program != nil {
		return drawWitnessed(st.t.Events, st.id)
	}
	return draw(st.t.Missable(st.id), st.id)
}

// judge judges one session.
func judge(f facts, s session) Cell {
	story := tell(f, s)
	a := story.draw()
	c := Cell{
		Client:      s.strategy,
		Session:     s.id,
		Expected:    s.expect.Verdicts,
		Connections: len(story.conns),
		Sent:        a.Sent,
		Lost:        a.Lost,
		Duplicated:  a.Duplicated,
	}
	story.account = a
	worst := story.worst()
	if worst != nil {
		c.Outage, c.Detect, c.Recover = worst.durations(f.t)
	}
	c.Down, c.Connected, c.KeepaliveBytes = story.down(), story.connected(), story.keepaliveBytes()
	c.Unmet = s.expect.exceeded(c)
	switch {
	case f.crash != nil || !story.alive || s.program != nil && story.killed():
		c.Verdict = Failed
	case len(story.conns) == 1 && a.Lost == 0:
		c.Verdict = Survived
	case len(story.conns) > 1 && len(c.Unmet) == 0:
		c.Verdict = Recovered
	default:
		c.Verdict = Failed
	}
	c.Cause = explain(story, c.Verdict)
	if story.alive && len(story.conns) > 1 && c.Verdict == Failed {
		c.Cause = append(c.Cause, c.Unmet...)
	}
	if !holds(c.Cause.Text(English), s.expect.Cause) {
		c.Unmet = append(c.Unmet, Sentence{otherCause, Args{"text": s.expect.Cause}})
	}
	c.Passed = slices.Contains(s.expect.Verdicts, c.Verdict) && len(c.Unmet) == 0
	return c
}

// holds says whether a text holds another, whatever the case.
func holds(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// exceeded returns a sentence for each limit of the expectation that was not kept.
func (e Expectation) exceeded(c Cell) Cause {
	var out Cause
	if e.Lost != nil && c.Lost > *e.Lost {
		out = append(out, Sentence{overLost, Args{"messages": messages(c.Lost), "limit": *e.Lost}})
	}
	if e.Duplicated != nil && c.Duplicated > *e.Duplicated {
		out = append(out, Sentence{overDuplicated, Args{"messages": messages(c.Duplicated), "limit": *e.Duplicated}})
	}
	if e.Outage != nil && c.Outage != nil && *c.Outage > *e.Outage {
		out = append(out, Sentence{overOutage, Args{"d": *c.Outage, "limit": Setting(*e.Outage)}})
	}
	return out
}
