package strategy

import (
	"time"
)

// Named is a strategy with the name that files and commands know it by.
type Named struct {
	Name string `json:"name"`
	Strategy
}

// Builtin returns the strategies that come with the package, in the order in
// which they are best explained. The caller owns the result. A new strategy is added here
// and nowhere else.
func Builtin() []Named {
	return []Named{
		{"none", Strategy{
			Summary: "Neither keepalive nor reconnect: what most WebSocket libraries do unless told otherwise.",
		}},
		{"ws-ping", Strategy{
			Summary: "A WebSocket ping every 15 s, given up when its pong takes more than 10 s; no reconnect.",
			Keepalive: Keepalive{
				// Half of the 30 s after which a strict NAT forgets a connection. The timeout is
				// far above any round trip, so that a slow network is not taken for a dead one.
				Ping: &Ping{Interval: 15 * time.Second, Timeout: 10 * time.Second},
			},
		}},
		{"heartbeat", Strategy{
			Summary: "A JSON heartbeat every 20 s, given up when its answer takes more than 10 s; no reconnect.",
			Keepalive: Keepalive{
				// Under 30 s as above. For programs whose platform gives them no
				// ping frames to send, such as a browser's.
				Heartbeat: &Heartbeat{Interval: 20 * time.Second, Timeout: 10 * time.Second},
			},
		}},
		{"slow-ping", Strategy{
			Summary: "A WebSocket ping every 45 s: too slow for a NAT that forgets after 30 s, but it does notice; no reconnect.",
			Keepalive: Keepalive{
				// Over 30 s, under the 60 s of common proxies: right for the one,
				// too slow for the other.
				Ping: &Ping{Interval: 45 * time.Second, Timeout: 10 * time.Second},
			},
		}},
		{"twitchy", Strategy{
			Summary: "A ping every 5 s that must be answered within 200 ms: takes a slow network for a dead one; reconnects up to 10 times.",
			Keepalive: Keepalive{
				// Enough across a town, too little across an ocean or a full queue.
				Ping: &Ping{Interval: 5 * time.Second, Timeout: 200 * time.Millisecond},
			},
			// Many tries and no jitter, as impatient clients have them.
			Reconnect: &Reconnect{Base: time.Second, Max: 30 * time.Second, Factor: 2, Tries: 10},
		}},
		{"tcp-keepalive", Strategy{
			Summary: "The kernel's TCP keepalive, a probe after 15 s of silence: a NAT sees packets, a proxy keeps them to itself; no reconnect.",
			Keepalive: Keepalive{
				// Idle and interval are what Go uses for every connection. Four
				// unanswered probes are given up after 75 s, Go's nine would take 150 s.
				TCP: &TCPKeepalive{Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4},
			},
		}},
		{"reconnect-only", Strategy{
			Summary: "No keepalive; a connection that is seen to end is replaced, with backoff from 1 s, up to 5 times.",
			// No jitter: its waits of 1, 2, 4, 8 and 16 s are the textbook's.
			Reconnect: &Reconnect{Base: time.Second, Max: 30 * time.Second, Factor: 2, Tries: 5},
		}},
		{"firewall-aware", Strategy{
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
	}
}

// Find returns the built-in strategy of that name.
func Find(name string) (s Strategy, ok bool) {
	for _, n := range Builtin() {
		if n.Name == name {
			return n.Strategy, true
		}
	}
	return Strategy{}, false
}
