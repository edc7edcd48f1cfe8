package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
)

const (
	// readLimit bounds a message; a longer one ends the connection with 1009.
	readLimit = 1 << 20
	// queueLength is how many frames may wait for a connection that takes none: a
	// peer behind a black hole must not hold up anybody else. When it is full the connection is given up.
	queueLength = 256
)

// connection is one WebSocket connection. One goroutine reads, one writes.
type connection struct {
	ws      *websocket.Conn
	number  int
	frames  chan frame
	done    chan struct{}
	closing sync.Once
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

// send writes queued frames until the connection ends. There is no deadline: as
// with any server, a write into a black hole succeeds until the kernel's buffer is full.
func (c *connection) send() {
	for {
		select {
		case <-c.done:
			return
		case f := <-c.frames:
			if err := c.ws.WriteMessage(f.opcode, f.data); err != nil {
				c.close()
				return
			}
		}
	}
}

// accept answers a handshake and serves the connection until it ends.
func (s *service) accept(w http.ResponseWriter, r *http.Request) {
	flow := flowOf(r)
	upgrader := websocket.Upgrader{
		Subprotocols: []string{Subprotocol},
		// Any origin: the Origin check is a lesson of its own.
		CheckOrigin: func(*http.Request) bool { return true },
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			s.env.Record(trace.Event{Type: trace.Refused, Flow: flow, Status: status, Detail: reason.Error()})
			w.Header().Set("Sec-WebSocket-Version", "13")
			http.Error(w, reason.Error(), status)
		},
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // answered and recorded above
	}
	ws.SetReadLimit(readLimit)
	c := &connection{ws: ws, frames: make(chan frame, queueLength), done: make(chan struct{})}
	id := s.ledger.opened(r.URL.Query().Get("session"), c)
	s.env.Record(trace.Event{Type: trace.Accepted, Session: id, Conn: c.number, Flow: flow})
	stop := context.AfterFunc(s.ctx, c.close)
	defer stop()
	var sending sync.WaitGroup
	sending.Go(c.send)
	err = s.receive(c, id)
	c.close()
	sending.Wait()
	s.ledger.closed(id, c)
	s.env.Record(closeEvent(id, c.number, flow, err, s.ctx))
}

// receive reads until the connection ends, and returns why it did.
func (s *service) receive(c *connection, id string) error {
	for {
		opcode, data, err := c.ws.ReadMessage()
		if err != nil {
			return err
		}
		m, ok := message{}, false
		if opcode == websocket.TextMessage {
			m, ok = parse(data)
		}
		switch {
		case !ok, m.Type == typeHeartbeat:
			c.queue(opcode, data)
		case m.Type == typePushAck:
			s.ledger.pushAcked(id, m.Seq)
		case m.Type == typeMessage:
			duplicate := s.ledger.arrived(id, m.Seq)
			e := trace.Event{Type: trace.ServerReceived, Session: id, Conn: c.number, Seq: m.Seq}
			if duplicate {
				e.Detail = "duplicate"
			}
			s.env.Record(e)
			c.write(encode(typeEcho, m.Seq))
		}
	}
}

// closeEvent says how a connection ended for the server.
func closeEvent(id string, number int, flow *trace.Flow, err error, ctx context.Context) trace.Event {
	e := trace.Event{Type: trace.ServerClosed, Session: id, Conn: number, Flow: flow, Code: websocket.CloseAbnormalClosure, By: "network"}
	var closed *websocket.CloseError
	switch {
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
	src, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return nil
	}
	dst, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return nil
	}
	return &trace.Flow{Src: unmap(src), Dst: unmap(dst)}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// headerTimeout bounds how long a client may take to send its request.
const headerTimeout = 10 * time.Second
