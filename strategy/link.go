package strategy

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// lastWords is how long a connection that cannot be written to is still read: the
// peer's close frame may be on its way, and says more than the failed write.
const lastWords = time.Second

// ending says how a connection ended.
type ending struct {
	by   string
	code int
	text string
	err  error
}

// link is one connection of a session. gorilla/websocket wants one reader and
// one writer at a time: read is the reader, the writing semaphore makes one writer.
type link struct {
	session *Session
	ws      *websocket.Conn
	number  int
	opened  time.Time
	probers []*prober
	// writing is a semaphore rather than a mutex so that waiting for it can be given up.
	writing chan struct{}
	// over is closed when nothing can be written any more.
	over chan struct{}
	// abandoned: the session has given the connection up, only answers to
	// keepalives are still of interest.
	abandoned atomic.Bool
	// failed is the error of a write, if one failed.
	failed atomic.Pointer[error]
	// closed: the end was reported. Guarded by Session.reporting.
	closed bool
}

func newLink(s *Session, ws *websocket.Conn) *link {
	l := &link{
		session: s,
		ws:      ws,
		number:  s.connections,
		opened:  time.Now(),
		writing: make(chan struct{}, 1),
		over:    make(chan struct{}),
	}
	if p := s.strategy.Keepalive.Ping; p != nil {
		l.probers = append(l.probers, newPing(l, *p))
	}
	if h := s.strategy.Keepalive.Heartbeat; h != nil {
		l.probers = append(l.probers, newHeartbeat(l, *h))
	}
	return l
}

// send writes a message. The deadline bounds the wait for another writer as well;
// after one has passed in the middle of a message the connection cannot be written to any more.
func (l *link) send(opcode int, data []byte, deadline time.Time) error {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case l.writing <- struct{}{}:
	case <-l.over:
		return ErrNotConnected
	case <-expired:
		return context.DeadlineExceeded
	}
	defer func() { <-l.writing }()
	err := l.ws.SetWriteDeadline(deadline)
	if err == nil {
		err = l.ws.WriteMessage(opcode, data)
	}
	if err != nil {
		l.failed.CompareAndSwap(nil, &err)
		// The reader decides how the connection ended, but not much later. An
		// error here says that it has ended already.
		_ = l.ws.SetReadDeadline(time.Now().Add(lastWords))
	}
	return err
}

// read reads until the connection ends.
func (l *link) read() ending {
	defer close(l.over)
	for {
		opcode, data, err := l.ws.ReadMessage()
		if failed := l.failed.Load(); failed != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = *failed
		}
		if err != nil {
			return endingOf(err)
		}
		if opcode == websocket.TextMessage && l.isAnswer(data) {
			continue
		}
		if f := l.session.options.OnMessage; f != nil && !l.abandoned.Load() {
			f(Message{Conn: l.number, Opcode: opcode, Data: data})
		}
	}
}

// isAnswer says whether a message answers a heartbeat.
func (l *link) isAnswer(data []byte) bool {
	for _, p := range l.probers {
		if p.means == MeansHeartbeat {
			if key, ok := heartbeatKey(data); ok {
				return p.answered(key)
			}
		}
	}
	return false
}

func endingOf(err error) ending {
	var frame *websocket.CloseError
	// gorilla/websocket reports the end of the stream as a close frame with 1006.
	if errors.As(err, &frame) && frame.Code != websocket.CloseAbnormalClosure {
		return ending{by: ByPeer, code: frame.Code, text: frame.Text}
	}
	return ending{by: ByNetwork, code: websocket.CloseAbnormalClosure, err: err}
}

// discard drops a connection that has ended.
func (l *link) discard() { _ = l.ws.Close() } // it has ended: there is nothing to tell

// shut makes the closing handshake: it sends a close frame and goes on reading until
// the peer's arrives, the connection ends, CloseTimeout has passed or ctx ends. Then it drops
// the connection and waits for its reader.
func (l *link) shut(ctx context.Context, code int, text string, read <-chan ending) ending {
	ctx, cancel := context.WithTimeout(ctx, l.session.options.CloseTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, l.discard)
	defer stop()
	deadline, _ := ctx.Deadline()
	// If it cannot be written the reader knows why, or learns it when ctx ends.
	_ = l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), deadline)
	end := <-read
	l.discard()
	return end
}

func (l *link) closedEvent(e ending) Event {
	return Event{Type: Closed, Conn: l.number, Code: e.code, By: e.by, Text: e.text, Err: e.err, Dur: time.Since(l.opened)}
}

// report hands an event about the connection to the caller. Once the connection is closed
// late answers alone are reported.
func (l *link) report(e Event) {
	l.session.reporting.Lock()
	defer l.session.reporting.Unlock()
	if l.closed && e.Type != KeepaliveLate {
		return
	}
	l.closed = l.closed || e.Type == Closed
	l.session.reportLocked(e)
}
