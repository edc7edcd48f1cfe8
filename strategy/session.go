package strategy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// DialFunc opens a WebSocket connection. It should return soon after ctx ends. The session
// sets the handlers, the deadlines and the TCP keepalive of the connection, and closes it.
type DialFunc func(ctx context.Context) (*websocket.Conn, error)

// Message is a message from the peer.
type Message struct {
	// Conn is the connection that it came over, counted from 1.
	Conn int
	// Opcode is [websocket.TextMessage] or [websocket.BinaryMessage].
	Opcode int
	Data   []byte
}

// Options of a session. The zero Options are usable.
type Options struct {
	// OnEvent is called with each event, one at a time and in order. It must
	// return soon and not call the session. May be nil.
	OnEvent func(Event)
	// OnMessage is called with each message, answers to heartbeats excepted, one
	// at a time for each connection. While it runs nothing else is read from the
	// connection: if it is slow, pongs are late. It may call Send. May be nil.
	OnMessage func(Message)
	// Seed of the jitter. Sessions with the same seed wait the same times; 0 is
	// a random seed.
	Seed uint64
	// CloseTimeout bounds how long a connection that was closed or given up
	// is still read, for the closing handshake and late answers. The default is 5 s.
	CloseTimeout time.Duration
}

// ErrNotConnected says that the session has no open connection at present.
var ErrNotConnected = errors.New("not connected")

// ErrGaveUp says that the session lost its connection, or got none, and does not try again.
var ErrGaveUp = errors.New("gave up")

// Session is a conversation with one peer, over one connection after the other. Its
// methods are safe for concurrent use; Run is called once.
type Session struct {
	strategy Strategy
	dial     DialFunc
	options  Options
	random   *rand.Rand

	reporting sync.Mutex

	mu      sync.Mutex
	current *link

	// What follows belongs to the goroutine of Run. Attempts count since the last
	// open connection, tries to reconnect since the last one that lasted.
	connections, attempt, tries int
	background                  sync.WaitGroup
}

// New returns a session that keeps a connection as s says once Run is called. dial is
// called for each attempt; it is for dial to apply [Strategy.URL].
func New(s Strategy, dial DialFunc, options Options) *Session {
	fill(&options.CloseTimeout, 5*time.Second)
	seed := options.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	return &Session{
		strategy: s.WithDefaults(),
		dial:     dial,
		options:  options,
		random:   rand.New(rand.NewPCG(seed, seed)),
	}
}

// Run connects, keeps the connection alive and replaces it as the strategy says,
// until ctx ends or the strategy gives up. When ctx ends an open connection is closed with a
// closing handshake and Run returns nil; otherwise it returns an error that wraps
// ErrGaveUp. All goroutines of the session have ended when it returns.
func (s *Session) Run(ctx context.Context) error {
	defer s.background.Wait()
	for {
		l, err := s.connect(ctx)
		if l == nil {
			return err
		}
		end := s.serve(ctx, l)
		if ctx.Err() != nil {
			return nil
		}
		s.attempt = 0
		if r := s.strategy.Reconnect; r != nil && time.Since(l.opened) >= r.ResetAfter {
			s.tries = 0
		}
		if !Retryable(end.code) {
			return s.giveUp(fmt.Sprintf("the peer closed with %d: %s", end.code, CloseText(end.code)), end.err)
		}
	}
}

// Send writes a message to the open connection and returns that connection's
// number. It blocks while the connection takes no data. A nil error says that the
// kernel has taken the message, not that it has arrived.
func (s *Session) Send(opcode int, data []byte) (conn int, err error) {
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	if l == nil {
		return 0, ErrNotConnected
	}
	return l.number, l.send(opcode, data, time.Time{})
}

// connect returns the next connection, or nil when ctx has ended or, with an
// error, when the strategy gives up.
func (s *Session) connect(ctx context.Context) (*link, error) {
	retry := s.connections > 0
	var last error
	for {
		if retry {
			if reason := s.exhausted(); reason != "" {
				return nil, s.giveUp(reason, last)
			}
			if !s.wait(ctx) {
				return nil, nil
			}
		}
		retry = true
		l, err := s.try(ctx)
		if ctx.Err() != nil {
			return l, nil // an open connection still has its closing handshake
		}
		if err == nil {
			return l, nil
		}
		last = err
	}
}

// exhausted says why there is no further try, or "".
func (s *Session) exhausted() string {
	switch r := s.strategy.Reconnect; {
	case r == nil:
		return "the strategy does not reconnect"
	case r.Tries >= 0 && s.tries >= r.Tries:
		return fmt.Sprintf("%d tries failed", s.tries)
	}
	return ""
}

func (s *Session) giveUp(reason string, err error) error {
	s.report(Event{Type: GaveUp, Conn: s.connections, Attempt: s.attempt, Text: reason, Err: err})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrGaveUp, reason, err)
	}
	return fmt.Errorf("%w: %s", ErrGaveUp, reason)
}

// wait waits before the next try. It reports false if ctx ended meanwhile.
func (s *Session) wait(ctx context.Context) bool {
	s.tries++
	delay := s.strategy.Reconnect.Delay(s.tries, s.random.Float64())
	s.report(Event{Type: Waiting, Conn: s.connections, Attempt: s.attempt + 1, Dur: delay})
	return sleep(ctx, delay)
}

// try makes one attempt to connect.
func (s *Session) try(ctx context.Context) (*link, error) {
	s.attempt++
	start := time.Now()
	s.report(Event{Type: DialStart, Time: start, Conn: s.connections + 1, Attempt: s.attempt})
	dialing, cancel := context.WithTimeout(ctx, s.strategy.ConnectTimeout)
	defer cancel()
	ws, err := s.dial(dialing)
	if err == nil {
		if err = setTCPKeepalive(ws.NetConn(), s.strategy.Keepalive.TCP); err != nil {
			_ = ws.Close() // the first error counts
		}
	}
	if err != nil {
		s.report(Event{Type: DialFailed, Conn: s.connections + 1, Attempt: s.attempt, Dur: time.Since(start), Err: err})
		return nil, err
	}
	s.connections++
	l := newLink(s, ws)
	// Under the lock, so that whoever hears of the connection can send over it.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(Event{Type: Opened, Conn: l.number, Attempt: s.attempt, Dur: time.Since(start), Local: ws.LocalAddr(), Remote: ws.RemoteAddr()})
	s.current = l
	return l, nil
}

// serve looks after an open connection until it is over for the session.
func (s *Session) serve(ctx context.Context, l *link) ending {
	read := make(chan ending, 1)
	s.background.Go(func() { read <- l.read() })
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	unanswered := make(chan ending, len(l.probers))
	for _, p := range l.probers {
		s.background.Go(func() {
			if err := p.run(probing); err != nil {
				unanswered <- ending{by: ByStrategy, code: websocket.CloseAbnormalClosure, err: err}
			}
		})
	}
	var end ending
	select {
	case end = <-read:
		s.disconnect()
		l.discard()
	case end = <-unanswered:
		s.disconnect()
		l.abandoned.Store(true)
		// The next connection does not wait for it. 1011 is what Python's
		// websockets sends then; browsers have no code for it.
		s.background.Go(func() { l.shut(ctx, websocket.CloseInternalServerErr, "keepalive timeout", read) })
	case <-ctx.Done():
		s.disconnect()
		end = l.shut(context.WithoutCancel(ctx), websocket.CloseNormalClosure, "", read)
		end.by = ByCaller
	}
	l.report(l.closedEvent(end))
	return end
}

// disconnect makes Send refuse until the next connection is open.
func (s *Session) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = nil
}

// report hands an event to the caller.
func (s *Session) report(e Event) {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	s.reportLocked(e)
}

func (s *Session) reportLocked(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if s.options.OnEvent != nil {
		s.options.OnEvent(e)
	}
}

// sleep waits and reports whether it was not cut short by ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
