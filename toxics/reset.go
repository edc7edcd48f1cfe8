package toxics

import (
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

type reset struct {
	After time.Duration `json:"after" doc:"How long a connection lives once the toxic and the connection are both there; 0 resets it at once." min:"0s"`
}

func (a *reset) Check() error { return negative("after", a.After) }

func (a *reset) toxic(s scale) toxiproxy.Toxic { return &resetToxic{after: s.wall(a.After)} }

// resetToxic resets a pair after a time, whether or not data flow. Until then data
// pass as if it were not there.
type resetToxic struct {
	toxiproxy.NoopToxic
	after time.Duration
}

func (t *resetToxic) newState(h handle) pairState {
	s := &resetState{handle: h, since: time.Now()}
	s.update(t)
	return s
}

// resetState is the timer of one pair.
type resetState struct {
	handle handle
	since  time.Time

	mu    sync.Mutex
	timer *time.Timer
}

func (s *resetState) update(t toxiproxy.Toxic) {
	after := t.(*resetToxic).after - time.Since(s.since)
	s.stop()
	if after <= 0 {
		s.fire()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(after, s.fire)
}

func (s *resetState) fire() {
	s.handle.fired()
	s.handle.abort()
}

func (s *resetState) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	return false
}
