package server

import (
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
)

// How a connection can be half-open: one end is there, and the other is not.
const (
	// hung: the server's process stands still. Its kernel takes in and acknowledges what
	// comes, until its buffer is full; nothing is answered, no ping either.
	hung = "hung"
	// vanished: the server's machine is gone, as with its power or its cable. Nothing is
	// acknowledged, and nothing comes back, not even a RST.
	vanished = "vanished"
)

// halfOpens are the connections that are half-open.
type halfOpens struct {
	mu  sync.Mutex
	all []*connection
	// rules of the kernel, nil as long as nobody has vanished.
	rules *vanishing
}

// halfOpen makes the open connections of these sessions half-open, of all if there are
// none. New ones are served. It returns how many they are.
func (s *service) halfOpen(ids []string, how string) (int, error) {
	if how != hung && how != vanished {
		return 0, fmt.Errorf("half-open can be %s or %s, not %q", vanished, hung, how)
	}
	h := &s.half
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, c := range s.ledger.open(ids) {
		if c.halfOpen != "" {
			continue
		}
		flow := c.stream.flow()
		if how == vanished {
			if flow == nil {
				return n, fmt.Errorf("a connection that is none of TCP cannot vanish")
			}
			if h.rules == nil {
				rules, err := installVanishing()
				if err != nil {
					return n, err
				}
				h.rules = rules
			}
			if err := h.rules.add(*flow); err != nil {
				return n, err
			}
		} else {
			c.stream.hang(true)
		}
		c.halfOpen = how
		h.all = append(h.all, c)
		n++
		s.env.Record(trace.Event{Type: trace.HalfOpen, Session: c.session, Conn: c.number, Flow: flow, Detail: how})
	}
	return n, nil
}

// losePower lets the kernel forget the connections that have vanished, while nothing of it
// gets out: to the machine that comes back they are unknown, and what still arrives on them
// is answered with a RST.
func (s *service) losePower() {
	h := &s.half
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.all {
		if c.halfOpen == vanished {
			c.said.CompareAndSwap(nil, &farewell{at: time.Now(), code: websocket.CloseAbnormalClosure, by: byNode})
			c.stream.reset()
			c.close()
		}
	}
}

// revive lets connections that are half-open go on: what waits in the kernel is read, and
// packets pass again.
func (s *service) revive() error {
	h := &s.half
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if h.rules != nil {
		err = h.rules.remove()
		h.rules = nil
	}
	for _, c := range h.all {
		c.stream.hang(false)
		s.env.Record(trace.Event{Type: trace.Revived, Session: c.session, Conn: c.number, Flow: c.stream.flow(), Detail: c.halfOpen})
		c.halfOpen = ""
	}
	h.all = nil
	return err
}
