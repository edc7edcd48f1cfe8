package scenarios

import (
	"github.com/wslab/wslab/internal/trace"
)

// account is what became of one session's numbered messages, both ways together.
// It is drawn up from the events of both ends, which outlive a restart of either.
type account struct {
	Sent       int
	Lost       int
	Duplicated int

	// sent by the client, received by the server, pushed by the server,
	// and what arrived of that: how often each number occurs.
	sent, received, pushed, arrived tally
}

// tally counts how often each number occurs.
type tally map[int64]int

func (t tally) total() int {
	n := 0
	for _, c := range t {
		n += c
	}
	return n
}

// draw draws up the account of a session.
func draw(events []trace.Event, session string) account {
	a := account{sent: tally{}, received: tally{}, pushed: tally{}, arrived: tally{}}
	for _, e := range events {
		if e.Session != session {
			continue
		}
		switch e.Type {
		case trace.Sent:
			a.sent[e.Seq]++
		case trace.ServerReceived:
			a.received[e.Seq]++
		case trace.ServerPushed:
			a.pushed[e.Seq]++
		case trace.Received:
			a.arrived[e.Seq]++
		}
	}
	a.Sent = len(a.sent) + a.pushed.total()
	for seq := range a.sent {
		if a.received[seq] == 0 {
			a.Lost++
		}
	}
	for _, n := range a.received {
		a.Duplicated += n - 1
	}
	// A server that was restarted numbers its pushes from 1 again: a number may
	// be pushed more than once, and has to arrive as often.
	for seq, n := range a.pushed {
		a.Lost += max(0, n-a.arrived[seq])
		a.Duplicated += max(0, a.arrived[seq]-n)
	}
	return a
}
