package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
)

// closeTimeout bounds a closing handshake, and the wait for late answers, in lab time.
const closeTimeout = 5 * time.Second

// recorder takes the events of a session and knows the lab's clock; [node.Env] is one.
type recorder interface {
	trace.Recorder
	Wall(time.Duration) time.Duration
}

// session is one client session: a strategy at work on a way to the server,
// speaking the numbered echo.
type session struct {
	id           string
	path         Path
	env          recorder
	account      *account
	conversation *strategy.Session
	talking      talking
	standstill   standstill

	// ctx is the session's own; stop ends it.
	ctx  context.Context
	stop context.CancelFunc
	// ended is closed when the session is over, for whatever reason.
	ended chan struct{}
	// opened is closed when the first connection is open, firstAck when the
	// first echo came.
	opened, firstAck   chan struct{}
	opening, answering sync.Once
	// failure is the last failed attempt to connect; read it after ended.
	failure error
}

// newSession makes a session, which begin starts. seed is that of what its strategy draws at
// random, 0 for another each time.
func newSession(id string, path Path, s strategy.Strategy, dial strategy.DialFunc, env recorder, seed uint64) *session {
	e := &session{
		id: id, path: path, env: env,
		account:  newAccount(),
		ended:    make(chan struct{}),
		opened:   make(chan struct{}),
		firstAck: make(chan struct{}),
	}
	e.conversation = strategy.New(s, dial, strategy.Options{
		OnEvent:      e.event,
		OnMessage:    e.receive,
		CloseTimeout: env.Wall(closeTimeout),
		Seed:         seed,
	})
	return e
}

// begin starts the session. It ends with ctx, with stop, or when its strategy gives up.
func (s *session) begin(ctx context.Context) {
	s.ctx, s.stop = context.WithCancel(ctx)
	go func() {
		defer close(s.ended)
		// Why it gave up was recorded when it did.
		_ = s.conversation.Run(s.ctx)
		s.stop()
		s.talking.quiet(context.WithoutCancel(ctx))
	}()
}

// talk sends a numbered message at once and then each interval of wall time, until
// quiet or the session's end. size is how many bytes each has beyond its number.
func (s *session) talk(interval time.Duration, size int) {
	s.talking.talk(s.ctx, interval, func(ctx context.Context) { s.send(ctx, size) })
}

// send writes the next numbered message, if there is a connection and ctx does not end
// before the program goes on. A session that resumes keeps it where there is none.
func (s *session) send(ctx context.Context, size int) {
	if !s.standstill.wait(ctx) {
		return
	}
	seq, sending := s.account.next()
	defer close(sending.written)
	conn, err := s.conversation.Send(websocket.TextMessage, encode(typeMessage, seq, size))
	if err != nil {
		s.account.drop(seq) // the end of the connection is recorded by itself
		return
	}
	s.account.done(seq, conn)
	s.record(trace.Event{Type: trace.Sent, Time: sending.start, Conn: conn, Seq: seq})
}

// receive takes what the server sends. While the program stands still it does not return,
// and so nothing more is read from the connection.
func (s *session) receive(in strategy.Message) {
	if !s.standstill.wait(s.ctx) {
		return // the session is over
	}
	if in.Opcode != websocket.TextMessage {
		return
	}
	m, ok := parse(in.Data)
	if !ok {
		return
	}
	if m.Type == typeEcho {
		s.acknowledge(in.Conn, m.Seq)
		return
	}
	e := trace.Event{Type: trace.Received, Conn: in.Conn, Seq: m.Seq}
	if s.account.pushed(m.Seq) {
		e.Detail = "duplicate"
	}
	s.record(e)
	// If it cannot be written the connection has ended, which is recorded by itself.
	_, _ = s.conversation.Send(websocket.TextMessage, encode(typePushAck, m.Seq, 0))
}

// acknowledge notes the echo of a message, after the message itself was recorded.
func (s *session) acknowledge(conn int, seq int64) {
	now := time.Now()
	sending := s.account.awaited(seq)
	if sending == nil {
		return
	}
	<-sending.written // it is: its echo is here
	s.account.acked(seq)
	s.record(trace.Event{Type: trace.Acked, Time: now, Conn: conn, Seq: seq, Dur: now.Sub(sending.start)})
	s.answering.Do(func() { close(s.firstAck) })
}

// event records what happens to the session.
func (s *session) event(e strategy.Event) {
	t := trace.Event{Time: e.Time, Conn: e.Conn, Attempt: e.Attempt, Seq: e.Seq, Dur: e.Dur, Code: e.Code, By: e.By, Detail: e.Text, Count: int64(e.Bytes)}
	if e.Err != nil {
		t.Err = e.Err.Error()
	}
	switch e.Type {
	case strategy.DialStart:
		t.Type, t.Detail = trace.DialStart, s.path.Name
	case strategy.DialFailed:
		t.Type = trace.DialFailed
		s.failure = e.Err
		t.Stage, t.Status, t.Err = stageOf(e.Err)
		t.Flow = attemptedOn(e.Err)
	case strategy.Opened:
		t.Type, t.Detail, t.Flow = trace.Open, s.path.Name, flowOf(e.Local, e.Remote)
		s.account.opened(e.Conn)
	case strategy.Closed:
		t.Type = trace.Close
		if e.By == strategy.ByCaller {
			t.By = "runner"
		}
		s.account.closed()
	case strategy.KeepaliveSent:
		t.Type, t.Detail = trace.KeepaliveSent, e.Means
	case strategy.KeepaliveAnswered:
		t.Type, t.Detail = trace.KeepaliveAnswered, e.Means
	case strategy.KeepaliveReceived:
		t.Type, t.Detail = trace.KeepaliveReceived, e.Means
	case strategy.KeepaliveTimeout:
		t.Type, t.Detail = trace.KeepaliveTimeout, e.Means
	case strategy.KeepaliveLate:
		t.Type, t.Detail = trace.KeepaliveLate, e.Means
	case strategy.Doubted:
		t.Type = trace.KeepaliveDoubted
	case strategy.Trusted:
		t.Type = trace.KeepaliveTrusted
	case strategy.Resumed:
		t.Type, t.Count = trace.SessionResumed, int64(e.Count)
	case strategy.DialDropped:
		t.Type = trace.DialDropped
		if e.Err != nil {
			t.Stage, t.Status, t.Err = stageOf(e.Err)
			t.Flow = attemptedOn(e.Err)
		}
	case strategy.Waiting:
		t.Type = trace.ReconnectWait
	case strategy.GaveUp:
		t.Type = trace.ReconnectGaveUp
		s.account.gaveUp()
	}
	s.record(t)
	if e.Type == strategy.Opened {
		s.opening.Do(func() { close(s.opened) })
	}
}

func (s *session) record(e trace.Event) {
	e.Session = s.id
	s.env.Record(e)
}

// stageOf takes a failed attempt apart. Without a stage the attempt ended before its first one.
func stageOf(err error) (stage string, status int, text string) {
	var staged *DialError
	if errors.As(err, &staged) {
		return staged.Stage, staged.Status, staged.Err.Error()
	}
	return stageTCP, 0, err.Error()
}

// attemptedOn is the TCP connection that a failed attempt was made on, if it had one.
func attemptedOn(err error) *trace.Flow {
	var staged *DialError
	if errors.As(err, &staged) {
		return staged.Flow
	}
	return nil
}

// flowOf is the client's own TCP connection.
func flowOf(local, remote net.Addr) *trace.Flow {
	src, errSrc := netip.ParseAddrPort(local.String())
	dst, errDst := netip.ParseAddrPort(remote.String())
	if errSrc != nil || errDst != nil {
		return nil // not TCP
	}
	return &trace.Flow{Src: unmap(src), Dst: unmap(dst)}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// withSession adds the session's name to a URL, and what the server is asked to do to keep the
// connection alive.
func withSession(target, id string, k *strategy.Server) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	query := u.Query()
	query.Set("session", id)
	if k != nil {
		query.Set("keepalive", k.Means)
		for name, d := range map[string]time.Duration{"interval": k.Interval, "timeout": k.Timeout, "silence": k.Silence} {
			if d > 0 {
				query.Set(name, d.String())
			}
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}
