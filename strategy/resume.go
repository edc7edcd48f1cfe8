package strategy

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// resumption is a session's memory at work on one connection.
type resumption struct {
	link   *link
	replay *Replay
	// connection is the number that the memory gives it, seen what had arrived before.
	connection, seen uint64
	// answer gets what the peer says of the session, once.
	answer chan Resumption
	// plain: the peer does not resume.
	plain atomic.Bool
}

func newResumption(l *link, r *Replay) *resumption {
	u := &resumption{link: l, replay: r, answer: make(chan Resumption, 1)}
	u.connection, u.seen = r.Begin()
	return u
}

// run asks the peer to go on with the session, and then writes what is kept until the connection ends.
func (u *resumption) run(ctx context.Context) error {
	ask := Resumption{Type: typeResume, Session: u.link.session.id, Received: u.seen}
	_ = u.link.note(ask.Text()) // if it cannot be written the reader learns why
	patience := time.NewTimer(u.replay.settings.Patience)
	defer patience.Stop()
	var after uint64
	select {
	case a := <-u.answer:
		after = u.resumed(a)
	case <-patience.C:
		after = u.refused()
	case <-ctx.Done():
		return nil
	case <-u.link.over:
		return nil
	}
	u.replay.Deliver(ctx.Done(), after, u.write, u.tell)
	return nil
}

// resumed takes up the session where the peer says. It returns the number of the last message that has arrived.
func (u *resumption) resumed(a Resumption) (after uint64) {
	if a.Type != typeResumed {
		return u.refused()
	}
	if a.Fresh {
		a.Received = 0
	}
	again := u.replay.Acknowledged(a.Received)
	text := ""
	if a.Fresh && u.link.number > 1 {
		text = "the peer knew nothing of the session"
	}
	u.link.report(Event{Type: Resumed, Conn: u.link.number, Count: again, Text: text})
	return a.Received
}

// refused goes on without a memory.
func (u *resumption) refused() (after uint64) {
	u.plain.Store(true)
	lost, after := u.replay.abandon()
	u.link.report(Event{Type: Resumed, Conn: u.link.number, Count: -lost, Text: "the peer does not resume sessions"})
	return after
}

// write writes a message. A peer that does not resume acknowledges nothing.
func (u *resumption) write(k Kept) error {
	err := u.link.send(k.Opcode, k.Data, time.Time{})
	if err == nil && u.plain.Load() {
		u.replay.Acknowledged(k.Number)
	}
	return err
}

// tell tells the peer what has arrived.
func (u *resumption) tell(text []byte) error {
	if u.plain.Load() {
		return nil
	}
	return u.link.note(text)
}

// takes says whether a message is for the program. It takes those for itself by which the session is resumed, and
// counts the others.
func (u *resumption) takes(opcode int, data []byte) bool {
	if u.plain.Load() {
		return true
	}
	if opcode == websocket.TextMessage {
		if m, ok := ParseResumption(data); ok {
			u.told(m)
			return false
		}
		if IsHeartbeat(data) {
			return false // an answer that nobody waits for any more
		}
	}
	return u.replay.Count(u.connection)
}

// told takes what the peer says about the session.
func (u *resumption) told(m Resumption) {
	switch m.Type {
	case typeReceived:
		u.replay.Acknowledged(m.Received)
		return
	case typeResumed:
		if m.Fresh {
			u.replay.Forget() // before the first message counts
		}
	case typeResume:
		u.plain.Store(true) // a peer that sends everything back as it came
	}
	select {
	case u.answer <- m:
	default: // it has answered already
	}
}
