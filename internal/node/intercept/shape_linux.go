package intercept

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// pace is how fast the two directions of a connection are: unlimited until set.
type pace struct{ limits atomic.Pointer[Limits] }

func (p *pace) set(l Limits) { p.limits.Store(&l) }

// Bounds of what a slow connection holds: chunks on their way, and bytes in each.
const (
	waitingChunks = 64
	shapedChunk   = 16 << 10
	// grains of a second in which a limited rate comes.
	grains = 20
)

// shaped is a connection that is read at a pace. As long as that is unlimited it reads
// through; then a goroutine reads ahead, so that a delay costs no bandwidth.
type shaped struct {
	net.Conn
	pace *pace

	// Of the one goroutine that reads.
	ahead chan chunk // nil while unlimited
	rest  []byte
	err   error
	free  time.Time // when the next byte may come

	once   sync.Once
	closed chan struct{}
}

// chunk is what was read ahead.
type chunk struct {
	data []byte
	err  error
	due  time.Time
}

func newShaped(c net.Conn, p *pace) *shaped {
	return &shaped{Conn: c, pace: p, closed: make(chan struct{})}
}

// NetConn returns the connection beneath, as tls.Conn does.
func (s *shaped) NetConn() net.Conn { return s.Conn }

// CloseWrite ends the half that is written.
func (s *shaped) CloseWrite() error {
	return s.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// Close ends the connection, and whoever waits.
func (s *shaped) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// Read reads. Only one goroutine may call it.
func (s *shaped) Read(b []byte) (int, error) {
	if s.ahead == nil {
		n, err := s.Conn.Read(b)
		limits := s.pace.limits.Load()
		if limits == nil {
			return n, err
		}
		s.ahead = make(chan chunk, waitingChunks)
		first := chunk{append([]byte(nil), b[:n]...), err, time.Now().Add(limits.Delay)}
		go s.readAhead(first, limits.Delay)
	}
	return s.readSlowly(b, s.pace.limits.Load().Rate)
}

// readAhead reads until the connection ends.
func (s *shaped) readAhead(c chunk, delay time.Duration) {
	for {
		select {
		case s.ahead <- c:
		case <-s.closed:
			return
		}
		if c.err != nil {
			return
		}
		buffer := make([]byte, shapedChunk)
		n, err := s.Conn.Read(buffer)
		c = chunk{buffer[:n:n], err, time.Now().Add(delay)}
	}
}

func (s *shaped) readSlowly(b []byte, rate float64) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		select {
		case c := <-s.ahead:
			s.rest, s.err = c.data, c.err
			if !s.wait(c.due) {
				return 0, net.ErrClosed
			}
		case <-s.closed:
			return 0, net.ErrClosed
		}
	}
	n := min(len(b), len(s.rest))
	if rate > 0 {
		n = min(n, max(1, int(rate/grains)))
		if now := time.Now(); s.free.Before(now) {
			s.free = now
		}
		s.free = s.free.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		if !s.wait(s.free) {
			return 0, net.ErrClosed
		}
	}
	copy(b, s.rest[:n])
	s.rest = s.rest[n:]
	return n, nil
}

// wait waits until then. It returns false when the connection was closed meanwhile.
func (s *shaped) wait(until time.Time) bool {
	d := time.Until(until)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closed:
		return false
	}
}
