package toxics

import (
	"fmt"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

// How max_lifetime ends a connection.
const (
	endFIN   = "fin"
	endReset = "reset"
)

type maxLifetime struct {
	Lifetime time.Duration `json:"lifetime" doc:"How long a connection may last, from when it was opened, whatever passes on it." min:"1ms"`
	End      string        `json:"end" doc:"Whether both ends get a FIN or a RST then." enum:"fin,reset"`
}

func (a *maxLifetime) Check() error {
	switch {
	case a.Lifetime <= 0:
		return fmt.Errorf("lifetime is %s, not above 0", a.Lifetime)
	case a.End != endFIN && a.End != endReset:
		return fmt.Errorf("end is %q, not fin or reset", a.End)
	}
	return nil
}

func (a *maxLifetime) toxic(s scale) toxiproxy.Toxic {
	return &maxLifetimeToxic{lifetime: max(s.wall(a.Lifetime), time.Millisecond), reset: a.End == endReset}
}

// maxLifetimeToxic ends a pair a time after it was opened, which no keepalive can help:
// Google Cloud's HTTP load balancer after its backend timeout of 30 s, AWS API Gateway after
// two hours. A pair that is older when the toxic comes ends at once.
type maxLifetimeToxic struct {
	toxiproxy.NoopToxic
	lifetime time.Duration
	reset    bool
}

func (t *maxLifetimeToxic) newState(h handle) pairState {
	s := &maxLifetimeState{handle: h}
	s.update(t)
	return s
}

// maxLifetimeState is the timer of one pair.
type maxLifetimeState struct {
	handle handle

	mu    sync.Mutex
	timer *time.Timer
}

func (s *maxLifetimeState) update(t toxiproxy.Toxic) {
	s.stop()
	limit := t.(*maxLifetimeToxic)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(limit.lifetime-time.Since(s.handle.pair.opened), func() {
		s.handle.fired()
		if limit.reset {
			s.handle.abort()
		} else {
			s.handle.close()
		}
	})
}

func (s *maxLifetimeState) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	return false
}
