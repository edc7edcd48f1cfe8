package strategy

import (
	"slices"
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
	// Resume is nil for a client whose messages are lost with their connection.
	Resume *Resume `json:"resume,omitempty" doc:"Sends what the other end has not acknowledged again over the next connection; without it that is lost."`
	// ConnectTimeout bounds one attempt to connect, all handshakes included. The default is 10 s.
	ConnectTimeout time.Duration `json:"connect_timeout,omitempty" doc:"How long one attempt to connect may take, all handshakes included; default 10s." min:"1ms" max:"24h"`
	// ForceWSS turns ws:// into wss://, see [Strategy.URL].
	ForceWSS bool `json:"force_wss,omitempty" doc:"Use wss:// where the URL says ws://."`
	// StandardPorts drops a port from the URL, see [Strategy.URL].
	StandardPorts bool `json:"standard_ports,omitempty" doc:"Use port 443 for wss:// and 80 for ws://, whatever port the URL says."`
}

// Keepalive is the means by which a client, and its server, keep a connection alive. They
// are independent; each may be nil.
type Keepalive struct {
	Ping      *Ping         `json:"ping,omitempty" doc:"WebSocket ping frames, answered by the peer's WebSocket library."`
	Heartbeat *Heartbeat    `json:"heartbeat,omitempty" doc:"Messages of the application with a timestamp, answered by the peer's application."`
	TCP       *TCPKeepalive `json:"tcp,omitempty" doc:"Keepalive of the kernel's TCP; reaches as far as the TCP connection, which a proxy ends."`
	Server    *Server       `json:"server,omitempty" doc:"What the server does on the connections of such clients; a lab's server does it, of any other it is assumed."`
	Watch     *Watch        `json:"watch,omitempty" doc:"Gives the connection up when the server is silent for too long; sends nothing."`
	Adaptive  *Adaptive     `json:"adaptive,omitempty" doc:"Pings that find out by themselves how long the path bears silence; instead of the others."`
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
	// OneWay heartbeats are not answered, and nobody waits for an answer.
	OneWay bool `json:"one_way,omitempty" doc:"Whether heartbeats are sent without waiting for an answer; the timeout has then no meaning."`
}

// Server is what the server of such clients does on their connections. The package
// cannot make a server do it; a server that it is told to (that of a lab) sends ping frames, or
// text messages {"type":"beat","ts":T} that the client answers with {"type":"beat-ack","ts":T}.
type Server struct {
	// Means is MeansPing or MeansHeartbeat. The default is MeansPing.
	Means string `json:"means,omitempty" doc:"What the server sends: ping frames, or messages of the application (heartbeat); default ping." enum:"ping,heartbeat"`
	// Interval from one to the next; 0 sends none.
	Interval time.Duration `json:"interval,omitempty" doc:"From one to the next; without it the server sends none." min:"1ms" max:"24h"`
	// Timeout after which the server gives up a connection that did not answer; 0 never does.
	Timeout time.Duration `json:"timeout,omitempty" doc:"How long the answer may take before the server gives the connection up; without it it waits forever." min:"1ms" max:"24h"`
	// Silence after which the server gives up a client that sends nothing; 0 never does.
	Silence time.Duration `json:"silence,omitempty" doc:"How long the client may send nothing before the server gives the connection up; without it forever." min:"1ms" max:"24h"`
}

// Watch gives a connection up that has been silent for too long. It sends nothing: it is for
// clients whose server is known to speak regularly.
type Watch struct {
	// Timeout is the longest silence. The default is 30 s.
	Timeout time.Duration `json:"timeout,omitempty" doc:"The longest silence before the connection is given up; default 30s." min:"1ms" max:"24h"`
	// Every is how often the client looks; 0 looks when the timeout is over.
	Every time.Duration `json:"every,omitempty" doc:"How often the client looks how long the silence is; without it, just when the timeout is over." min:"1ms" max:"24h"`
	// Jitter is the random share of Every, 0 to 1.
	Jitter float64 `json:"jitter,omitempty" doc:"Random share of the time from one look to the next; default 0." min:"0" max:"1"`
	// Heed says what breaks the silence: HeedAny or HeedKeepalive. The default is HeedAny.
	Heed string `json:"heed,omitempty" doc:"What breaks the silence: any frame of the server, or only its keepalive; default any." enum:"any,keepalive"`
}

// Adaptive is keepalive that finds out by itself how long the path bears silence, and stays
// under that. It sends a ping when nothing was heard for as long as it has learned, and sooner
// when the program has sent something and nothing came back. Any frame is an answer, and none is
// missed while the program itself does not read. It looks at the clock and at the machine's
// addresses as well: a machine that slept asks at once, one that has lost the address
// of the connection does not ask at all.
//
// A connection that does not answer is not given up but doubted, if the strategy reconnects: another is
// opened beside it, and the first to be heard of is kept. What was learned is kept in [Options.Memory].
type Adaptive struct {
	// First is the quiet time as long as nothing was learned about the path. The default is 25 s.
	First time.Duration `json:"first,omitempty" doc:"The quiet time before a ping, as long as nothing was learned; default 25s." min:"1ms" max:"24h"`
	// Least and Most are the bounds of the quiet time. The defaults are 5 s and 15 min, or First if that is beyond.
	Least time.Duration `json:"least,omitempty" doc:"The shortest quiet time that is learned; default 5s." min:"1ms" max:"24h"`
	Most  time.Duration `json:"most,omitempty" doc:"The longest quiet time that is tried; default 15m." min:"1ms" max:"24h"`
	// Confirm is how many times in a row the path has to bear a quiet time before one that is
	// longer by a quarter is tried. The default is 3.
	Confirm int `json:"confirm,omitempty" doc:"How many times a quiet time has to be borne before one that is longer by a quarter is tried; default 3." min:"1" max:"1000"`
	// Patience is how long the answer to a ping may take at least before the connection is
	// doubted; where answers are slow it is longer, up to ten times as long. After half of it without an
	// answer to what the program has sent a ping is sent. The default is 3 s: a link that is down for two
	// seconds, and what TCP then takes to try again, is outlived.
	Patience time.Duration `json:"patience,omitempty" doc:"How long an answer may take before another connection is opened beside; longer where answers are slow; default 3s." min:"1ms" max:"24h"`
	// Limit is how long the answer may take before the connection is given up even if no other
	// could be opened, or the strategy has no reconnect. The default is 60 s.
	Limit time.Duration `json:"limit,omitempty" doc:"How long an answer may take before the connection is given up although there is no other; default 60s." min:"1ms" max:"24h"`
	// Heartbeat allows messages as [Heartbeat] sends them, on paths that have ended a connection
	// for lack of data although pings passed. The peer's application has to answer them.
	Heartbeat bool `json:"heartbeat,omitempty" doc:"Whether messages of the application may be sent where pings turn out not to count; the peer has to answer them."`
}

// What a [Watch] heeds.
const (
	HeedAny       = "any"
	HeedKeepalive = "keepalive"
)

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

// Reconnect says when a client tries again: after the waits of First, then by
// truncated exponential backoff (RFC 6455, section 7.2.3), where wait n is Base*Factor^(n-1), at
// most Max, changed at random as Jitter and Spread say, and Add longer.
type Reconnect struct {
	// First are the waits before the first tries. The exponential backoff comes after them.
	First []time.Duration `json:"first,omitempty" doc:"Waits before the first tries, such as [0s, 2s, 10s]; the backoff begins after them." min:"0s" max:"24h"`
	// FirstJitter is the random share of each of First, 0 to 1.
	FirstJitter float64 `json:"first_jitter,omitempty" doc:"Random share of each of the first waits: 0 none, 1 all of it; default 0." min:"0" max:"1"`
	// Base is the first wait of the backoff. The default is 1 s.
	Base time.Duration `json:"base,omitempty" doc:"First wait of the backoff; default 1s." min:"1ms" max:"24h"`
	// Max bounds the wait. The default is 30 s, or Base if that is longer.
	Max time.Duration `json:"max,omitempty" doc:"Longest wait between tries; default 30s." min:"1ms" max:"24h"`
	// Factor from one wait to the next, at least 1. The default is 2.
	Factor float64 `json:"factor,omitempty" doc:"Each wait is this many times the one before; default 2." min:"1" max:"100"`
	// Tries in a row before the client gives up; -1 never does. The default is 5.
	Tries int `json:"tries,omitempty" doc:"Tries in a row before the client gives up, -1 for no limit; default 5." min:"-1" max:"1000000"`
	// Jitter is the random share of each wait; see Spread. With SpreadBelow 0.5 is "equal
	// jitter" and 1 "full jitter" in the words of the AWS Architecture Blog.
	Jitter float64 `json:"jitter,omitempty" doc:"Random share of each wait: 0 none, 1 all of it; with spread once or above it may be more; default 0." min:"0" max:"100"`
	// Spread is how the wait is changed at random. The default is SpreadBelow.
	Spread string `json:"spread,omitempty" doc:"Where the random share lies: below the wait, above it, around it (and the wait is cut to max afterwards), once (the base is drawn above it for the whole session), or decorrelated (each wait is between base and three times the one before); default below." enum:"below,above,around,once,decorrelated"`
	// Add is added to each wait of the backoff, and a random part of AddJitter as well.
	Add       time.Duration `json:"add,omitempty" doc:"Added to each wait of the backoff; with a spread below, the sum is at most max." min:"0s" max:"24h"`
	AddJitter time.Duration `json:"add_jitter,omitempty" doc:"A random part of it is added to each wait of the backoff." min:"0s" max:"24h"`
	// ResetAfter is how long a connection has to last for the count of tries to
	// start anew. The default is 5 s, as in reconnecting-websocket (minUptime):
	// a server that accepts and closes at once must not be asked forever.
	ResetAfter time.Duration `json:"reset_after,omitempty" doc:"How long a new connection has to last before the tries are counted anew; default 5s." min:"1ms" max:"24h"`
	// StopOn are close codes after which the client stays away; without any those are meant
	// that [Retryable] tells. CodesNone means none.
	StopOn []Codes `json:"stop_on,omitempty" doc:"Close codes after which the client stays away: codes, ranges such as 3500-3999, or none; without it 1000 and those that say that the client itself is at fault."`
	// Adaptive lets the waits depend on what happened.
	Adaptive *AdaptiveReconnect `json:"adaptive,omitempty" doc:"Lets the waits depend on what happened: none after a clean end, short ones while the network fails, the backoff after a refusal."`
	// StopOnStatus are HTTP statuses of a refused handshake after which the client stays away.
	StopOnStatus []Codes `json:"stop_on_status,omitempty" doc:"HTTP statuses of a refused handshake after which the client stays away; default none."`
}

// AdaptiveReconnect lets the waits of [Reconnect] depend on what happened. There is none before the first
// try after a clean end, after a connection that its keepalive has given up, or after a change of
// address. After a refusal, by a RST or an HTTP status, they are those of Reconnect; while
// attempts fail for other reasons they are at most Fast. An attempt that takes long gets others beside it: the
// first that succeeds is taken.
type AdaptiveReconnect struct {
	// AtOnce are the close codes of a clean end; 1006 is one without a close frame. Without
	// any they are 1001, 1006 and 1012. CodesNone means none.
	AtOnce []Codes `json:"at_once,omitempty" doc:"Close codes after which the first try does not wait; default 1001, 1006 and 1012."`
	// Fast is the longest wait while nobody refuses. The default is 2 s.
	Fast time.Duration `json:"fast,omitempty" doc:"The longest wait while attempts fail without being refused; default 2s." min:"1ms" max:"24h"`
	// Stagger is how long an attempt has before another is made beside it, and twice that from then
	// on. The default is 1 s.
	Stagger time.Duration `json:"stagger,omitempty" doc:"How long an attempt has before another is made beside it, and twice that from then on; default 1s." min:"1ms" max:"24h"`
	// Beside is the most attempts at the same time; 1 makes one after the other. Where there are so many, a
	// new one takes the place of the second oldest. The default is 3.
	Beside int `json:"beside,omitempty" doc:"The most attempts at the same time; then a new one takes the place of the second oldest; default 3." min:"1" max:"100"`
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
	if s.Keepalive.Server != nil {
		v := *s.Keepalive.Server
		fill(&v.Means, MeansPing)
		s.Keepalive.Server = &v
	}
	if s.Keepalive.Watch != nil {
		w := *s.Keepalive.Watch
		fill(&w.Timeout, 30*time.Second)
		fill(&w.Heed, HeedAny)
		s.Keepalive.Watch = &w
	}
	if s.Keepalive.Adaptive != nil {
		a := *s.Keepalive.Adaptive
		fill(&a.First, 25*time.Second)
		fill(&a.Least, min(5*time.Second, a.First))
		fill(&a.Most, max(15*time.Minute, a.First))
		fill(&a.Confirm, 3)
		fill(&a.Patience, 3*time.Second)
		fill(&a.Limit, max(time.Minute, a.Patience))
		s.Keepalive.Adaptive = &a
	}
	if s.Resume != nil {
		r := s.Resume.withDefaults()
		s.Resume = &r
	}
	if s.Reconnect != nil {
		r := *s.Reconnect
		fill(&r.Base, time.Second)
		fill(&r.Max, max(30*time.Second, r.Base))
		fill(&r.Factor, 2)
		fill(&r.Tries, 5)
		fill(&r.ResetAfter, 5*time.Second)
		fill(&r.Spread, SpreadBelow)
		r.First, r.StopOn, r.StopOnStatus = slices.Clone(r.First), slices.Clone(r.StopOn), slices.Clone(r.StopOnStatus)
		if r.Adaptive != nil {
			a := *r.Adaptive
			fill(&a.Fast, 2*time.Second)
			fill(&a.Stagger, time.Second)
			fill(&a.Beside, 3)
			if a.AtOnce = slices.Clone(a.AtOnce); len(a.AtOnce) == 0 {
				a.AtOnce = []Codes{"1001", "1006", "1012"}
			}
			r.Adaptive = &a
		}
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
			if *d > 0 { // 0 stands for no such time
				*d = max(1, time.Duration(float64(*d)/speed))
			}
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
	if v := s.Keepalive.Server; v != nil {
		divide(&v.Interval, &v.Timeout, &v.Silence)
	}
	if w := s.Keepalive.Watch; w != nil {
		divide(&w.Timeout, &w.Every)
	}
	if a := s.Keepalive.Adaptive; a != nil {
		divide(&a.First, &a.Least, &a.Most, &a.Patience, &a.Limit)
	}
	if r := s.Resume; r != nil {
		divide(&r.Acknowledge, &r.Patience)
	}
	if r := s.Reconnect; r != nil {
		divide(&r.Base, &r.Max, &r.ResetAfter, &r.Add, &r.AddJitter)
		for i := range r.First {
			divide(&r.First[i])
		}
		if a := r.Adaptive; a != nil {
			divide(&a.Fast, &a.Stagger)
		}
	}
	return s
}
