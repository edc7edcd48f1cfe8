package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
)

const (
	// queueLength is how many frames may wait for a connection that takes none: a
	// peer behind a black hole must not hold up anybody else. When it is full the connection is given up.
	queueLength = 256
	// closePatience is how long a client may take to answer a close frame; wall time.
	closePatience = 5 * time.Second
	// headerTimeout bounds how long a client may take to send its request, idleTimeout
	// how long it may wait with the next one; wall time.
	headerTimeout = 10 * time.Second
	idleTimeout   = time.Minute
	// maxHeader is how many bytes a request's head may have.
	maxHeader = 64 << 10
)

// connection is one WebSocket connection. One goroutine reads, one writes.
type connection struct {
	ws      *websocket.Conn
	stream  *stream
	number  int
	session string
	frames  chan frame
	done    chan struct{}
	closing sync.Once
	// sending waits for what writes to the connection.
	sending sync.WaitGroup
	// recorded is closed once the end of the connection was recorded.
	recorded chan struct{}
	// said is how the server has ended the connection, nil as long as it has not.
	said      atomic.Pointer[farewell]
	keepalive keepalive
	// resumed is the session's memory if the client resumes it, and what it calls the connection; it
	// belongs to the reader.
	resumed *strategy.Replay
	resumes uint64
	// witness is set for a client that asked to be watched, else nil.
	witness *witness
	// tried says that a push was sent; the ledger's lock guards it.
	tried bool
	// halfOpen is how the connection is half-open, "" if it is not.
	halfOpen string
}

// farewell is how the server has ended a connection.
type farewell struct {
	at     time.Time
	code   int
	by     string
	detail string
}

// frame is a message to be written.
type frame struct {
	opcode int
	data   []byte
}

// takes says whether the connection is open and has room for a frame.
func (c *connection) takes() bool {
	select {
	case <-c.done:
		return false
	default:
		return len(c.frames) < cap(c.frames)
	}
}

// write queues a text frame. It reports false when the connection takes none.
func (c *connection) write(text []byte) bool { return c.queue(websocket.TextMessage, text) }

func (c *connection) queue(opcode int, data []byte) bool {
	select {
	case <-c.done:
		return false
	default:
	}
	select {
	case c.frames <- frame{opcode, data}:
		return true
	default:
		c.close()
		return false
	}
}

// close ends the connection at once, without a closing handshake.
func (c *connection) close() {
	c.closing.Do(func() {
		close(c.done)
		_ = c.ws.Close()
	})
}

// answerClose answers the client's close frame, behind what waits to be sent: after a close
// frame nothing may follow (RFC 6455, section 5.5.1).
func (c *connection) answerClose(code int, _ string) error {
	answer := []byte{}
	if code != websocket.CloseNoStatusReceived {
		answer = websocket.FormatCloseMessage(code, "")
	}
	if c.queue(websocket.CloseMessage, answer) {
		timer := time.NewTimer(closePatience)
		defer timer.Stop()
		select {
		case <-c.done:
		case <-timer.C:
		}
	}
	return nil
}

// send writes queued frames until the connection ends, or a close frame was written. There is no deadline: as
// with any server, a write into a black hole succeeds until the kernel's buffer is full.
func (c *connection) send() {
	for {
		select {
		case <-c.done:
			return
		case f := <-c.frames:
			if err := c.ws.WriteMessage(f.opcode, f.data); err != nil || f.opcode == websocket.CloseMessage {
				c.close()
				return
			}
		}
	}
}

// accept answers a handshake and serves the connection until it ends.
func (s *service) accept(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	a, no := s.judge(r)
	if delay := s.env.Wall(s.settings.HandshakeDelay); delay > 0 && !wait(r.Context(), delay) {
		s.env.Record(trace.Event{
			Type: trace.Refused, Session: r.URL.Query().Get("session"), Flow: flowOf(r), By: "handshake_delay",
			Dur: time.Since(begun), Detail: "the client left before the answer",
		})
		return // the client did not wait so long
	}
	if no != nil {
		s.refuse(w, r, no)
		return
	}
	flow := flowOf(r)
	asked := r.URL.Query().Get("session")
	demand := demanded(r.URL.Query())
	ws, stream, err := s.upgrade(w, r, a)
	if err != nil {
		s.env.Record(trace.Event{Type: trace.Refused, Session: asked, Flow: flow, Detail: err.Error()})
		return
	}
	c := &connection{ws: ws, stream: stream, frames: make(chan frame, queueLength), done: make(chan struct{}), recorded: make(chan struct{})}
	c.keepalive.heard()
	if r.URL.Query().Has(witnessed) {
		c.witness = new(witness)
	}
	ping := ws.PingHandler()
	ws.SetPingHandler(func(payload string) error {
		c.keepalive.heard()
		s.heard(c, heardPing)
		return ping(payload)
	})
	ws.SetCloseHandler(c.answerClose)
	ws.SetPongHandler(func(payload string) error {
		c.keepalive.answered(payload)
		if c.witness != nil {
			s.testify(c, c.witness.ponged(payload)...)
		}
		return nil
	})
	c.session = s.ledger.opened(asked, c)
	s.env.Record(trace.Event{Type: trace.Accepted, Session: c.session, Conn: c.number, Flow: flow, By: a.user, Detail: a.origin})
	stop := context.AfterFunc(s.ctx, c.close)
	defer stop()
	c.sending.Go(c.send)
	c.sending.Go(func() { c.keepAlive(demand) })
	err = s.receive(c)
	c.close()
	c.sending.Wait()
	s.ledger.closed(c.session, c)
	s.env.Record(c.closeEvent(flow, err, s.ctx))
	close(c.recorded)
}

// wait waits and reports whether it was not cut short by ctx.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// read returns the next message.
func (s *service) read(c *connection) (opcode int, data []byte, err error) {
	opcode, r, err := c.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	c.keepalive.heard()
	most := s.settings.MaxMessage
	// One byte more than allowed tells: what a message is decompressed to is known
	// only then.
	data, err = io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(data) > most {
		err = &tooLong{"message", "max_message", uint64(len(data)), uint64(most)}
	}
	return opcode, data, err
}

// receive reads until the connection ends, and returns why it did.
func (s *service) receive(c *connection) error {
	for {
		opcode, data, err := s.read(c)
		var long *tooLong
		if errors.As(err, &long) {
			return s.endTooLong(c, long)
		}
		if err != nil {
			return err
		}
		m, ok := message{}, false
		if opcode == websocket.TextMessage {
			if s.resume(c, data) {
				continue
			}
			m, ok = parse(data)
		}
		if !c.counts(opcode, data) {
			continue // it comes again over the connection that has taken this one's place
		}
		switch {
		case !ok:
			s.heard(c, heardMessage)
		case m.Type == typeHeartbeat:
			s.heard(c, heardHeartbeat)
		}
		switch {
		case !ok:
			c.say(opcode, data)
		case m.Type == typeHeartbeat && !m.OneWay:
			c.queue(opcode, data)
		case m.Type == typeBeatAck:
			c.keepalive.answered(m.TS)
		case m.Type == typePushAck:
			s.ledger.pushAcked(c.session, m.Seq)
			if c.witness != nil {
				s.testify(c, c.witness.acknowledged(m.Seq)...)
			}
		case m.Type == typeClose:
			go s.end(c, m.Code, m.Reason, byClient) // this goroutine reads the answer
		case m.Type == typeMessage:
			duplicate := s.ledger.arrived(c.session, m.Seq)
			e := trace.Event{Type: trace.ServerReceived, Session: c.session, Conn: c.number, Seq: m.Seq}
			if duplicate {
				e.Detail = "duplicate"
			}
			s.env.Record(e)
			c.say(websocket.TextMessage, encode(typeEcho, m.Seq))
		}
	}
}

// closeEvent says how a connection ended for the server.
func (c *connection) closeEvent(flow *trace.Flow, err error, ctx context.Context) trace.Event {
	e := trace.Event{Type: trace.ServerClosed, Session: c.session, Conn: c.number, Flow: flow, Code: websocket.CloseAbnormalClosure, By: "network"}
	var closed *websocket.CloseError
	said := c.said.Load()
	switch {
	case said != nil:
		e.Time, e.Code, e.By, e.Detail = said.at, said.code, said.by, said.detail
	case ctx.Err() != nil:
		e.By = "node"
	case errors.As(err, &closed):
		// gorilla reports an end of the stream without a close frame as 1006.
		e.Code = closed.Code
		if closed.Code != websocket.CloseAbnormalClosure {
			e.By = "peer"
		}
		e.Detail = closed.Text
	default:
		e.Err = err.Error()
	}
	return e
}

// flowOf returns the TCP connection of a request: the client opened it.
func flowOf(r *http.Request) *trace.Flow {
	if c, ok := r.Context().Value(connKey{}).(*stream); ok {
		return c.flow()
	}
	return nil
}

// flowBetween is the TCP connection between two addresses, nil if they are none of TCP.
func flowBetween(client, server net.Addr) *trace.Flow {
	src, errSrc := netip.ParseAddrPort(client.String())
	dst, errDst := netip.ParseAddrPort(server.String())
	if errSrc != nil || errDst != nil {
		return nil
	}
	return &trace.Flow{Src: unmap(src), Dst: unmap(dst)}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
