package strategy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// search is the search for the next connection: tries, and the waits between them.
type search struct {
	session *Session
	begun   time.Time
	stop    context.CancelFunc
	// found gets the one result; whoever takes it and does not use it puts it back.
	found chan found

	// What follows belongs to the goroutine of run.

	// after is how the last connection ended, nil before the first one.
	after *ending
	// attempt counts attempts, tries those that were waited for.
	attempt, tries int
	// refused counts refusals in a row.
	refused int
	last    error
}

// found is what came of a search: a connection, or an error and no connection, or neither when
// the search was stopped.
type found struct {
	ws *websocket.Conn
	// attempt that succeeded, and how long it took; sought is how long the search did. conn is the number that
	// the connection was to have.
	attempt, conn int
	took, sought  time.Duration
	tries         int
	err           error
}

// seek begins a search. tries is how many were made since the last connection that lasted.
func (s *Session) seek(ctx context.Context, after *ending, tries int) *search {
	ctx, stop := context.WithCancel(ctx)
	p := &search{session: s, begun: time.Now(), stop: stop, found: make(chan found, 1), after: after, tries: tries}
	s.background.Go(func() {
		defer stop()
		f := p.run(ctx)
		f.tries, f.sought = p.tries, time.Since(p.begun)
		p.found <- f
	})
	return p
}

// drop ends a search without waiting for it.
func (s *Session) drop(p *search) {
	p.stop()
	s.background.Go(func() {
		if f := <-p.found; f.ws != nil {
			_ = f.ws.Close() // nobody needs it
		}
	})
}

// result is where the result comes; nil, which never has one, where there is no search.
func (p *search) result() <-chan found {
	if p == nil {
		return nil
	}
	return p.found
}

// run tries until there is a connection, ctx ends or the strategy gives up.
func (p *search) run(ctx context.Context) found {
	for retry := p.after != nil; ; retry = true {
		if retry {
			if reason := p.exhausted(); reason != "" {
				return found{err: p.session.giveUp(p.attempt, reason, p.last)}
			}
			if !p.wait(ctx) {
				return found{}
			}
		}
		f := p.try(ctx)
		if f.ws != nil || ctx.Err() != nil {
			return found{ws: f.ws, attempt: f.attempt, took: f.took} // an open connection still has its closing handshake
		}
		p.last = f.err
		if refuses(f.err) {
			p.refused++
		} else {
			p.refused = 0
		}
		if r := p.session.strategy.Reconnect; r != nil && contain(r.StopOnStatus, refusal(f.err)) {
			return found{err: p.session.giveUp(p.attempt, fmt.Sprintf("the handshake was refused with %d", refusal(f.err)), f.err)}
		}
	}
}

// exhausted says why there is no further try, or "".
func (p *search) exhausted() string {
	switch r := p.session.strategy.Reconnect; {
	case r == nil:
		return "the strategy does not reconnect"
	case r.Tries >= 0 && p.tries >= r.Tries:
		return fmt.Sprintf("%d tries failed", p.tries)
	}
	return ""
}

// wait waits before the next try. It reports false if ctx ended meanwhile.
func (p *search) wait(ctx context.Context) bool {
	p.tries++
	delay := p.delay()
	p.session.report(Event{Type: Waiting, Conn: p.session.opened(), Attempt: p.attempt + 1, Dur: delay})
	return sleep(ctx, delay)
}

// delay is how long the next try has to wait.
func (p *search) delay() time.Duration {
	a := p.adaptive()
	switch {
	case a == nil:
		return p.session.waits(p.tries)
	case p.tries == 1 && p.attempt == 0 && p.clean(a):
		return 0
	case p.refused > 0:
		return p.session.waits(p.refused)
	}
	return min(a.Fast, p.session.waits(p.tries))
}

// clean says whether the last connection ended in a way after which the first try does not wait.
func (p *search) clean(a *AdaptiveReconnect) bool {
	return p.after != nil && (p.after.by == ByStrategy || contain(a.AtOnce, p.after.code))
}

// try makes one attempt to connect, and others beside it if it takes long.
func (p *search) try(ctx context.Context) found {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := &trying{search: p, ctx: ctx, stops: make(map[int]context.CancelFunc), results: make(chan found)}
	beside, stagger := 1, time.Hour
	if a := p.adaptive(); a != nil {
		beside, stagger = a.Beside, a.Stagger
	}
	t.launch()
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	for {
		select {
		case f := <-t.results:
			dropped := t.ended(f)
			if f.ws == nil && len(t.stops) > 0 && ctx.Err() == nil && (dropped || timedOut(f.err)) {
				continue // another may still succeed
			}
			stop()
			t.rest()
			return f
		case <-timer.C:
			timer.Reset(2 * stagger)
			if len(t.stops) == beside && beside > 1 {
				t.drop()
			}
			if len(t.stops) < beside || beside > 1 {
				t.launch()
			}
		}
	}
}

// adaptive is how the waits depend on what happened, nil if they do not.
func (p *search) adaptive() *AdaptiveReconnect {
	if r := p.session.strategy.Reconnect; r != nil {
		return r.Adaptive
	}
	return nil
}

// trying is some attempts to connect at the same time.
type trying struct {
	*search
	ctx     context.Context
	results chan found
	// stops ends the attempts that are under way, by number.
	stops map[int]context.CancelFunc
	// dropped counts those that are about to end because they were dropped.
	dropped int
}

// launch begins an attempt.
func (t *trying) launch() {
	t.attempt++
	f := found{attempt: t.attempt, conn: t.session.opened() + 1}
	ctx, stop := context.WithCancel(t.ctx)
	t.stops[f.attempt] = stop
	start := time.Now()
	t.session.report(Event{Type: DialStart, Time: start, Conn: f.conn, Attempt: f.attempt})
	t.session.background.Go(func() {
		f.ws, f.err = t.session.connect(ctx)
		f.took = time.Since(start)
		t.results <- f
	})
}

// drop drops an attempt for a new one. The oldest stays: a server may take its time. What the network has
// lost is lost for the others as well, and the kernel waits longer and longer before it tries again.
func (t *trying) drop() {
	numbers := slices.Sorted(maps.Keys(t.stops))
	t.stops[numbers[1]]()
	delete(t.stops, numbers[1])
	t.dropped++
}

// ended notes the end of an attempt. It reports whether it was dropped before.
func (t *trying) ended(f found) (dropped bool) {
	stop, running := t.stops[f.attempt]
	if running {
		stop()
		delete(t.stops, f.attempt)
	} else {
		t.dropped--
	}
	if f.ws == nil {
		e := Event{Type: DialFailed, Conn: f.conn, Attempt: f.attempt, Dur: f.took, Err: f.err}
		if !running || t.ctx.Err() != nil && t.adaptive() != nil {
			e.Type = DialDropped
		}
		t.session.report(e)
	}
	return !running
}

// rest looks after attempts that are not needed any more.
func (t *trying) rest() {
	n := len(t.stops) + t.dropped
	for _, stop := range t.stops {
		stop()
	}
	if n == 0 {
		return
	}
	t.session.background.Go(func() {
		for range n {
			f := <-t.results
			if f.ws != nil {
				_ = f.ws.Close() // another was faster
			}
			t.session.report(Event{Type: DialDropped, Conn: f.conn, Attempt: f.attempt, Dur: f.took, Err: f.err})
		}
	})
}

// connect makes one attempt to connect.
func (s *Session) connect(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.strategy.ConnectTimeout)
	defer cancel()
	ws, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := setTCPKeepalive(ws.NetConn(), s.strategy.Keepalive.TCP); err != nil {
		_ = ws.Close() // the first error counts
		return nil, err
	}
	return ws, nil
}

// opened is how many connections were opened.
func (s *Session) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// refuses says whether somebody answered an attempt to connect, and said no.
func refuses(err error) bool {
	status := refusal(err)
	return status != 0 && status != http.StatusSwitchingProtocols || errors.Is(err, syscall.ECONNREFUSED)
}

// timedOut says whether nobody answered.
func timedOut(err error) bool {
	var late net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &late) && late.Timeout()
}
