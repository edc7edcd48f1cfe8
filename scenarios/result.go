package scenarios

import (
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// Result is what came of a play.
type Result struct {
	Scenario string
	Summary  string
	// Lab is the name of the lab in its file, Path the way that was taken.
	Lab, Path string
	Speed     float64
	// Cells are the clients, in the order of the expectations.
	Cells []Cell
	// Trace of the play; its zero is when the first step began.
	Trace *trace.Trace
}

// Passed says whether every client did as expected.
func (r *Result) Passed() bool {
	return !slices.ContainsFunc(r.Cells, func(c Cell) bool { return !c.Passed })
}

// Cell is what became of one client. Durations are lab time, nil where there is none.
type Cell struct {
	// Client is the name of the strategy.
	Client   string
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
}

// judge draws the results from what was recorded up to now.
func (p *player) judge(start, end time.Time, down *crash) *Result {
	t := trace.New(start, end, p.plan.Speed, p.rec.snapshot())
	r := &Result{
		Scenario: p.play.Scenario.Name,
		Summary:  p.play.Scenario.Summary,
		Lab:      p.labName(),
		Path:     p.path,
		Speed:    p.plan.Speed,
		Trace:    t,
	}
	f := facts{t: untilEnd(t), idle: p.idleTimeouts(), crash: down}
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
		case trace.DialStart, trace.DialFailed, trace.Open, trace.Accepted, trace.Close, trace.KeepaliveSent,
			trace.KeepaliveTimeout, trace.ReconnectWait, trace.ReconnectGaveUp:
			return e.Time.After(t.End)
		}
		return false
	})
	return trace.New(t.Start, t.End, t.Speed, judged)
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

// judge judges one session.
func judge(f facts, s session) Cell {
	story := tell(f, s)
	a := draw(f.t.Events, s.id)
	c := Cell{
		Client:      s.strategy,
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
	c.Unmet = s.expect.exceeded(c)
	switch {
	case f.crash != nil || !story.alive:
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
