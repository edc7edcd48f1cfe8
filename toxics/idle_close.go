package toxics

import (
	"fmt"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

type idleClose struct {
	Timeout time.Duration `json:"timeout" doc:"Silence in both directions after which the connection is closed." min:"1ms"`
}

func (a *idleClose) Check() error {
	if a.Timeout <= 0 {
		return fmt.Errorf("timeout is %s, not above 0", a.Timeout)
	}
	return nil
}

func (a *idleClose) toxic(s scale) toxiproxy.Toxic {
	return &idleCloseToxic{timeout: max(s.wall(a.Timeout), time.Millisecond)}
}

// idleCloseToxic closes a pair after silence in both directions, with FIN to both ends
// as a proxy does (nginx's proxy_read_timeout after an upgrade, HAProxy's timeout
// tunnel). The silence is that of the toxic's place in the chain: what an
// earlier toxic delays counts when it gets here.
type idleCloseToxic struct{ timeout time.Duration }

func (t *idleCloseToxic) newState(h handle) pairState {
	s := &idleCloseState{handle: h, last: time.Now()}
	s.update(t)
	return s
}

// Pipe passes data and notes that they came.
func (t *idleCloseToxic) Pipe(stub *toxiproxy.ToxicStub) {
	state := stub.State.(*seat).state.(*idleCloseState)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			state.touch()
			stub.Output <- c
		}
	}
}

// idleCloseState is the timer of one pair.
type idleCloseState struct {
	handle handle

	mu      sync.Mutex
	last    time.Time
	silence *silence
}

func (s *idleCloseState) touch() {
	s.mu.Lock()
	s.last = time.Now()
	s.mu.Unlock()
}

func (s *idleCloseState) silentFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.last)
}

// update takes new attributes. The silence so far counts.
func (s *idleCloseState) update(t toxiproxy.Toxic) {
	s.stop()
	watch := watchSilence(t.(*idleCloseToxic).timeout, s.silentFor, func() {
		s.handle.fired()
		s.handle.close()
	})
	s.mu.Lock()
	s.silence = watch
	s.mu.Unlock()
}

func (s *idleCloseState) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silence != nil {
		s.silence.stop()
	}
	return false
}
