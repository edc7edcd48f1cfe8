package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// story is what a page draws of one client in one play: all of it read from recorded events.
// Times are hundredths of a second of lab time. It is written as short as it can be: a
// page has thousands.
type story struct {
	// Bars are what lasted: lane, from, to, kind, text.
	Bars [][5]int `json:"b,omitempty"`
	// Events are what happened: when after the one before, lane, kind, text.
	Events [][4]int `json:"e,omitempty"`
	// Messages of the client, and Pushes of the server: when after the one before, and fate.
	Messages []int `json:"m,omitempty"`
	Pushes   []int `json:"u,omitempty"`
}

// Kinds of bars.
const (
	barConnection = iota
	barEntry      // of a connection table
	barFault      // a toxic, a condition of a link
	barDown       // a node that stands still
)

// Kinds of events.
const (
	kindOther = iota
	kindOpen
	kindEnd
	kindBad
	kindAsk    // a ping, a heartbeat
	kindAnswer // to it
	kindFault
)

// Fates of messages.
const (
	fateLost = iota
	fateAnswered
	fateArrived // and its echo did not
)

// storyteller tells the stories of one play.
type storyteller struct {
	t     *trace.Trace
	lanes map[string]int
	text  func(string) int
	// sessions by the flows of their connections.
	sessions map[trace.Flow][]string
	own      map[string][]trace.Event
	common   []trace.Event
}

// newStoryteller sorts the events of a play by the client that they are about.
func newStoryteller(p *Play, text func(string) int) *storyteller {
	s := &storyteller{t: p.events(), lanes: make(map[string]int), text: text, sessions: make(map[trace.Flow][]string), own: make(map[string][]trace.Event)}
	for i, m := range p.Way {
		s.lanes[m.Name] = i
	}
	for e := range s.t.All(trace.OfType(trace.Open, trace.DialFailed)) {
		if e.Flow == nil || e.Session == "" {
			continue
		}
		for _, f := range s.t.Chain(e).Flows {
			if !slices.Contains(s.sessions[f], e.Session) {
				s.sessions[f] = append(s.sessions[f], e.Session)
			}
		}
	}
	for _, e := range s.t.Events {
		switch {
		case e.Type == trace.Log || e.Type == trace.Ready || e.Type == trace.StepStart || e.Type == trace.StepEnd:
		case e.Session != "":
			s.own[e.Session] = append(s.own[e.Session], e)
		case e.Flow != nil:
			for _, id := range s.of(e) {
				s.own[id] = append(s.own[id], e)
			}
		default:
			s.common = append(s.common, e)
		}
	}
	return s
}

// of returns the sessions that an event of a flow is about.
func (s *storyteller) of(e trace.Event) []string {
	for _, f := range []*trace.Flow{e.Flow, e.Next} {
		if f == nil {
			continue
		}
		if ids := s.sessions[*f]; len(ids) > 0 {
			return ids
		}
		if ids := s.sessions[f.Reverse()]; len(ids) > 0 {
			return ids
		}
	}
	return nil
}

// at is a time on the page.
func (s *storyteller) at(when time.Time) int { return int(s.t.At(when) / (10 * time.Millisecond)) }

// lane of an event: that of its node, or of the one that it names; -1 for none.
func (s *storyteller) lane(e trace.Event) int {
	switch e.Type {
	case trace.Paused, trace.Resumed, trace.Asleep, trace.Awake:
		e.Node = e.Detail
	}
	if i, ok := s.lanes[e.Node]; ok {
		return i
	}
	return -1
}

// tell tells the story of a session, and that of the play itself for "".
func (s *storyteller) tell(session string) story {
	events := s.common
	if session != "" {
		events = s.own[session]
	}
	var st story
	end := s.at(s.t.End)
	type opened struct {
		bar [5]int
		key string
	}
	var open []opened
	last := 0
	for _, e := range events {
		at, lane := s.at(e.Time), s.lane(e)
		if bar, key, begins := barOf(e); key != "" {
			i := slices.IndexFunc(open, func(o opened) bool { return o.key == key })
			if i >= 0 { // what is told anew begins anew
				open[i].bar[2] = at
				st.Bars = append(st.Bars, open[i].bar)
				open = slices.Delete(open, i, i+1)
			}
			if begins && lane >= 0 {
				open = append(open, opened{[5]int{lane, at, end, bar, s.text(e.Detail)}, key})
			}
		}
		switch e.Type {
		case trace.Sent, trace.Acked, trace.Received, trace.ServerReceived, trace.ServerPushed:
			continue
		}
		kind, text := s.describe(e)
		if lane < 0 {
			text = e.Node + ": " + text
		}
		st.Events = append(st.Events, [4]int{at - last, lane, kind, s.text(text)})
		last = at
	}
	for _, o := range open {
		st.Bars = append(st.Bars, o.bar)
	}
	st.Messages = s.messages(events, trace.Sent, trace.ServerReceived, trace.Acked)
	st.Pushes = s.messages(s.t.Missable(session), trace.ServerPushed, "", trace.Received)
	return st
}

// messages lists when messages were written and what became of them.
func (s *storyteller) messages(events []trace.Event, written, arrived, answered trace.Type) []int {
	fates := make(map[int64]int)
	for _, e := range events {
		switch {
		case e.Type == answered:
			fates[e.Seq] = fateAnswered
		case e.Type == arrived && fates[e.Seq] == fateLost:
			fates[e.Seq] = fateArrived
		}
	}
	var all []int
	last := 0
	for _, e := range events {
		if e.Type == written {
			at := s.at(e.Time)
			all = append(all, at-last, fates[e.Seq])
			last = at
		}
	}
	return all
}

// barOf says which bar an event begins or ends.
func barOf(e trace.Event) (kind int, key string, begins bool) {
	flow := ""
	if e.Flow != nil {
		flow = e.Flow.String()
	}
	of := func(what string) string { return what + " " + e.Node + " " + flow }
	switch e.Type {
	case trace.Open, trace.Close:
		return barConnection, fmt.Sprint("client ", e.Conn), e.Type == trace.Open
	case trace.Accepted, trace.ServerClosed:
		return barConnection, of("server"), e.Type == trace.Accepted
	case trace.Relayed, trace.RelayClosed:
		return barConnection, of("relay"), e.Type == trace.Relayed
	case trace.MappingCreated, trace.MappingExpired, trace.MappingClosed, trace.MappingFlushed, trace.MappingEvicted:
		return barEntry, of("mapping"), e.Type == trace.MappingCreated
	case trace.ConnectionTracked, trace.ConnectionExpired, trace.ConnectionClosed, trace.ConnectionFlushed:
		return barEntry, of("tracked"), e.Type == trace.ConnectionTracked
	case trace.ToxicAdded, trace.ToxicRemoved:
		return barFault, of("toxic") + e.Detail, e.Type == trace.ToxicAdded
	case trace.LinkChanged:
		return barFault, of("link") + e.Network + " " + e.By, e.Detail != ""
	case trace.Paused, trace.Resumed, trace.Asleep, trace.Awake:
		return barDown, "still " + e.Detail, e.Type == trace.Paused || e.Type == trace.Asleep
	case trace.HalfOpen, trace.Revived:
		return barDown, of("half-open"), e.Type == trace.HalfOpen
	case trace.Stalled, trace.Unstalled:
		return barDown, "stalled", e.Type == trace.Stalled
	}
	return 0, "", false
}

// describe says what an event is, in a few words.
func (s *storyteller) describe(e trace.Event) (kind int, text string) {
	names := map[trace.Type]struct {
		kind int
		text string
	}{
		trace.DialStart: {kindOther, "dials"}, trace.DialFailed: {kindBad, "attempt failed"}, trace.DialDropped: {kindOther, "attempt dropped"},
		trace.Open: {kindOpen, "connection open"}, trace.Close: {kindEnd, "connection over"},
		trace.KeepaliveSent: {kindAsk, "asks"}, trace.KeepaliveAnswered: {kindAnswer, "answer to"}, trace.KeepaliveReceived: {kindAnswer, "asked, and answers"},
		trace.KeepaliveTimeout: {kindBad, "no answer in time: gives the connection up"}, trace.KeepaliveLate: {kindOther, "answer after the connection was given up"},
		trace.KeepaliveDoubted: {kindBad, "no answer yet: seeks another connection"}, trace.KeepaliveTrusted: {kindAnswer, "heard of again"},
		trace.ReconnectWait: {kindOther, "waits before it connects again"}, trace.ReconnectGaveUp: {kindBad, "gives up"},
		trace.Stalled: {kindFault, "the program stands still"}, trace.Unstalled: {kindOther, "the program goes on"},
		trace.Accepted: {kindOpen, "accepted"}, trace.Refused: {kindBad, "refused"}, trace.ServerClosed: {kindEnd, "connection over"},
		trace.HalfOpen: {kindFault, "its end is gone"}, trace.Revived: {kindOther, "its end is there again"},
		trace.Relayed: {kindOpen, "passed on"}, trace.RelayClosed: {kindEnd, "connection over"}, trace.RelayRefused: {kindBad, "refused"},
		trace.Draining: {kindFault, "drains"}, trace.MappingCreated: {kindOpen, "mapping made"}, trace.MappingRefreshed: {kindAnswer, "mapping refreshed"},
		trace.MappingExpired: {kindBad, "mapping dropped after a silence"}, trace.MappingClosed: {kindEnd, "mapping gone with its connection"},
		trace.MappingFlushed: {kindBad, "mapping flushed"}, trace.MappingEvicted: {kindBad, "mapping gave way to another"},
		trace.ConnectionTracked: {kindOpen, "connection tracked"}, trace.ConnectionRefreshed: {kindAnswer, "connection refreshed"},
		trace.ConnectionExpired: {kindBad, "connection forgotten after a silence"}, trace.ConnectionClosed: {kindEnd, "connection over"},
		trace.ConnectionFlushed: {kindBad, "connection flushed"}, trace.Blocked: {kindBad, "packets stopped"}, trace.Inspected: {kindBad, "looked into the stream"},
		trace.ToxicAdded: {kindFault, "toxic added:"}, trace.ToxicRemoved: {kindOther, "toxic removed:"}, trace.ToxicUpdated: {kindFault, "toxic changed:"},
		trace.ToxicFired: {kindFault, "toxic acted:"}, trace.LinkChanged: {kindFault, "link"}, trace.Restarting: {kindFault, "restarts"},
		trace.AddressChanged: {kindFault, "address changed"}, trace.Stopped: {kindBad, "stopped"}, trace.Paused: {kindFault, "paused"}, trace.Resumed: {kindOther, "resumed"},
		trace.Asleep: {kindFault, "asleep"}, trace.Awake: {kindOther, "awake"}, trace.LookupFailed: {kindBad, "look-up failed"},
		trace.ProgramStarted: {kindOpen, "program started"}, trace.ProgramEnded: {kindEnd, "program ended"}, trace.ProgramKilled: {kindBad, "program killed"},
		trace.ProgramOutput: {kindOther, "writes:"},
	}
	n, ok := names[e.Type]
	if !ok {
		n.text = string(e.Type)
	}
	parts := []string{n.text}
	add := func(set bool, format string, args ...any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(e.Attempt > 1, "(attempt %d)", e.Attempt)
	add(e.Stage != "", "at %s", e.Stage)
	add(e.Status != 0, "with %d", e.Status)
	add(e.Code != 0, "with code %d", e.Code)
	add(e.By != "", "by %s", e.By)
	add(e.Detail != "", "%s", e.Detail)
	if e.Type == trace.MappingExpired || e.Type == trace.ConnectionExpired || e.Type == trace.MappingRefreshed || e.Type == trace.ConnectionRefreshed || e.Type == trace.ReconnectWait || e.Type == trace.Restarting {
		add(e.Dur > 0, "(%.1f s)", s.t.Lab(e.Dur).Seconds())
	}
	add(e.Network != "", "on %s", e.Network)
	add(e.Err != "", "(%s)", e.Err)
	text = oneLine(strings.Join(parts, " "))
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return n.kind, cmp.Or(text, string(e.Type))
}
