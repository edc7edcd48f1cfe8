package scenarios

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
)

// tape is a synthetic trace, written in lab seconds.
type tape struct {
	start  time.Time
	speed  float64
	events []trace.Event
}

const sessionID = "s-1"

func newTape(speed float64) *tape {
	return &tape{start: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC), speed: speed}
}

func (tp *tape) wall(seconds float64) time.Duration {
	return time.Duration(seconds / tp.speed * float64(time.Second))
}

// at adds an event; its Dur is given in lab seconds.
func (tp *tape) at(seconds float64, e trace.Event, dur ...float64) {
	e.Time = tp.start.Add(tp.wall(seconds))
	if len(dur) > 0 {
		e.Dur = tp.wall(dur[0])
	}
	tp.events = append(tp.events, e)
}

// client adds an event of the session at its client.
func (tp *tape) client(seconds float64, t trace.Type, conn int, e trace.Event, dur ...float64) {
	e.Node, e.Type, e.Session, e.Conn = "alice", t, sessionID, conn
	tp.at(seconds, e, dur...)
}

func (tp *tape) server(seconds float64, t trace.Type, conn int, seq int64) {
	tp.at(seconds, trace.Event{Node: "server", Type: t, Session: sessionID, Conn: conn, Seq: seq})
}

func flow(src, dst string) *trace.Flow {
	return &trace.Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

// ports of connection n: alice, http-proxy and the NAT number theirs alike.
func aliceFlow(n int) *trace.Flow {
	return flow(fmt.Sprintf("192.168.1.2:4000%d", n), "203.0.113.3:443")
}
func proxyFlow(n int) *trace.Flow { return flow(fmt.Sprintf("10.20.0.2:5000%d", n), "10.20.0.3:3128") }
func dmzFlow(n int) *trace.Flow   { return flow(fmt.Sprintf("10.20.1.3:6000%d", n), "203.0.113.3:443") }
func outFlow(n int) *trace.Flow   { return flow(fmt.Sprintf("203.0.113.2:4000%d", n), "203.0.113.3:443") }

// open adds the opening of connection n through the NAT, all hops of it.
func (tp *tape) open(seconds float64, n int) {
	tp.at(seconds-.03, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: aliceFlow(n), Next: outFlow(n)})
	tp.at(seconds-.01, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: n, Flow: outFlow(n)})
	tp.client(seconds, trace.Open, n, trace.Event{Flow: aliceFlow(n)})
}

// openProxied adds the opening of connection n through http-proxy and the NAT.
func (tp *tape) openProxied(seconds float64, n int) {
	tp.at(seconds-.03, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: dmzFlow(n), Next: outFlow(n)})
	tp.at(seconds-.02, trace.Event{Node: "http-proxy", Type: trace.Relayed, Flow: proxyFlow(n), Next: dmzFlow(n)})
	tp.at(seconds-.01, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: n, Flow: outFlow(n)})
	tp.client(seconds, trace.Open, n, trace.Event{Flow: proxyFlow(n)})
}

// talk adds a message each way, with its answers.
func (tp *tape) talk(seconds float64, conn int, seq int64, rtt float64) {
	tp.client(seconds, trace.Sent, conn, trace.Event{Seq: seq})
	tp.server(seconds+rtt/2, trace.ServerReceived, conn, seq)
	tp.client(seconds+rtt, trace.Acked, conn, trace.Event{Seq: seq}, rtt)
	tp.server(seconds, trace.ServerPushed, conn, seq)
	tp.client(seconds+rtt/2, trace.Received, conn, trace.Event{Seq: seq})
}

// ping adds a ping and its pong.
func (tp *tape) ping(seconds float64, conn int, seq int64, rtt float64) {
	tp.client(seconds, trace.KeepaliveSent, conn, trace.Event{Seq: seq, Detail: "ping"})
	tp.client(seconds+rtt, trace.KeepaliveAnswered, conn, trace.Event{Seq: seq, Detail: "ping"}, rtt)
}

func builtin(t testing.TB, name string) strategy.Strategy {
	for _, s := range strategy.Builtin() {
		if s.Name == name {
			return s.Strategy.WithDefaults()
		}
	}
	t.Fatalf("no strategy %q", name)
	return strategy.Strategy{}
}

func ptr[T any](v T) *T { return &v }

func TestJudge(t *testing.T) {
	tests := []struct {
		name     string
		strategy string
		expect   Expectation
		crash    *crash
		end      float64
		tape     func(*tape)
	}{
		{name: "black hole", strategy: "none", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.talk(5, 1, 2, .02)
			tp.at(35.1, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1), Next: outFlow(1)}, 30)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 3})
			tp.server(50, trace.ServerPushed, 1, 3)
			tp.at(50.001, trace.Event{Node: "nat", Type: trace.Blocked, Flow: aliceFlow(1), Detail: "invalid"})
		}},
		{name: "kept alive", strategy: "ws-ping", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			for i := range 3 {
				at := 14 + 15*float64(i)
				tp.ping(at, 1, int64(i+1), .02)
				tp.at(at+.01, trace.Event{Node: "nat", Type: trace.MappingRefreshed, Flow: aliceFlow(1), Next: outFlow(1)}, min(15, at-5))
			}
			tp.talk(50, 1, 2, .02)
		}},
		{name: "kept alive by two means", strategy: "firewall-aware", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.client(24, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "heartbeat"})
			tp.client(24.1, trace.KeepaliveAnswered, 1, trace.Event{Seq: 1, Detail: "heartbeat"}, .1)
			tp.ping(29, 1, 1, .02)
			tp.at(24, trace.Event{Node: "nat", Type: trace.MappingRefreshed, Flow: aliceFlow(1)}, 19)
			tp.talk(50, 1, 2, .02)
		}},
		{name: "kept alive by TCP", strategy: "tcp-keepalive", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			for i := range 3 {
				tp.at(20+15*float64(i), trace.Event{Node: "nat", Type: trace.MappingRefreshed, Flow: aliceFlow(1)}, 15)
			}
			tp.talk(50, 1, 2, .02)
		}},
		{name: "TCP keepalive through a proxy", strategy: "tcp-keepalive", end: 60, tape: func(tp *tape) {
			tp.openProxied(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: dmzFlow(1), Next: outFlow(1)}, 30)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "too slow", strategy: "slow-ping", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1)}, 30)
			tp.client(39, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "ping"})
			tp.client(49, trace.KeepaliveTimeout, 1, trace.Event{Seq: 1, Detail: "ping"}, 10)
			tp.client(49, trace.Close, 1, trace.Event{Code: 1006, By: "strategy", Err: "no answer to a ping within 10s"})
			tp.client(49, trace.ReconnectGaveUp, 1, trace.Event{Detail: "the strategy does not reconnect"})
			tp.server(50, trace.ServerPushed, 1, 2)
		}},
		{name: "never triggered", strategy: "reconnect-only", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1)}, 30)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "told by a RST", strategy: "reconnect-only", end: 60, expect: Expectation{Lost: ptr(5), Outage: ptr(25 * time.Second)}, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1)}, 30)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
			tp.server(50, trace.ServerPushed, 1, 2)
			tp.client(50.01, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "read tcp: connection reset by peer"})
			tp.client(50.01, trace.ReconnectWait, 1, trace.Event{Attempt: 1}, 1)
			tp.open(51.1, 2)
			tp.talk(52, 2, 3, .02)
		}},
		{name: "limits exceeded", strategy: "reconnect-only", end: 60, expect: Expectation{Lost: ptr(1), Outage: ptr(10 * time.Second)}, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1)}, 30)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
			tp.server(50, trace.ServerPushed, 1, 2)
			tp.client(50.01, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "read tcp: connection reset by peer"})
			tp.open(51.1, 2)
			tp.talk(52, 2, 3, .02)
		}},
		{name: "reset", strategy: "none", end: 20, tape: func(tp *tape) {
			resetTape(tp)
			tp.client(5.004, trace.ReconnectGaveUp, 1, trace.Event{Detail: "the strategy does not reconnect"})
		}},
		{name: "back after a reset", strategy: "reconnect-only", end: 20, tape: func(tp *tape) {
			resetTape(tp)
			tp.open(6.1, 2)
			tp.talk(6.5, 2, 2, .02)
		}},
		{name: "back too late", strategy: "reconnect-only", end: 6, tape: func(tp *tape) {
			resetTape(tp)
			tp.open(6.1, 2)
		}},
		{name: "a proxy kept busy", strategy: "ws-ping", end: 80, tape: func(tp *tape) {
			tp.openProxied(-1, 1)
			tp.talk(1, 1, 1, .02)
			for i := range 5 {
				tp.ping(14+15*float64(i), 1, int64(i+1), .02)
			}
			tp.talk(79, 1, 2, .02)
		}},
		{name: "gave up", strategy: "reconnect-only", end: 60, tape: func(tp *tape) {
			resetTape(tp)
			for i, at := range []float64{6, 8, 12, 20, 36} {
				tp.client(at, trace.DialFailed, 2, trace.Event{Attempt: i + 1, Stage: "tcp", Err: "connection refused"})
			}
			tp.client(36, trace.ReconnectGaveUp, 1, trace.Event{Detail: "5 tries failed"})
		}},
		{name: "still trying", strategy: "reconnect-only", end: 10, tape: func(tp *tape) {
			resetTape(tp)
			tp.client(6, trace.DialFailed, 2, trace.Event{Attempt: 1, Stage: "tcp", Err: "connection refused"})
		}},
		{name: "server restart", strategy: "reconnect-only", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(4.95, trace.Event{Node: "server", Type: trace.Restarting}, 2)
			tp.ping(4.96, 1, 1, .01) // answered at the last moment
			tp.client(5.001, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "unexpected EOF"})
			tp.client(6, trace.DialFailed, 2, trace.Event{Attempt: 1, Stage: "tcp", Err: "connection refused"})
			tp.open(8, 2)
			// The server numbers its pushes anew.
			tp.client(9, trace.Sent, 2, trace.Event{Seq: 2})
			tp.server(9.01, trace.ServerReceived, 1, 2)
			tp.client(9.02, trace.Acked, 2, trace.Event{Seq: 2}, .02)
			tp.server(9, trace.ServerPushed, 1, 1)
			tp.client(9.01, trace.Received, 2, trace.Event{Seq: 1})
		}},
		{name: "slow but alive", strategy: "ws-ping", end: 35, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.ToxicAdded, Detail: "latency"})
			tp.talk(6, 1, 2, .341)
			tp.ping(14, 1, 1, .33)
			tp.at(25, trace.Event{Node: "nat", Type: trace.ToxicRemoved, Detail: "latency"})
			tp.talk(30, 1, 3, .02)
		}},
		{name: "false alarm", strategy: "twitchy", end: 35, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.ToxicAdded, Detail: "latency"})
			for conn := 1; conn <= 2; conn++ {
				at := 9 + 6*float64(conn-1)
				tp.client(at, trace.KeepaliveSent, conn, trace.Event{Seq: 1, Detail: "ping"})
				tp.client(at+.2, trace.KeepaliveTimeout, conn, trace.Event{Seq: 1, Detail: "ping"}, .2)
				tp.client(at+.2, trace.Close, conn, trace.Event{Code: 1006, By: "strategy"})
				tp.client(at+.341, trace.KeepaliveLate, conn, trace.Event{Seq: 1, Detail: "ping"}, .341)
				tp.open(at+1.5, conn+1)
			}
			tp.talk(30, 3, 2, .02)
		}},
		{name: "no late pong", strategy: "ws-ping", end: 35, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.client(14, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "ping"})
			tp.client(24, trace.KeepaliveTimeout, 1, trace.Event{Seq: 1, Detail: "ping"}, 10)
			tp.client(24, trace.Close, 1, trace.Event{Code: 1006, By: "strategy"})
		}},
		{name: "idle proxy", strategy: "none", end: 80, tape: func(tp *tape) {
			tp.openProxied(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(61, trace.Event{Node: "http-proxy", Type: trace.RelayClosed, Flow: proxyFlow(1), Next: dmzFlow(1), By: "idle"}, 62)
			tp.client(61.01, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "EOF"})
		}},
		{name: "flushed", strategy: "ws-ping", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.MappingFlushed, Flow: aliceFlow(1)})
			tp.client(5.5, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "mapping made anew", strategy: "none", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1)}, 30)
			tp.at(50, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: aliceFlow(1), Next: outFlow(1)})
			tp.talk(50, 1, 2, .02)
		}},
		{name: "paused server", strategy: "none", end: 30, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "runner", Type: trace.Paused, Detail: "server"})
			tp.at(15, trace.Event{Node: "runner", Type: trace.Resumed, Detail: "server"})
			tp.talk(16, 1, 2, .02)
		}},
		{name: "wrong password", strategy: "none", end: 1, tape: func(tp *tape) {
			tp.at(-1, trace.Event{Node: "http-proxy", Type: trace.RelayRefused, Status: 407})
			tp.client(-1, trace.DialFailed, 1, trace.Event{Stage: "proxy", Status: 407, Err: "Proxy Authentication Required"})
			tp.client(-1, trace.ReconnectGaveUp, 0, trace.Event{})
		}},
		{name: "handshake failed", strategy: "none", end: 1, tape: func(tp *tape) {
			tp.client(-1, trace.DialFailed, 1, trace.Event{Stage: "tls", Err: "x509: unknown authority\nmore"})
		}},
		{name: "crash", strategy: "none", end: 12, crash: &crash{node: "nat", why: "exit code 2: panic: boom\ngoroutine 1"}, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
		}},
		{name: "closed by the server", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.client(5, trace.Close, 1, trace.Event{Code: 1012, By: "peer"})
		}},
		{name: "nothing known", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.client(5, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "nothing happened", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
		}},
		{name: "duplicates", strategy: "reconnect-only", end: 20, expect: Expectation{Duplicated: ptr(0)}, tape: func(tp *tape) {
			resetTape(tp)
			tp.open(6.1, 2)
			tp.talk(6.5, 2, 2, .02)
			tp.server(7, trace.ServerReceived, 2, 2)
		}},
	}
	var out strings.Builder
	for _, test := range tests {
		var texts []string
		for _, speed := range []float64{1, 5} { // the verdict must not depend on it
			tp := newTape(speed)
			test.tape(tp)
			test.expect.Verdicts = Expected{Failed}
			s := session{id: sessionID, strategy: test.strategy, habits: builtin(t, test.strategy), expect: test.expect}
			f := facts{
				t:     untilEnd(trace.New(tp.start, tp.start.Add(tp.wall(test.end)), speed, tp.events)),
				idle:  map[string]time.Duration{"nat": 30 * time.Second, "http-proxy": time.Minute},
				crash: test.crash,
			}
			texts = append(texts, cellText(test.name, judge(f, s)))
		}
		if texts[0] != texts[1] {
			t.Errorf("%s: speed 1 and 5 differ:\n%s\n%s", test.name, texts[0], texts[1])
		}
		out.WriteString(texts[0])
	}
	golden(t, "testdata/judge.golden", out.String())
}

// resetTape is a connection that is reset at 5 s with a message under way.
func resetTape(tp *tape) {
	tp.at(-1.1, trace.Event{Node: "nat", Type: trace.Relayed, Flow: aliceFlow(1), Next: outFlow(1)})
	tp.at(-1.05, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: 1, Flow: outFlow(1)})
	tp.client(-1, trace.Open, 1, trace.Event{Flow: aliceFlow(1)})
	tp.talk(1, 1, 1, .02)
	tp.server(4.999, trace.ServerPushed, 1, 2)
	tp.at(5, trace.Event{Node: "nat", Type: trace.RelayClosed, Flow: aliceFlow(1), Next: outFlow(1), By: "node", Detail: "reset"}, 6)
	tp.client(5.003, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "read tcp: connection reset by peer"})
}

func cellText(name string, c Cell) string {
	d := func(d *time.Duration) string {
		if d == nil {
			return "-"
		}
		return d.Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%s (%s): %s\n  outage %s, detect %s, recover %s; connections %d, sent %d, lost %d, duplicated %d\n  %s\n  %s\n",
		name, c.Client, c.Verdict, d(c.Outage), d(c.Detect), d(c.Recover), c.Connections, c.Sent, c.Lost, c.Duplicated,
		c.Cause.Text(English), c.Cause.Text(Japanese))
}

// TestCatalogues checks that every language has every sentence, with the same figures.
func TestCatalogues(t *testing.T) {
	for id, text := range english {
		other, ok := japanese[id]
		if !ok {
			t.Errorf("no Japanese for %s", id)
		}
		for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == '{' || r == '}' }) {
			name := strings.ToLower(field)
			if strings.Contains(text, "{"+field+"}") && !strings.Contains(strings.ToLower(other), "{"+name+"}") {
				t.Errorf("%s: no {%s} in Japanese", id, name)
			}
		}
	}
	if len(japanese) != len(english) {
		t.Errorf("%d sentences in English, %d in Japanese", len(english), len(japanese))
	}
}
