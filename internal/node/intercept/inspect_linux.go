package intercept

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// Decision is what becomes of a connection.
type Decision struct {
	Verdict Verdict
	// Rule says why.
	Rule string
	// Limits of a connection that is slowed.
	Limits Limits
}

// Verdict on a connection.
type Verdict int

// Verdicts.
const (
	// Undecided goes on watching.
	Undecided Verdict = iota
	// Pass lets everything through from now on.
	Pass
	// Reset sends a RST to both ends.
	Reset
	// Drop swallows what the client sends from now on, and its end; what the server
	// sends goes on to the client.
	Drop
	// BlackHole swallows every packet of the connection from now on.
	BlackHole
	// Slow lets everything through within limits.
	Slow
)

// String is the verdict as events have it.
func (v Verdict) String() string {
	return [...]string{"undecided", "pass", "reset", "drop", "black-hole", "slow"}[v]
}

// Inspector looks at what a client sends. One is made for each connection, and it is
// not called by several goroutines at a time.
type Inspector interface {
	// Inspect is given what the client has sent and was not let go yet, each time there
	// is more of it. It returns how much of that may go, which is not shown again; the
	// rest is held back. Any verdict but Undecided is the last, and is about the rest.
	Inspect(held []byte) (n int, d Decision)
}

var errStopped = errors.New("stopped by a rule of the firewall")

// watch puts an inspector before the relay, if there is one for the connection.
func (i *Interceptor) watch(p *Pair, whole bool) (client, server net.Conn) {
	if i.opts.Look == nil {
		return p.client, p.server
	}
	look := i.opts.Look(p, whole)
	if look == nil {
		return p.client, p.server
	}
	pace := &pace{}
	w := &watched{
		Conn: p.client, inspector: look, over: make(chan struct{}),
		act: func(d Decision) error { return i.act(p, d, pace) },
	}
	if !i.opts.Slows {
		return w, p.server
	}
	return newShaped(w, pace), newShaped(p.server, pace)
}

// act carries out a decision, and returns what the relay is to take for the end of a
// connection that it stops at once.
func (i *Interceptor) act(p *Pair, d Decision, pace *pace) error {
	if d.Verdict == BlackHole {
		if err := i.rules.blackHole(p.Inner(), p.Outer()); err != nil {
			return err
		}
	}
	if d.Verdict == Slow {
		pace.set(d.Limits)
	}
	i.env.Record(trace.Event{Type: trace.Inspected, Flow: &p.Flow, Next: &p.Next, By: d.Verdict.String(), Detail: d.Rule})
	if d.Verdict == Reset || d.Verdict == BlackHole {
		// The relay resets both ends of a pair of which one has died. The RSTs of a
		// connection that is a black hole by now get nowhere either.
		return errStopped
	}
	return nil
}

// watched is a client's connection whose bytes are looked at first.
type watched struct {
	net.Conn            // and not a *net.TCPConn, whose WriteTo would go round Read
	inspector Inspector // nil once decided
	act       func(Decision) error

	held      []byte // back, as the inspector wants it
	free      []byte // to go
	err       error  // that comes behind what is free
	swallowed bool   // from now on

	once sync.Once
	over chan struct{} // the stream towards the client has ended, or the connection
}

// NetConn returns the connection beneath, as tls.Conn does.
func (w *watched) NetConn() net.Conn { return w.Conn }

// CloseWrite ends the half towards the client.
func (w *watched) CloseWrite() error {
	w.once.Do(func() { close(w.over) })
	return w.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// Close ends the connection.
func (w *watched) Close() error {
	w.once.Do(func() { close(w.over) })
	return w.Conn.Close()
}

// Read reads what the inspector has let go. Only one goroutine may call it.
func (w *watched) Read(b []byte) (int, error) {
	for {
		switch {
		case len(w.free) > 0:
			n := copy(b, w.free)
			w.free = w.free[n:]
			return n, nil
		case w.err != nil:
			return 0, w.err
		case w.swallowed:
			w.err = w.swallow()
		case w.inspector == nil:
			return w.Conn.Read(b)
		default:
			w.look()
		}
	}
}

// look reads once and asks the inspector.
func (w *watched) look() {
	chunk := make([]byte, 4<<10)
	n, err := w.Conn.Read(chunk)
	w.held = append(w.held, chunk[:n]...)
	if err != nil {
		w.inspector, w.free, w.held, w.err = nil, w.held, nil, err // what was incomplete stays so
		return
	}
	n, d := w.inspector.Inspect(w.held)
	w.free, w.held = w.held[:n:n], w.held[n:]
	if d.Verdict == Undecided {
		return
	}
	w.inspector = nil
	switch d.Verdict {
	case Pass:
		w.free, w.held = append(w.free, w.held...), nil
	case Slow:
		w.free, w.held = append(w.free, w.held...), nil
		w.err = w.act(d)
	case Drop:
		w.held, w.swallowed = nil, true
		w.err = w.act(d)
	case BlackHole:
		w.free, w.held = nil, nil
		w.err = w.act(d)
	default:
		w.held = nil
		w.err = w.act(d)
	}
}

// swallow takes in what the client sends, for good. The client's FIN stands behind what
// never arrives, so the server does not get it either: the end is told when the other
// direction has ended. A RST passes.
func (w *watched) swallow() error {
	for chunk := make([]byte, 4<<10); ; {
		_, err := w.Conn.Read(chunk)
		if errors.Is(err, io.EOF) {
			<-w.over
		}
		if err != nil {
			return err
		}
	}
}

// Limits of a connection that is slowed, in wall time.
type Limits struct {
	// Delay that each byte gets, in both directions.
	Delay time.Duration
	// Rate in bytes a second, in each direction; 0 is no limit.
	Rate float64
}
