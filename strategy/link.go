package strategy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// lastWords is how long a connection that cannot be written to is still read: the
// peer's close frame may be on its way, and says more than the failed write.
const lastWords = time.Second

// writeReturns is how long a reader at the end of the stream waits for a write that is
// under way.
const writeReturns = 50 * time.Millisecond

// pongPatience bounds the writing of a pong, during which nothing is read; gorilla/websocket's own
// is as long.
const pongPatience = time.Second

// ending says how a connection ended.
type ending struct {
	by   string
	code int
	text string
	err  error
}

// guard looks after a connection until ctx ends, or gives it up with an error.
type guard interface {
	run(ctx context.Context) error
}

// link is one connection of a session. gorilla/websocket wants one reader and
// one writer at a time: read is the reader, the writing semaphore makes one writer.
type link struct {
	session *Session
	ws      *websocket.Conn
	number  int
	opened  time.Time
	// ping and heartbeat are nil where the strategy has none.
	ping, heartbeat *prober
	// adaptive is nil where the strategy has none.
	adaptive *adaptive
	// resumption is nil where the strategy has none.
	resumption *resumption
	guards     []guard
	silence    silence
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

func newLink(s *Session, ws *websocket.Conn, number int) *link {
	l := &link{
		session: s,
		ws:      ws,
		number:  number,
		opened:  time.Now(),
		writing: make(chan struct{}, 1),
		over:    make(chan struct{}),
	}
	l.silence.begin(l.opened)
	k := s.strategy.Keepalive
	if k.Ping != nil {
		l.ping = newPing(l, *k.Ping)
		l.guards = append(l.guards, l.ping)
	}
	if k.Heartbeat != nil {
		l.heartbeat = newHeartbeat(l, *k.Heartbeat)
		l.guards = append(l.guards, l.heartbeat)
	}
	if k.Watch != nil {
		l.guards = append(l.guards, newWatch(l, *k.Watch, rand.New(rand.NewPCG(s.chance.seed(), 0))))
	}
	if k.Adaptive != nil {
		l.adaptive = newAdaptive(l, *k.Adaptive)
		l.guards = append(l.guards, l.adaptive)
	}
	if s.replay != nil {
		l.resumption = newResumption(l, s.replay)
		l.guards = append(l.guards, l.resumption)
	}
	ws.SetPingHandler(l.pinged)
	ws.SetPongHandler(l.ponged)
	return l
}

// pinged answers a ping of the server.
func (l *link) pinged(payload string) error {
	l.heard(true, false)
	l.report(Event{Type: KeepaliveReceived, Conn: l.number, Means: MeansPing, Bytes: frameBytes(len(payload), false) + frameBytes(len(payload), true)})
	l.moved()
	// A pong that cannot be written is no reason to stop reading.
	_ = l.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(pongPatience))
	return nil
}

func (l *link) ponged(payload string) error {
	l.heard(false, false)
	if l.ping != nil {
		l.ping.answered(payload, len(payload))
	}
	if l.adaptive != nil {
		l.adaptive.ping.answered(adaptiveKey(payload), len(payload))
	}
	return nil
}

// doubts tells that the connection has come into doubt, or is in doubt no more; nil where it never is.
func (l *link) doubts() <-chan struct{} {
	if l.adaptive == nil {
		return nil
	}
	return l.adaptive.doubts
}

// heard notes that a frame of the server came, or a part of one: keepalive of its own, or data.
func (l *link) heard(keepalive, data bool) {
	l.silence.broken(keepalive)
	if l.adaptive != nil {
		l.adaptive.heardOf(data)
	}
}

// moved notes that a frame is sent that nobody answers.
func (l *link) moved() {
	if l.adaptive != nil {
		l.adaptive.movedBy()
	}
}

// beaten answers a heartbeat of the server. It reports false for any other message.
func (l *link) beaten(data []byte) bool {
	ts, ok := timestamp(data, typeBeat)
	if !ok {
		return false
	}
	l.heard(true, true)
	answer := heartbeat{Type: typeBeatAck, TS: ts}.text()
	l.report(Event{Type: KeepaliveReceived, Conn: l.number, Means: MeansHeartbeat, Bytes: frameBytes(len(data), false) + frameBytes(len(answer), true)})
	// Not here: while a message is stuck nothing would be read.
	l.session.background.Go(func() {
		// If it cannot be written the reader learns why.
		_ = l.send(websocket.TextMessage, answer, time.Now().Add(l.session.strategy.ConnectTimeout))
	})
	return true
}

// note writes a text that nobody answers.
func (l *link) note(text []byte) error {
	return l.put(websocket.TextMessage, text, time.Time{}, l.moved)
}

// send writes a message; see put.
func (l *link) send(opcode int, data []byte, deadline time.Time) error {
	return l.put(opcode, data, deadline, l.asks)
}

// asks notes that a message is sent that may be answered.
func (l *link) asks() {
	if l.adaptive != nil {
		l.adaptive.sent(true)
	}
}

// put writes a message, and calls begin just before. The deadline bounds the wait for another writer as well;
// after one has passed in the middle of a message the connection cannot be written to any more.
func (l *link) put(opcode int, data []byte, deadline time.Time, begin func()) error {
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
	begin()
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
		opcode, data, err := l.message()
		if err != nil {
			return endingOf(l.reason(err))
		}
		if opcode == websocket.TextMessage && (l.isAnswer(data) || l.beaten(data)) {
			continue
		}
		if l.resumption != nil && !l.resumption.takes(opcode, data) {
			continue
		}
		l.handOver(Message{Conn: l.number, Opcode: opcode, Data: data})
	}
}

// message reads the next message. A long one is heard of while it comes.
func (l *link) message() (opcode int, data []byte, err error) {
	opcode, r, err := l.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	l.heard(false, true)
	data, err = io.ReadAll(heeded{r, l})
	return opcode, data, err
}

// heeded is a message of which every part is heard of.
type heeded struct {
	io.Reader
	link *link
}

func (h heeded) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	if n > 0 {
		h.link.heard(false, true)
	}
	return n, err
}

// handOver gives the program a message.
func (l *link) handOver(m Message) {
	f := l.session.options.OnMessage
	if f == nil || l.abandoned.Load() {
		return
	}
	if l.adaptive != nil {
		l.adaptive.handling()
		defer l.adaptive.done()
	}
	f(m)
}

// reason is why the connection ended, given what the reader got.
func (l *link) reason(err error) error {
	end := websocket.IsCloseError(err, websocket.CloseAbnormalClosure)
	if end {
		// A write that is about to fail knows more.
		select {
		case l.writing <- struct{}{}:
			<-l.writing
		case <-time.After(writeReturns):
		}
	}
	failed := l.failed.Load()
	if failed == nil {
		return err
	}
	// The kernel tells of a RST once. Where a write was told, the reader sees no more than
	// the end of the stream.
	if errors.Is(err, os.ErrDeadlineExceeded) || end && errors.Is(*failed, syscall.ECONNRESET) {
		return *failed
	}
	return err
}

// isAnswer says whether a message answers a heartbeat.
func (l *link) isAnswer(data []byte) bool {
	if l.heartbeat == nil && l.adaptive == nil {
		return false
	}
	key, ok := heartbeatKey(data)
	if !ok {
		return false
	}
	return l.heartbeat != nil && l.heartbeat.answered(key, len(data)) || l.adaptive != nil && l.adaptive.heartbeat.answered(key, len(data))
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
