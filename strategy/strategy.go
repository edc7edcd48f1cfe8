// Package strategy keeps a WebSocket connection alive and gets it back: keepalive
// and reconnect around a connection of github.com/gorilla/websocket.
//
// A [Strategy] is data: it combines how to keep a connection alive with how to
// get a new one, two choices that have nothing to do with each other. [New] puts
// one to work around a dial function. [Builtin] lists the strategies that come
// with the package.
package strategy

import (
	"time"
)

// Strategy says how a client keeps its connection alive and gets it back. The
// zero Strategy does neither. All durations are real time; see [Strategy.Scale].
type Strategy struct {
	// Summary is one sentence for people.
	Summary string `json:"summary,omitempty" doc:"One sentence about the strategy."`
	// Keepalive may combine several means; without any the client waits for
	// its TCP connection to fail.
	Keepalive Keepalive `json:"keepalive,omitzero" doc:"How the connection is kept alive and its loss noticed; several means may be combined."`
	// Reconnect is nil for a client that stays away once its connection is lost.
	Reconnect *Reconnect `json:"reconnect,omitempty" doc:"How a lost connection is replaced; without it the client stays away."`
	// ConnectTimeout bounds one attempt to connect, all handshakes included. The default is 10 s.
	ConnectTimeout time.Duration `json:"connect_timeout,omitempty" doc:"How long one attempt to connect may take, all handshakes included; default 10s." min:"1ms" max:"24h"`
	// ForceWSS turns ws:// into wss://, see [Strategy.URL].
	ForceWSS bool `json:"force_wss,omitempty" doc:"Use wss:// where the URL says ws://."`
	// StandardPorts drops a port from the URL, see [Strategy.URL].
	StandardPorts bool `json:"standard_ports,omitempty" doc:"Use port 443 for wss:// and 80 for ws://, whatever port the URL says."`
}

// Keepalive is the means by which a client keeps its connection alive. They are
// independent; each may be nil.
type Keepalive struct {
	Ping      *Ping         `json:"ping,omitempty" doc:"WebSocket ping frames, answered by the peer's WebSocket library."`
	Heartbeat *Heartbeat    `json:"heartbeat,omitempty" doc:"Messages of the application with a timestamp, answered by the peer's application."`
	TCP       *TCPKeepalive `json:"tcp,omitempty" doc:"Keepalive of the kernel's TCP; reaches as far as the TCP connection, which a proxy ends."`
}

// Ping is keepalive by ping frames (RFC 6455, section 5.5.2). Only the pong with the
// ping's own payload is an answer: other traffic is no substitute.
type Ping struct {
	// Interval from one ping to the next, the first one an interval after the
	// connection opened. The default is 30 s.
	Interval time.Duration `json:"interval,omitempty" doc:"From one ping to the next; default 30s." min:"1ms" max:"24h"`
	// Timeout after which a connection without a pong is given up. The default is 10 s.
	Timeout time.Duration `json:"timeout,omitempty" doc:"How long the pong may take before the connection is given up; default 10s." min:"1ms" max:"24h"`
}

// Heartbeat is keepalive by text messages {"type":"heartbeat","ts":T}, T being the
// time in RFC 3339 with nanoseconds. The answer is the same object sent back. Unlike
// a ping it shows that the peer's application works, and passes anything that
// passes messages.
type Heartbeat struct {
	// Interval from one heartbeat to the next, the first one an interval after
	// the connection opened. The default is 25 s.
	Interval time.Duration `json:"interval,omitempty" doc:"From one heartbeat to the next; default 25s." min:"1ms" max:"24h"`
	// Timeout after which a connection without an answer is given up. The default is 10 s.
	Timeout time.Duration `json:"timeout,omitempty" doc:"How long the answer may take before the connection is given up; default 10s." min:"1ms" max:"24h"`
}

// TCPKeepalive is the kernel's keepalive (tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL,
// TCP_KEEPCNT), in whole seconds. It does not run while data is unacknowledged:
// then TCP's retransmission timer decides. It has no effect on a connection that is not TCP.
type TCPKeepalive struct {
	// Idle time before the first probe. The default is 15 s.
	Idle time.Duration `json:"idle,omitempty" doc:"Silence before the first probe, in whole seconds; default 15s." min:"1s" max:"9h" clock:"kernel"`
	// Interval between probes that are not answered. The default is 15 s.
	Interval time.Duration `json:"interval,omitempty" doc:"From one unanswered probe to the next, in whole seconds; default 15s." min:"1s" max:"9h" clock:"kernel"`
	// Count of unanswered probes after which the kernel gives up. The default is 4.
	Count int `json:"count,omitempty" doc:"Unanswered probes after which the connection is given up; default 4." min:"1" max:"127"`
}

// Reconnect is truncated exponential backoff (RFC 6455, section 7.2.3): before
// try n the client waits Base*Factor^(n-1), at most Max, of which the share Jitter is random.
type Reconnect struct {
	// Base is the wait before the first try. The default is 1 s.
	Base time.Duration `json:"base,omitempty" doc:"Wait before the first try; default 1s." min:"1ms" max:"24h"`
	// Max bounds the wait. The default is 30 s, or Base if that is longer.
	Max time.Duration `json:"max,omitempty" doc:"Longest wait between tries; default 30s." min:"1ms" max:"24h"`
	// Factor from one wait to the next, at least 1. The default is 2.
	Factor float64 `json:"factor,omitempty" doc:"Each wait is this many times the one before; default 2." min:"1" max:"100"`
	// Tries in a row before the client gives up; -1 never does. The default is 5.
	Tries int `json:"tries,omitempty" doc:"Tries in a row before the client gives up, -1 for no limit; default 5." min:"-1" max:"1000000"`
	// Jitter is the random share of each wait, 0 to 1: 0 none, 0.5 "equal
	// jitter", 1 "full jitter" in the words of the AWS Architecture Blog.
	Jitter float64 `json:"jitter,omitempty" doc:"Random share of each wait: 0 none, 1 all of it; default 0." min:"0" max:"1"`
	// ResetAfter is how long a connection has to last for the count of tries to
	// start anew. The default is 5 s, as in reconnecting-websocket (minUptime):
	// a server that accepts and closes at once must not be asked forever.
	ResetAfter time.Duration `json:"reset_after,omitempty" doc:"How long a new connection has to last before the tries are counted anew; default 5s." min:"1ms" max:"24h"`
}

// WithDefaults returns the strategy with every value that was left zero replaced by
// its default. Nothing is shared with s.
func (s Strategy) WithDefaults() Strategy {
	fill(&s.ConnectTimeout, 10*time.Second)
	if s.Keepalive.Ping != nil {
		p := *s.Keepalive.Ping
		fill(&p.Interval, 30*time.Second)
		fill(&p.Timeout, 10*time.Second)
		s.Keepalive.Ping = &p
	}
	if s.Keepalive.Heartbeat != nil {
		h := *s.Keepalive.Heartbeat
		fill(&h.Interval, 25*time.Second)
		fill(&h.Timeout, 10*time.Second)
		s.Keepalive.Heartbeat = &h
	}
	if s.Keepalive.TCP != nil {
		t := *s.Keepalive.TCP
		fill(&t.Idle, 15*time.Second)
		fill(&t.Interval, 15*time.Second)
		fill(&t.Count, 4)
		s.Keepalive.TCP = &t
	}
	if s.Reconnect != nil {
		r := *s.Reconnect
		fill(&r.Base, time.Second)
		fill(&r.Max, max(30*time.Second, r.Base))
		fill(&r.Factor, 2)
		fill(&r.Tries, 5)
		fill(&r.ResetAfter, 5*time.Second)
		s.Reconnect = &r
	}
	return s
}

// fill sets what was left zero.
func fill[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Scale returns the strategy with its defaults filled in and every duration divided
// by speed, which is greater than 0. The kernel's keepalive counts in seconds: its
// durations become whole seconds, at least 1.
func (s Strategy) Scale(speed float64) Strategy {
	s = s.WithDefaults()
	divide := func(all ...*time.Duration) {
		for _, d := range all {
			*d = max(1, time.Duration(float64(*d)/speed))
		}
	}
	divide(&s.ConnectTimeout)
	if p := s.Keepalive.Ping; p != nil {
		divide(&p.Interval, &p.Timeout)
	}
	if h := s.Keepalive.Heartbeat; h != nil {
		divide(&h.Interval, &h.Timeout)
	}
	if t := s.Keepalive.TCP; t != nil {
		divide(&t.Idle, &t.Interval)
		t.Idle = max(time.Second, t.Idle.Round(time.Second))
		t.Interval = max(time.Second, t.Interval.Round(time.Second))
	}
	if r := s.Reconnect; r != nil {
		divide(&r.Base, &r.Max, &r.ResetAfter)
	}
	return s
}
