package server

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
)

// witnessed is how a client asks, in the query of its URL, to be watched: one that is not wslab's
// own records nothing, and the server is the only one to say what became of its connections.
const witnessed = "witness"

// How the answer to a push, or to a probe, came.
const (
	byPushAck = "push-ack"
	byPong    = "pong"
	byProbe   = "probe"
)

// What a server has heard of a watched client.
const (
	heardPing      = "ping"
	heardHeartbeat = "heartbeat"
	heardMessage   = "message"
)

// witness is what the server knows of a watched connection beside its ledger. It sends a ping behind
// each push: the pong proves that the push has arrived, whether the client speaks the numbered echo
// or not, because frames keep their order. It is safe for concurrent use.
type witness struct {
	mu sync.Mutex
	// pushes that were not answered yet, in their order.
	pushes []question
	// pings that were not answered yet, in their order, by what they carry.
	pings []question
	asked int
}

// question is something that the client has to answer.
type question struct {
	// seq is a push's number, or the newest one when a ping was sent.
	seq     int64
	payload string
	at      time.Time
}

// The payload of a ping that goes with talk, and of one that only asks whether the client is there.
const (
	talkPing  = "wslab-talk-"
	probePing = "wslab-probe-"
)

// pushed notes a push.
func (w *witness) pushed(seq int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushes = append(w.pushes, question{seq: seq, at: time.Now()})
}

// ask returns the payload of a ping that is to be sent now.
func (w *witness) ask(kind string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	q := question{payload: kind + strconv.Itoa(w.asked), at: time.Now()}
	if n := len(w.pushes); n > 0 {
		q.seq = w.pushes[n-1].seq
	}
	w.pings = append(w.pings, q)
	return q.payload
}

// acknowledged returns what a push-ack answers, nil if it was answered before.
func (w *witness) acknowledged(seq int64) []trace.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, q := range w.pushes {
		if q.seq == seq {
			w.pushes = append(w.pushes[:i:i], w.pushes[i+1:]...)
			return []trace.Event{answer(q, seq, byPushAck)}
		}
	}
	return nil
}

// ponged returns what a pong answers: its ping, and the pushes that went before it.
func (w *witness) ponged(payload string) (answers []trace.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, q := range w.pings {
		if q.payload != payload {
			continue
		}
		w.pings = w.pings[i+1:] // a pong may stand for the pings before it (RFC 6455, section 5.5.3)
		for len(w.pushes) > 0 && w.pushes[0].seq <= q.seq {
			answers = append(answers, answer(w.pushes[0], w.pushes[0].seq, byPong))
			w.pushes = w.pushes[1:]
		}
		by := byPong
		if strings.HasPrefix(payload, probePing) {
			by = byProbe
		}
		return append(answers, answer(q, 0, by))
	}
	return nil
}

func answer(q question, seq int64, by string) trace.Event {
	return trace.Event{Type: trace.Answered, Seq: seq, Dur: time.Since(q.at), Detail: by}
}

// testify records events about a watched connection.
func (s *service) testify(c *connection, events ...trace.Event) {
	for _, e := range events {
		e.Session, e.Conn, e.Flow = c.session, c.number, c.stream.flow()
		s.env.Record(e)
	}
}

// heard records what came from a watched client beside numbered messages.
func (s *service) heard(c *connection, what string) {
	if c.witness != nil {
		s.testify(c, trace.Event{Type: trace.Heard, Detail: what})
	}
}

// probe asks the watched ones of these sessions whether they are there, and returns how many were asked.
func (s *service) probe(ids []string) int {
	n := 0
	for _, c := range s.ledger.open(ids) {
		if c.witness != nil && c.queue(websocket.PingMessage, []byte(c.witness.ask(probePing))) {
			n++
		}
	}
	return n
}
