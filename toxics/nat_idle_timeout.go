package toxics

import (
	"fmt"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
)

// What nat_idle_timeout does with what comes for a connection that it has forgotten.
const (
	expiryDrop  = "drop"
	expiryReset = "reset"
)

type natIdleTimeout struct {
	Timeout  time.Duration `json:"timeout" doc:"Silence in both directions after which the connection is forgotten." min:"1ms"`
	OnExpiry string        `json:"on_expiry" doc:"What happens to what comes afterwards: it vanishes without an answer, or is answered with a RST to its sender while the other side learns nothing." enum:"drop,reset"`
}

func (a *natIdleTimeout) Check() error {
	switch {
	case a.Timeout <= 0:
		return fmt.Errorf("timeout is %s, not above 0", a.Timeout)
	case a.OnExpiry != expiryDrop && a.OnExpiry != expiryReset:
		return fmt.Errorf("on_expiry is %q, not drop or reset", a.OnExpiry)
	}
	return nil
}

func (a *natIdleTimeout) toxic(s scale) toxiproxy.Toxic {
	return &natIdleToxic{timeout: max(s.wall(a.Timeout), time.Millisecond), reset: a.OnExpiry == expiryReset}
}

// natIdleToxic imitates, on a stream, a NAT or load balancer that keeps one idle timer
// for both directions of a connection. After that much silence:
//
//   - drop (Linux conntrack with invalid packets dropped, AWS Network Firewall, Cloud
//     NAT): everything from then on is swallowed both ways, FIN and RST included, and
//     nobody is told;
//   - reset (AWS NLB, Azure NAT Gateway): whoever sends next, data or FIN, gets a
//     RST; the other side learns nothing until it sends itself.
//
// What differs from the kernel's own: only data count as activity, since TCP
// keepalive probes do not pass a node that ends TCP (as at an AWS ALB); and the node's
// kernel acknowledges what is swallowed, so that a sender sees no retransmissions.
type natIdleToxic struct {
	timeout time.Duration
	reset   bool
}

func (t *natIdleToxic) newState(h handle) pairState {
	s := &natIdleState{handle: h, last: time.Now()}
	s.update(t)
	return s
}

// Pipe passes data while the connection is remembered.
func (t *natIdleToxic) Pipe(stub *toxiproxy.ToxicStub) {
	seat := stub.State.(*seat)
	state := seat.state.(*natIdleState)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if state.expired(c != nil) {
				state.refuse(seat.direction)
				if c == nil { // the end of the stream is not passed on either
					<-stub.Interrupt
					return
				}
				continue
			}
			if c == nil {
				stub.Close()
				return
			}
			stub.Output <- c
		}
	}
}

// natIdleState is the mapping of one pair.
type natIdleState struct {
	handle handle

	mu      sync.Mutex
	toxic   *natIdleToxic
	last    time.Time // of activity, in either direction
	gone    bool
	silence *silence
}

// update takes new attributes. The silence so far counts.
func (s *natIdleState) update(t toxiproxy.Toxic) {
	s.stop()
	s.mu.Lock()
	s.toxic = t.(*natIdleToxic)
	gone, timeout := s.gone, s.toxic.timeout
	s.mu.Unlock()
	if gone {
		return
	}
	watch := watchSilence(timeout, s.silentFor, func() { s.expired(false) })
	s.mu.Lock()
	s.silence = watch
	s.mu.Unlock()
}

func (s *natIdleState) silentFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.last)
}

// expired says whether the mapping is gone. If it is not, and active is set, its
// timer begins anew.
func (s *natIdleState) expired(active bool) bool {
	s.mu.Lock()
	if !s.gone && time.Since(s.last) < s.toxic.timeout {
		if active {
			s.last = time.Now()
		}
		s.mu.Unlock()
		return false
	}
	first := !s.gone
	s.gone = true
	s.mu.Unlock()
	if first {
		s.handle.fired()
		s.handle.blackHole()
	}
	return true
}

// refuse answers what came for a mapping that is gone.
func (s *natIdleState) refuse(d stream.Direction) {
	s.mu.Lock()
	reset := s.toxic.reset
	s.mu.Unlock()
	if reset {
		s.handle.abortSource(d)
	}
}

// stop ends the timer. The toxic stays with a pair whose mapping is gone.
func (s *natIdleState) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silence != nil {
		s.silence.stop()
	}
	return s.gone
}
