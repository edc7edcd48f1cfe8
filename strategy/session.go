package strategy

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
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
	// Memory is what an [Adaptive] keepalive knows and learns about paths. Without one the session has one
	// of its own, and forgets with its end.
	Memory *Memory
	// Addresses returns the addresses of this machine, of type [*net.IPNet], for an [Adaptive] keepalive. The
	// default is [net.InterfaceAddrs].
	Addresses func() ([]net.Addr, error)
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
	chance   chance
	waits    func(n int) time.Duration
	// id and replay are those of a session that resumes.
	id     string
	replay *Replay
	over   atomic.Bool

	reporting sync.Mutex

	mu      sync.Mutex
	current *link
	// connections counts those that were opened.
	connections int

	background sync.WaitGroup
}

// New returns a session that keeps a connection as s says once Run is called. dial is
// called for each attempt; it is for dial to apply [Strategy.URL]. With [AdaptiveReconnect] it may be
// called again before it has returned.
func New(s Strategy, dial DialFunc, options Options) *Session {
	fill(&options.CloseTimeout, 5*time.Second)
	if options.Memory == nil {
		options.Memory = new(Memory)
	}
	if options.Addresses == nil {
		options.Addresses = net.InterfaceAddrs
	}
	seed := options.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	session := &Session{
		strategy: s.WithDefaults(),
		dial:     dial,
		options:  options,
		chance:   chance{random: rand.New(rand.NewPCG(seed, seed))},
	}
	if r := s.Resume; r != nil {
		session.id, session.replay = crand.Text(), NewReplay(*r)
	}
	if r := s.Reconnect; r != nil {
		session.waits = r.Waits(session.chance.draw)
	}
	return session
}

// chance is a source of random numbers that is safe for concurrent use.
type chance struct {
	mu     sync.Mutex
	random *rand.Rand
}

// draw returns a number from 0 to under 1.
func (c *chance) draw() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.Float64()
}

// seed returns one for another source.
func (c *chance) seed() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.Uint64()
}

// Run connects, keeps the connection alive and replaces it as the strategy says,
// until ctx ends or the strategy gives up. When ctx ends an open connection is closed with a
// closing handshake and Run returns nil; otherwise it returns an error that wraps
// ErrGaveUp. All goroutines of the session have ended when it returns.
func (s *Session) Run(ctx context.Context) error {
	defer s.background.Wait()
	defer s.over.Store(true)
	search := s.seek(ctx, nil, 0)
	for {
		found := <-search.found
		if found.ws == nil {
			return found.err
		}
		l := s.open(found)
		var end ending
		end, search = s.serve(ctx, l, found.tries)
		if ctx.Err() != nil {
			if search != nil {
				s.drop(search)
			}
			return nil
		}
		if s.stops(end.code) {
			if search != nil {
				s.drop(search)
			}
			return s.giveUp(0, fmt.Sprintf("the peer closed with %d: %s", end.code, CloseText(end.code)), end.err)
		}
		if search == nil {
			search = s.seek(ctx, &end, s.triesAfter(l, found.tries))
		}
	}
}

// triesAfter is how many tries to reconnect are counted after a connection.
func (s *Session) triesAfter(l *link, tries int) int {
	if r := s.strategy.Reconnect; r != nil && time.Since(l.opened) >= r.ResetAfter {
		return 0
	}
	return tries
}

// stops says whether the strategy stays away after a close code.
func (s *Session) stops(code int) bool {
	if r := s.strategy.Reconnect; r != nil {
		return r.Stops(code)
	}
	return !Retryable(code)
}

// Send writes a message to the open connection and returns that connection's
// number. It blocks while the connection takes no data. A nil error says that the
// kernel has taken the message, not that it has arrived.
//
// With [Resume] the message is taken at any time until Run returns, and is kept until the peer has
// acknowledged it: Send does not block, returns 0 where no connection is open, and [ErrFull] if too much is kept.
func (s *Session) Send(opcode int, data []byte) (conn int, err error) {
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	if s.replay != nil && !s.over.Load() {
		if _, err := s.replay.Keep(opcode, bytes.Clone(data)); err != nil || l == nil {
			return 0, err
		}
		return l.number, nil
	}
	if l == nil {
		return 0, ErrNotConnected
	}
	return l.number, l.send(opcode, data, time.Time{})
}

// Unacknowledged returns how many messages the peer has not acknowledged; 0 without [Resume].
func (s *Session) Unacknowledged() int {
	if s.replay == nil {
		return 0
	}
	s.replay.mu.Lock()
	defer s.replay.mu.Unlock()
	return len(s.replay.kept)
}

// giveUp reports that there is no further attempt after so many, and returns the error that says so.
func (s *Session) giveUp(attempt int, reason string, err error) error {
	s.report(Event{Type: GaveUp, Conn: s.opened(), Attempt: attempt, Text: reason, Err: err})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrGaveUp, reason, err)
	}
	return fmt.Errorf("%w: %s", ErrGaveUp, reason)
}

// open takes a connection that was found into use.
func (s *Session) open(f found) *link {
	// Under the lock, so that whoever hears of the connection can send over it.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections++
	l := newLink(s, f.ws, s.connections)
	s.report(Event{Type: Opened, Conn: l.number, Attempt: f.attempt, Dur: f.took, Local: f.ws.LocalAddr(), Remote: f.ws.RemoteAddr()})
	s.current = l
	return l
}

// serve looks after an open connection until it is over for the session. Where it was in doubt then,
// the search for another is returned, too.
func (s *Session) serve(ctx context.Context, l *link, tries int) (end ending, search *search) {
	read := make(chan ending, 1)
	s.background.Go(func() { read <- l.read() })
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	unanswered := make(chan error, len(l.guards))
	for _, g := range l.guards {
		s.background.Go(func() {
			if err := g.run(probing); err != nil {
				unanswered <- err
			}
		})
	}
	for {
		select {
		case end = <-read:
			s.disconnect()
			l.discard()
			if l.adaptive != nil {
				l.adaptive.ended(end)
			}
		case err := <-unanswered:
			end = s.abandon(ctx, l, err, read)
		case <-l.doubts():
			search = s.beside(ctx, l, search, s.triesAfter(l, tries))
			continue
		case found := <-search.result():
			if found.ws != nil && !l.adaptive.silent() {
				_ = found.ws.Close() // the old one is there again
				search = nil
				s.report(Event{Type: Trusted, Conn: l.number})
				continue
			}
			search.found <- found // for whoever goes on with it
			if found.ws == nil {
				// Nothing is left to be tried.
				end = s.abandon(ctx, l, l.adaptive.giveUp(l.adaptive.Limit), read)
				break
			}
			end = s.abandon(ctx, l, l.adaptive.replaced(found.sought), read)
		case <-ctx.Done():
			s.disconnect()
			end = l.shut(context.WithoutCancel(ctx), websocket.CloseNormalClosure, "", read)
			end.by = ByCaller
		}
		l.report(l.closedEvent(end))
		return end, search
	}
}

// abandon gives a connection up. The next one does not wait for it.
func (s *Session) abandon(ctx context.Context, l *link, why error, read <-chan ending) ending {
	s.disconnect()
	l.abandoned.Store(true)
	// 1011 is what Python's websockets sends then; browsers have no code for it.
	s.background.Go(func() { l.shut(ctx, websocket.CloseInternalServerErr, "keepalive timeout", read) })
	return ending{by: ByStrategy, code: websocket.CloseAbnormalClosure, err: why}
}

// beside seeks another connection while one is in doubt, and no longer.
func (s *Session) beside(ctx context.Context, l *link, search *search, tries int) *search {
	switch doubted := l.adaptive.doubted.Load(); {
	case doubted && search == nil:
		s.report(Event{Type: Doubted, Conn: l.number, Dur: l.adaptive.Patience})
		return s.seek(ctx, &ending{by: ByStrategy, code: websocket.CloseAbnormalClosure}, tries)
	case !doubted && search != nil:
		s.drop(search)
		s.report(Event{Type: Trusted, Conn: l.number})
		return nil
	}
	return search
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
