package server

import (
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
)

// acknowledge is how long the messages of a session that resumes may go unacknowledged, in lab time.
const acknowledge = time.Second

// resume takes a text by which a client resumes its session, and reports whether it was one. See
// [strategy.Resume].
func (s *service) resume(c *connection, text []byte) bool {
	m, ok := strategy.ParseResumption(text)
	switch {
	case !ok:
		return false
	case c.resumed != nil:
		c.resumed.Acknowledged(m.Received)
		return true
	case m.Session == "":
		return false // nobody has asked for a session to be resumed
	}
	replay, fresh := s.ledger.resume(c.session, m.Session, strategy.Resume{Acknowledge: s.env.Wall(acknowledge)})
	number, received := replay.Begin()
	after := m.Received
	if fresh {
		after = 0
	}
	e := trace.Event{Type: trace.ServerResumed, Session: c.session, Conn: c.number, Count: int64(replay.Acknowledged(after))}
	if fresh {
		e.Detail = "fresh"
	}
	s.env.Record(e)
	c.resumed, c.resumes = replay, number
	c.write(strategy.Resumption{Type: "resumed", Received: received, Fresh: fresh}.Text())
	c.sending.Go(func() {
		replay.Deliver(c.done, after, func(k strategy.Kept) error { return c.put(k.Opcode, k.Data) }, func(text []byte) error { return c.put(websocket.TextMessage, text) })
	})
	return true
}

// put queues a frame, and waits while the connection takes none.
func (c *connection) put(opcode int, data []byte) error {
	select {
	case c.frames <- frame{opcode, data}:
		return nil
	case <-c.done:
		return websocket.ErrCloseSent
	}
}

// counts notes a message of a session that is resumed. It reports false if another connection has taken
// this one's place.
func (c *connection) counts(opcode int, data []byte) bool {
	if c.resumed == nil || opcode == websocket.TextMessage && strategy.IsHeartbeat(data) {
		return true
	}
	return c.resumed.Count(c.resumes)
}

// say sends a message of the session. One that cannot be kept is the end of the connection, as one that
// cannot be queued is.
func (c *connection) say(opcode int, data []byte) {
	if c.resumed == nil {
		c.queue(opcode, data)
		return
	}
	if _, err := c.resumed.Keep(opcode, data); err != nil {
		c.close()
	}
}
