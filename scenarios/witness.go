package scenarios

import (
	"context"
	"fmt"
	"slices"

	"github.com/wslab/wslab/internal/trace"
)

// drawn are the events of clients that record nothing themselves, as far as the server's record
// gives them: how their connections came and went.
func (p *player) drawn(t *trace.Trace) []trace.Event {
	var all []trace.Event
	for _, s := range p.sessions {
		if s.program == nil {
			continue
		}
		number := make(map[trace.Flow]int)
		for e := range t.All(trace.OfSession(s.id), trace.OfType(trace.Accepted, trace.ServerClosed)) {
			if e.Flow == nil {
				continue
			}
			drawn := trace.Event{Time: e.Time, Node: p.client, Session: s.id, Witnessed: true}
			if e.Type == trace.Accepted {
				number[*e.Flow] = len(number) + 1
				origin := t.Origin(e)
				drawn.Type, drawn.Conn, drawn.Flow, drawn.Detail = trace.Open, number[*e.Flow], &origin, p.path
			} else {
				drawn.Type, drawn.Conn, drawn.Code, drawn.By, drawn.Err = trace.Close, number[*e.Flow], e.Code, closer(e), e.Err
			}
			all = append(all, drawn)
		}
	}
	return all
}

// closer is who ended a connection, seen from the client.
func closer(closed trace.Event) string {
	switch closed.By {
	case "peer":
		return "strategy" // the client of its own accord
	case "network":
		return "network"
	}
	return "peer"
}

// probe asks the programs, over every connection that is open, whether they are there.
func (p *player) probe(ctx context.Context) error {
	var ids []string
	for _, s := range p.sessions {
		if s.program != nil {
			ids = append(ids, s.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return p.atServers(ctx, "", "probe", map[string]any{"ids": ids})
}

// waiting says whether something of a session is still on its way: of a program also whether the probe
// of its open connection was not answered.
func (s session) waiting(events []trace.Event) bool {
	if s.program == nil {
		return outstanding(events, s.id) > 0
	}
	open := openFlow(events, s.id)
	return open != nil && (unansweredPushes(events, s.id) > 0 || !probed(events, s.id, *open))
}

// openFlow is the connection of a session that the server has open, the newest one; nil for none.
func openFlow(events []trace.Event, id string) *trace.Flow {
	var open []trace.Flow
	for _, e := range events {
		switch {
		case e.Session != id || e.Flow == nil:
		case e.Type == trace.Accepted:
			open = append(open, *e.Flow)
		case e.Type == trace.ServerClosed:
			open = slices.DeleteFunc(open, func(f trace.Flow) bool { return f == *e.Flow })
		}
	}
	if len(open) == 0 {
		return nil
	}
	return &open[len(open)-1]
}

// probed says whether the client has answered the probe over a connection, as the server sees that.
func probed(events []trace.Event, id string, over trace.Flow) bool {
	return slices.ContainsFunc(events, func(e trace.Event) bool {
		return e.Type == trace.Answered && e.Session == id && e.Detail == probeAnswer && e.Flow != nil && *e.Flow == over
	})
}

// probeAnswer is the Detail of an answer to a probe.
const probeAnswer = "probe"

// unansweredPushes counts the pushes over the newest connection that were not answered.
func unansweredPushes(events []trace.Event, id string) int {
	pushed := make(map[int64]bool)
	accepted := accepted{}
	for _, e := range events {
		switch {
		case e.Session != id:
		case e.Type == trace.Accepted:
			accepted.add(e)
			clear(pushed)
		case e.Type == trace.ServerClosed:
			for _, seq := range accepted.close(e) {
				delete(pushed, seq)
			}
		case e.Type == trace.ServerPushed:
			pushed[e.Seq] = true
			accepted.push(e)
		case e.Type == trace.Answered:
			delete(pushed, e.Seq)
		}
	}
	return len(pushed)
}

// drawWitnessed draws up the account of a session from what the server has seen alone. The client numbers
// its messages from 1: that number N has arrived says that all before it were sent. What a client sent last
// before it fell silent for good nobody has seen, and it is not in the account.
func drawWitnessed(events []trace.Event, id string) account {
	a := account{sent: tally{}, received: tally{}, pushed: tally{}, arrived: tally{}}
	newest := int64(0)
	for _, e := range events {
		if e.Session != id {
			continue
		}
		switch {
		case e.Type == trace.ServerReceived:
			a.received[e.Seq]++
			newest = max(newest, e.Seq)
		case e.Type == trace.ServerPushed:
			a.pushed[e.Seq]++
		case e.Type == trace.Answered && e.Seq > 0:
			a.arrived[e.Seq]++
		}
	}
	a.Sent = int(newest) + a.pushed.total()
	a.Lost = int(newest) - len(a.received)
	for _, n := range a.received {
		a.Duplicated += n - 1
	}
	for seq, n := range a.pushed {
		a.Lost += max(0, n-a.arrived[seq])
	}
	return a
}

// strangers counts the connections that the server has accepted without a name: a program that does
// not take its URL as it is makes such.
func strangers(t *trace.Trace) int {
	n := 0
	for e := range t.All(trace.OfType(trace.Accepted)) {
		var number int
		if _, err := fmt.Sscanf(e.Session, "anonymous-%d", &number); err == nil {
			n++
		}
	}
	return n
}
