package client

import (
	"context"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// standstill is a program that does not come back from what it does: one whose event loop is
// blocked, or whose handler of messages waits for something else. What has a thread of its
// own goes on, as the pings of gorilla/websocket, OkHttp or Java-WebSocket do; pongs are
// read by the same loop as messages, and wait. Its zero value does not stand still.
type standstill struct {
	mu sync.Mutex
	// over is closed when the program goes on; nil while it does not stand still.
	over chan struct{}
}

// begin stands still until end.
func (s *standstill) begin() (began bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return false
	}
	s.over = make(chan struct{})
	return true
}

// end goes on.
func (s *standstill) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		close(s.over)
		s.over = nil
	}
}

// wait waits while the program stands still. It reports false if ctx ended meanwhile.
func (s *standstill) wait(ctx context.Context) bool {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if over == nil {
		return true
	}
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}

// stall lets the session's program stand still for a wall time, or until the session ends. One
// that does so already is left alone.
func (s *session) stall(d time.Duration) {
	if !s.standstill.begin() {
		return
	}
	s.record(trace.Event{Type: trace.Stalled, Dur: d})
	go func() {
		sleeping := time.NewTimer(d)
		defer sleeping.Stop()
		select {
		case <-sleeping.C:
		case <-s.ended:
		}
		s.record(trace.Event{Type: trace.Unstalled})
		s.standstill.end()
	}()
}
