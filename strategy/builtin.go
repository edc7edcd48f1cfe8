package strategy

import (
	"slices"
	"strings"
	"time"
)

// Named is a strategy with the name that files and commands know it by.
type Named struct {
	Name string `json:"name"`
	Strategy
	// Version is the library that it is taken from, with its version; empty for a strategy of
	// wslab's own.
	Version string `json:"-"`
	// Sources say where that can be read.
	Sources []string `json:"-"`
	// Note says what the strategy does not tell of the library; may be empty.
	Note string `json:"-"`
}

// Builtin returns the strategies that come with the package: those that are made to be
// compared, in the order in which they are best explained, then those of libraries. The caller
// owns the result. A new strategy is added to one of the two lists and nowhere else.
func Builtin() []Named { return slices.Concat(teaching(), libraries()) }

// teaching are the strategies of wslab's own.
func teaching() []Named {
	return []Named{
		{Name: "none", Strategy: Strategy{
			Summary: "Neither keepalive nor reconnect: what most WebSocket libraries do unless told otherwise.",
		}},
		{Name: "ws-ping", Strategy: Strategy{
			Summary: "A WebSocket ping every 15 s, given up when its pong takes more than 10 s; no reconnect.",
			Keepalive: Keepalive{
				// Half of the 30 s after which a strict NAT forgets a connection. The timeout is
				// far above any round trip, so that a slow network is not taken for a dead one.
				Ping: &Ping{Interval: 15 * time.Second, Timeout: 10 * time.Second},
			},
		}},
		{Name: "heartbeat", Strategy: Strategy{
			Summary: "A JSON heartbeat every 20 s, given up when its answer takes more than 10 s; no reconnect.",
			Keepalive: Keepalive{
				// Under 30 s as above. For programs whose platform gives them no
				// ping frames to send, such as a browser's.
				Heartbeat: &Heartbeat{Interval: 20 * time.Second, Timeout: 10 * time.Second},
			},
		}},
		{Name: "slow-ping", Strategy: Strategy{
			Summary: "A WebSocket ping every 45 s: too slow for a NAT that forgets after 30 s, but it does notice; no reconnect.",
			Keepalive: Keepalive{
				// Over 30 s, under the 60 s of common proxies: right for the one,
				// too slow for the other.
				Ping: &Ping{Interval: 45 * time.Second, Timeout: 10 * time.Second},
			},
		}},
		{Name: "twitchy", Strategy: Strategy{
			Summary: "A ping every 5 s that must be answered within 2 s: takes a slow network for a dead one; reconnects up to 10 times.",
			Keepalive: Keepalive{
				// Enough on any line that is in order, too little behind a full queue.
				Ping: &Ping{Interval: 5 * time.Second, Timeout: 2 * time.Second},
			},
			// Many tries and no jitter, as impatient clients have them.
			Reconnect: &Reconnect{Base: time.Second, Max: 30 * time.Second, Factor: 2, Tries: 10},
		}},
		{Name: "tcp-keepalive", Strategy: Strategy{
			Summary: "The kernel's TCP keepalive, a probe after 15 s of silence: a NAT sees packets, a proxy keeps them to itself; no reconnect.",
			Keepalive: Keepalive{
				// Idle and interval are what Go uses for every connection. Four
				// unanswered probes are given up after 75 s, Go's nine would take 150 s.
				TCP: &TCPKeepalive{Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4},
			},
		}},
		{Name: "reconnect-only", Strategy: Strategy{
			Summary: "No keepalive; a connection that is seen to end is replaced, with backoff from 1 s, up to 5 times.",
			// No jitter: its waits of 1, 2, 4, 8 and 16 s are the textbook's.
			Reconnect: &Reconnect{Base: time.Second, Max: 30 * time.Second, Factor: 2, Tries: 5},
		}},
		{Name: "firewall-aware", Strategy: Strategy{
			Summary: "Ping every 30 s, JSON heartbeat every 25 s, reconnect with backoff from 1 s up to 5 times, always wss on port 443.",
			Keepalive: Keepalive{
				// The heartbeat is what holds a NAT of 30 s. The ping also tells
				// a dead connection from an application that does not answer.
				Ping:      &Ping{Interval: 30 * time.Second, Timeout: 10 * time.Second},
				Heartbeat: &Heartbeat{Interval: 25 * time.Second, Timeout: 10 * time.Second},
			},
			// Half of each wait is random, so that clients that were cut off
			// together do not come back together.
			Reconnect:     &Reconnect{Base: time.Second, Max: 30 * time.Second, Factor: 2, Tries: 5, Jitter: 0.5},
			ForceWSS:      true,
			StandardPorts: true,
		}},
		{Name: "adaptive", Strategy: Strategy{
			Summary:   "Pings after 25 s of silence and learns how much the path bears, asks at once when an answer is due; reconnects at once after a clean end, beside a connection in doubt, slower after a refusal; wss on port 443 before what the URL says.",
			Keepalive: Keepalive{Adaptive: &Adaptive{First: 25 * time.Second, Patience: 3 * time.Second, Heartbeat: true}},
			// A server that refuses is asked less and less often, each time at a time of one's own.
			Reconnect: &Reconnect{
				Base: 500 * time.Millisecond, Max: 30 * time.Second, Factor: 2, Tries: -1, Jitter: 0.5,
				Adaptive: &AdaptiveReconnect{Fast: 2 * time.Second, Stagger: time.Second, Beside: 3},
			},
			// An overloaded server takes its time. What nobody answers is not waited for alone.
			ConnectTimeout: 30 * time.Second,
			ForceWSS:       true,
			StandardPorts:  true,
		}},
	}
}

// ResumeSuffix behind the name of a strategy stands for the same one with [Resume].
const ResumeSuffix = "+resume"

// Find returns the built-in strategy of that name, which may have the ResumeSuffix.
func Find(name string) (s Strategy, ok bool) {
	base, resumes := strings.CutSuffix(name, ResumeSuffix)
	for _, n := range Builtin() {
		if n.Name == base {
			return n.Resuming(resumes), true
		}
	}
	return Strategy{}, false
}

// Resuming returns the strategy with [Resume], if it is to resume and does not do so already.
func (s Strategy) Resuming(resumes bool) Strategy {
	if resumes && s.Resume == nil {
		s.Resume = &Resume{}
	}
	return s
}
