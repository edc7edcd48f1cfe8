package scenarios

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
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

// openTracked adds the opening of connection n through a firewall.
func (tp *tape) openTracked(seconds float64, n int) {
	tp.at(seconds-.03, trace.Event{Node: "firewall", Type: trace.ConnectionTracked, Flow: aliceFlow(n)})
	tp.at(seconds-.01, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: n, Flow: aliceFlow(n)})
	tp.client(seconds, trace.Open, n, trace.Event{Flow: aliceFlow(n)})
}

// openProxied adds the opening of connection n through http-proxy and the NAT.
func (tp *tape) openProxied(seconds float64, n int) {
	tp.at(seconds-.03, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: dmzFlow(n), Next: outFlow(n)})
	tp.at(seconds-.02, trace.Event{Node: "http-proxy", Type: trace.Relayed, Flow: proxyFlow(n), Next: dmzFlow(n)})
	tp.at(seconds-.01, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: n, Flow: outFlow(n)})
	tp.client(seconds, trace.Open, n, trace.Event{Flow: proxyFlow(n)})
}

func reverseFlow(n int) *trace.Flow { return flow(fmt.Sprintf("10.20.0.2:4500%d", n), "10.20.0.5:443") }

// openReverse adds the opening of connection n through data-proxy.
func (tp *tape) openReverse(seconds float64, n int) {
	tp.at(seconds-.02, trace.Event{Node: "data-proxy", Type: trace.Relayed, Flow: reverseFlow(n), Next: dmzFlow(n)})
	tp.at(seconds-.01, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: n, Flow: dmzFlow(n)})
	tp.client(seconds, trace.Open, n, trace.Event{Flow: reverseFlow(n)})
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

// homeNodes are those of the lab home, with their routes.
func homeNodes() []topology.NodeSpec {
	at := func(network, addr string) topology.Interface {
		return topology.Interface{Network: network, Addr: netip.MustParsePrefix(addr)}
	}
	return []topology.NodeSpec{
		{Name: "alice", Interfaces: []topology.Interface{at("home", "192.168.1.2/24")}, Routes: []topology.Route{
			{Dst: netip.MustParsePrefix("203.0.113.0/24"), Via: netip.MustParseAddr("192.168.1.3")},
		}},
		{Name: "nat", Interfaces: []topology.Interface{at("home", "192.168.1.3/24"), at("internet", "203.0.113.2/24")}},
		{Name: "server", Interfaces: []topology.Interface{at("internet", "203.0.113.3/24")}},
	}
}

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
		{name: "black-out waited out", strategy: "none", end: 40, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(3, trace.Event{Node: "alice", Type: trace.LinkChanged, Network: "home", Detail: "down=true"})
			tp.at(3.1, trace.Event{Node: "nat", Type: trace.LinkChanged, Network: "home", Detail: "down=true"})
			tp.at(13, trace.Event{Node: "alice", Type: trace.LinkChanged, Network: "home"})
			tp.at(13.1, trace.Event{Node: "nat", Type: trace.LinkChanged, Network: "home"})
			tp.talk(5, 1, 2, 10)
		}},
		{name: "black-out given up", strategy: "ws-ping", end: 40, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(3, trace.Event{Node: "server", Type: trace.LinkChanged, Network: "internet", By: "server", Detail: "down=true delay=20ms"})
			tp.client(15, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "ping"})
			tp.client(25, trace.KeepaliveTimeout, 1, trace.Event{Seq: 1, Detail: "ping"}, 10)
			tp.client(25, trace.Close, 1, trace.Event{Code: 1006, By: "strategy"})
		}},
		{name: "toxic black-out waited out", strategy: "none", end: 40, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(3, trace.Event{Node: "nat", Type: trace.ToxicFired, Flow: aliceFlow(1), Next: outFlow(1), Detail: "blackhole"})
			tp.at(13, trace.Event{Node: "nat", Type: trace.ToxicRemoved, Detail: "blackhole"})
			tp.talk(5, 1, 2, 10)
		}},
		{name: "toxic black-out given up", strategy: "ws-ping", end: 40, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(3, trace.Event{Node: "nat", Type: trace.ToxicFired, Flow: aliceFlow(1), Next: outFlow(1), Detail: "blackhole"})
			tp.client(15, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "ping"})
			tp.client(25, trace.KeepaliveTimeout, 1, trace.Event{Seq: 1, Detail: "ping"}, 10)
			tp.client(25, trace.Close, 1, trace.Event{Code: 1006, By: "strategy"})
		}},
		{name: "forgotten by a toxic", strategy: "none", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(30, trace.Event{Node: "nat", Type: trace.ToxicFired, Flow: aliceFlow(1), Next: outFlow(1), Detail: "nat_idle_timeout"})
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "black-out elsewhere", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.at(3, trace.Event{Node: "http-proxy", Type: trace.LinkChanged, Network: "dmz", Detail: "down=true"})
			tp.talk(5, 1, 1, .02)
		}},
		{name: "slow network", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.at(3, trace.Event{Node: "nat", Type: trace.LinkChanged, Network: "home", Detail: "delay=300ms loss=1%"})
			tp.talk(5, 1, 1, .62)
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
				tp.client(at+2, trace.KeepaliveTimeout, conn, trace.Event{Seq: 1, Detail: "ping"}, 2)
				tp.client(at+2, trace.Close, conn, trace.Event{Code: 1006, By: "strategy"})
				tp.client(at+3.041, trace.KeepaliveLate, conn, trace.Event{Seq: 1, Detail: "ping"}, 3.041)
				tp.open(at+3.5, conn+1)
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
		{name: "idle proxy that counts messages", strategy: "ws-ping", end: 80, tape: func(tp *tape) {
			tp.openReverse(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.ping(14, 1, 1, .02)
			tp.at(61, trace.Event{Node: "data-proxy", Type: trace.RelayClosed, Flow: reverseFlow(1), Next: dmzFlow(1), By: "idle", Detail: "1001"}, 62)
			tp.client(61.01, trace.Close, 1, trace.Event{Code: 1001, By: "peer"})
		}},
		{name: "heartbeats for a proxy that counts messages", strategy: "firewall-aware", end: 80, tape: func(tp *tape) {
			tp.openReverse(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.ping(29, 1, 1, .02)
			tp.client(24, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "heartbeat"})
			tp.client(24.1, trace.KeepaliveAnswered, 1, trace.Event{Seq: 1, Detail: "heartbeat"}, .1)
			tp.talk(79, 1, 2, .02)
		}},
		{name: "maximum lifetime", strategy: "ws-ping", end: 140, tape: func(tp *tape) {
			tp.openReverse(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.ping(115, 1, 1, .02)
			tp.at(119, trace.Event{Node: "data-proxy", Type: trace.RelayClosed, Flow: reverseFlow(1), Next: dmzFlow(1), By: "lifetime", Detail: "fin"}, 120)
			tp.client(119.01, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "EOF"})
		}},
		{name: "drained", strategy: "reconnect-only", end: 20, tape: func(tp *tape) {
			tp.openReverse(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "data-proxy", Type: trace.RelayClosed, Flow: reverseFlow(1), Next: dmzFlow(1), By: "drain", Detail: "1012"}, 6)
			tp.client(5.001, trace.Close, 1, trace.Event{Code: 1012, By: "peer"})
			tp.openReverse(6.1, 2)
			tp.talk(7, 2, 2, .02)
		}},
		{name: "too big a message", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.openReverse(-1, 1)
			tp.at(5, trace.Event{Node: "data-proxy", Type: trace.RelayClosed, Flow: reverseFlow(1), Next: dmzFlow(1), By: "limit", Detail: "from the client: a frame of 40000 bytes is over the limit of 32768"}, 6)
			tp.client(5.001, trace.Close, 1, trace.Event{Code: 1009, By: "peer"})
		}},
		{name: "a close frame that got lost", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.openReverse(-1, 1)
			tp.at(5, trace.Event{Node: "data-proxy", Type: trace.RelayClosed, Flow: reverseFlow(1), Next: dmzFlow(1), By: "server", Detail: "close frame dropped"}, 6)
			tp.client(5.001, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "EOF"})
		}},
		{name: "Upgrade stripped", strategy: "none", end: 1, tape: func(tp *tape) {
			tp.at(-1.01, trace.Event{Node: "data-proxy", Type: trace.UpgradeStripped, Flow: reverseFlow(1), Status: 400})
			tp.client(-1, trace.DialFailed, 1, trace.Event{Stage: "websocket", Status: 400, Err: "the handshake was answered with 400 Bad Request"})
		}},
		{name: "NTLM proxy", strategy: "none", end: 1, tape: func(tp *tape) {
			tp.at(-1.01, trace.Event{Node: "http-proxy", Type: trace.RelayRefused, Status: 407, By: "auth", Detail: "the client sent \"Basic\" credentials, the proxy takes NTLM only"})
			tp.client(-1, trace.DialFailed, 1, trace.Event{Stage: "proxy", Status: 407, Err: "407 Proxy Authentication Required"})
		}},
		{name: "full proxy", strategy: "none", end: 1, tape: func(tp *tape) {
			tp.at(-1.01, trace.Event{Node: "http-proxy", Type: trace.RelayRefused, Status: 503, By: "max_connections", Detail: "10 clients are served already (max_connections)"})
			tp.client(-1, trace.DialFailed, 1, trace.Event{Stage: "proxy", Status: 503, Err: "503 Service Unavailable"})
		}},
		{name: "captive portal", strategy: "none", end: 1, tape: func(tp *tape) {
			tp.at(-1.01, trace.Event{Node: "http-proxy", Type: trace.RelayRefused, Flow: proxyFlow(1), Status: 511, By: "captive", Detail: "captive portal: log in at http://portal/login first"})
			tp.client(-1, trace.DialFailed, 1, trace.Event{Stage: "proxy", Status: 511, Flow: proxyFlow(1), Err: "511 Network Authentication Required"})
		}},
		{name: "interceptor that is not trusted", strategy: "none", end: 1, tape: func(tp *tape) {
			tp.at(-1.01, trace.Event{Node: "http-proxy", Type: trace.Intercepted, Flow: proxyFlow(1), By: "server", Detail: "ACME Web Security"})
			tp.at(-1.005, trace.Event{Node: "http-proxy", Type: trace.Intercepted, Flow: proxyFlow(2), By: "server", Detail: "somebody else"})
			tp.client(-1, trace.DialFailed, 1, trace.Event{Stage: "tls", Flow: proxyFlow(1), Err: "x509: certificate signed by unknown authority"})
		}},
		{name: "interceptor that does not trust the server", strategy: "none", end: 1, tape: func(tp *tape) {
			tp.at(-1.01, trace.Event{Node: "http-proxy", Type: trace.RelayRefused, Flow: proxyFlow(1), Status: 502, By: "bad_origin", Detail: "the certificate of server:443 is not trusted"})
			tp.client(-1, trace.DialFailed, 1, trace.Event{Stage: "websocket", Status: 502, Flow: proxyFlow(1), Err: "502 Bad Gateway"})
		}},
		{name: "flushed", strategy: "ws-ping", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.MappingFlushed, Flow: aliceFlow(1)})
			tp.client(5.5, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "evicted", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(12, trace.Event{Node: "nat", Type: trace.MappingEvicted, Flow: aliceFlow(1), Next: outFlow(1)}, 11)
			tp.client(15, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "no room to come back", strategy: "reconnect-only", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.MappingFlushed, Flow: aliceFlow(1)})
			tp.client(5.5, trace.Sent, 1, trace.Event{Seq: 2})
			tp.client(5.51, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "connection reset by peer"})
			tp.at(6, trace.Event{Node: "nat", Type: trace.Blocked, Flow: flow("192.168.1.77:4000", "203.0.113.3:443"), By: "client", Detail: "table full: dropped"})
			tp.at(6.5, trace.Event{Node: "nat", Type: trace.Blocked, Flow: aliceFlow(2), By: "client", Detail: "table full: dropped"})
			tp.open(12, 3)
			tp.talk(13, 3, 3, .02)
		}},
		{name: "another address outside", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.AddressChanged, Detail: "203.0.113.2 > 203.0.113.254"})
			tp.at(5.01, trace.Event{Node: "nat", Type: trace.MappingFlushed, Flow: aliceFlow(1), Next: outFlow(1)})
			tp.client(5.5, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "another address outside, and an answer that got through", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.at(5, trace.Event{Node: "nat", Type: trace.AddressChanged, Detail: "203.0.113.2 > 203.0.113.254"})
			tp.talk(4.99, 1, 1, .02)
			tp.at(5.02, trace.Event{Node: "nat", Type: trace.MappingFlushed, Flow: aliceFlow(1), Next: outFlow(1)})
			tp.client(5.5, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "another address inside", strategy: "ws-ping", end: 40, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "alice", Type: trace.AddressChanged, Detail: "192.168.1.2 > 192.168.1.254"})
			tp.client(14, trace.KeepaliveSent, 1, trace.Event{Detail: "ping", Seq: 1})
			tp.client(24, trace.KeepaliveTimeout, 1, trace.Event{Detail: "ping", Seq: 1}, 10)
		}},
		{name: "another address inside, and answers that got through", strategy: "ws-ping", end: 40, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "alice", Type: trace.AddressChanged, Detail: "192.168.1.2 > 192.168.1.254"})
			tp.talk(5.1, 1, 2, .3)
			tp.client(14, trace.KeepaliveSent, 1, trace.Event{Detail: "ping", Seq: 1})
			tp.client(24, trace.KeepaliveTimeout, 1, trace.Event{Detail: "ping", Seq: 1}, 10)
		}},
		{name: "TCP keepalive finds a black hole", strategy: "tcp-keepalive", end: 300, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(31, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1), Next: outFlow(1)}, 30)
			tp.client(181, trace.Close, 1, trace.Event{By: "network", Err: "read tcp 192.168.1.2:40001->203.0.113.3:443: read: connection timed out"})
		}},
		{name: "asleep, and given up by the kernel meanwhile", strategy: "tcp-keepalive", end: 700, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "runner", Type: trace.Asleep, Detail: "alice"})
			tp.at(61, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1), Next: outFlow(1)}, 60)
			tp.client(605.1, trace.Close, 1, trace.Event{By: "network", Err: "read tcp 192.168.1.2:40001->203.0.113.3:443: read: connection timed out"})
			tp.at(605.2, trace.Event{Node: "runner", Type: trace.Awake, Detail: "alice"})
		}},
		{name: "another address elsewhere", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "alice", Type: trace.AddressChanged, Detail: "10.20.0.2 > 10.20.0.254"})
			tp.at(5, trace.Event{Node: "bob", Type: trace.AddressChanged, Detail: "192.168.1.3 > 192.168.1.253"})
			tp.talk(15, 1, 2, .02)
		}},
		{name: "another mapping for an acknowledgement", strategy: "none", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.AddressChanged, Detail: "203.0.113.2 > 203.0.113.254"})
			tp.at(5.01, trace.Event{Node: "nat", Type: trace.MappingFlushed, Flow: aliceFlow(1), Next: outFlow(1)})
			tp.at(5.1, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: aliceFlow(1), Next: flow("203.0.113.254:40001", "203.0.113.3:443")})
			tp.client(5.18, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "connection reset by peer"})
		}},
		{name: "another mapping", strategy: "reconnect-only", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1), Next: outFlow(1)}, 4)
			tp.client(7, trace.Sent, 1, trace.Event{Seq: 2})
			tp.at(7, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: aliceFlow(1), Next: flow("203.0.113.2:31415", "203.0.113.3:443")})
			tp.client(7.01, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "connection reset by peer"})
			tp.open(8, 2)
			tp.talk(9, 2, 3, .02)
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
		{name: "firewall forgets", strategy: "none", end: 60, tape: func(tp *tape) {
			tp.openTracked(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(20.1, trace.Event{Node: "firewall", Type: trace.ConnectionExpired, Flow: aliceFlow(1)}, 20)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
			tp.at(50.001, trace.Event{Node: "firewall", Type: trace.Blocked, Flow: aliceFlow(1), Detail: "no such connection: dropped"})
		}},
		{name: "too slow for the firewall", strategy: "slow-ping", end: 60, tape: func(tp *tape) {
			tp.openTracked(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(20.1, trace.Event{Node: "firewall", Type: trace.ConnectionExpired, Flow: aliceFlow(1)}, 20)
			tp.client(44, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "ping"})
			tp.client(54, trace.KeepaliveTimeout, 1, trace.Event{Seq: 1, Detail: "ping"}, 10)
			tp.client(54, trace.Close, 1, trace.Event{Code: 1006, By: "strategy"})
		}},
		{name: "told by the firewall", strategy: "reconnect-only", end: 60, tape: func(tp *tape) {
			tp.openTracked(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(20.1, trace.Event{Node: "firewall", Type: trace.ConnectionExpired, Flow: aliceFlow(1)}, 20)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
			tp.client(50.002, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "read tcp: connection reset by peer"})
			tp.openTracked(51, 2)
			tp.talk(55, 2, 3, .02)
		}},
		{name: "TCP keepalive ends before the firewall", strategy: "tcp-keepalive", end: 60, tape: func(tp *tape) {
			tp.openProxied(-1, 1)
			tp.at(-1.04, trace.Event{Node: "firewall", Type: trace.ConnectionTracked, Flow: dmzFlow(1)})
			tp.talk(0, 1, 1, .02)
			tp.at(20.1, trace.Event{Node: "firewall", Type: trace.ConnectionExpired, Flow: dmzFlow(1)}, 20)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "kept at the firewall", strategy: "ws-ping", end: 40, tape: func(tp *tape) {
			tp.openTracked(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.ping(14, 1, 1, .02)
			tp.at(14.01, trace.Event{Node: "firewall", Type: trace.ConnectionRefreshed, Flow: aliceFlow(1)}, 14)
			tp.ping(29, 1, 2, .02)
			tp.at(29.01, trace.Event{Node: "firewall", Type: trace.ConnectionRefreshed, Flow: aliceFlow(1)}, 15)
			tp.talk(39, 1, 2, .02)
		}},
		{name: "kept at the firewall by TCP", strategy: "tcp-keepalive", end: 40, tape: func(tp *tape) {
			tp.openTracked(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(15.01, trace.Event{Node: "firewall", Type: trace.ConnectionRefreshed, Flow: aliceFlow(1)}, 15)
			tp.talk(39, 1, 2, .02)
		}},
		{name: "firewall opens it anew", strategy: "none", end: 40, tape: func(tp *tape) {
			tp.openTracked(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(20.1, trace.Event{Node: "firewall", Type: trace.ConnectionExpired, Flow: aliceFlow(1)}, 20)
			tp.talk(39, 1, 2, .02)
		}},
		{name: "firewall is restarted", strategy: "none", end: 40, tape: func(tp *tape) {
			tp.openTracked(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.at(5, trace.Event{Node: "firewall", Type: trace.Restarting}, 20)
			tp.client(6, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "stopped behind SOCKS", strategy: "none", end: 5, tape: func(tp *tape) {
			tp.client(-1, trace.DialStart, 1, trace.Event{Attempt: 1})
			tp.at(-.9, trace.Event{Node: "firewall", Type: trace.Blocked, Flow: dmzFlow(1), Detail: "rule 1: reset"})
			tp.at(-.8, trace.Event{Node: "http-proxy", Type: trace.RelayRefused, Flow: proxyFlow(1), Status: 5})
			tp.client(-.7, trace.DialFailed, 1, trace.Event{Stage: "proxy", Status: 5, Err: "proxy http-proxy:1080: SOCKS5 CONNECT server:443: connection refused"})
		}},
		{name: "stopped at TCP", strategy: "none", end: 5, tape: func(tp *tape) {
			tp.client(-1, trace.DialStart, 1, trace.Event{Attempt: 1})
			tp.at(-.9, trace.Event{Node: "firewall", Type: trace.Blocked, Flow: flow("192.168.1.9:4000", "203.0.113.3:443"), Detail: "of somebody else"})
			tp.at(-.9, trace.Event{Node: "firewall", Type: trace.Blocked, Flow: aliceFlow(1), Detail: "rule 2, no-web: dropped"})
			tp.client(1, trace.DialFailed, 1, trace.Event{Stage: "tcp", Err: "dial tcp 203.0.113.3:443: i/o timeout"})
		}},
		{name: "stopped at TLS", strategy: "none", end: 5, tape: func(tp *tape) {
			tp.client(-1, trace.DialStart, 1, trace.Event{Attempt: 1})
			tp.at(-.8, trace.Event{Node: "firewall", Type: trace.Inspected, Flow: aliceFlow(2), Next: outFlow(2), By: "reset", Detail: "of somebody else"})
			tp.at(-.8, trace.Event{Node: "firewall", Type: trace.Inspected, Flow: aliceFlow(1), Next: outFlow(1), By: "reset", Detail: "inspect.tls_server_name: reset, server"})
			tp.client(-.7, trace.DialFailed, 1, trace.Event{Stage: "tls", Flow: aliceFlow(1), Err: "read tcp: connection reset by peer"})
		}},
		{name: "stopped behind a proxy", strategy: "none", end: 5, tape: func(tp *tape) {
			tp.client(-1, trace.DialStart, 1, trace.Event{Attempt: 1})
			tp.at(-.9, trace.Event{Node: "firewall", Type: trace.Blocked, Flow: dmzFlow(1), Detail: "rule 1: reset"})
			tp.at(-.8, trace.Event{Node: "http-proxy", Type: trace.RelayRefused, Flow: proxyFlow(1), Status: 502})
			tp.client(-.7, trace.DialFailed, 1, trace.Event{Stage: "proxy", Status: 502, Flow: proxyFlow(1), Err: "502 Bad Gateway"})
		}},
		{name: "slowed", strategy: "ws-ping", end: 10, tape: func(tp *tape) {
			tp.at(-1.2, trace.Event{Node: "firewall", Type: trace.Inspected, Flow: aliceFlow(1), Next: outFlow(1), By: "slow", Detail: "inspect.tls_server_name: slow, server"})
			tp.openTracked(-1, 1)
			tp.talk(0, 1, 1, .02)
			tp.ping(5, 1, 1, 1.2)
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
		{name: "server closes with a code", strategy: "reconnect-only", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "server", Type: trace.ServerClosed, Session: sessionID, Conn: 1, Flow: outFlow(1), Code: 1008, By: "node"})
			tp.client(5.1, trace.Close, 1, trace.Event{Code: 1008, By: "peer"})
			tp.client(5.1, trace.ReconnectGaveUp, 1, trace.Event{Detail: "the peer closed with 1008: policy violation"})
		}},
		{name: "server went down with a FIN", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "server", Type: trace.ServerClosed, Session: sessionID, Conn: 1, Flow: outFlow(1), Code: 1006, By: "node", Detail: "fin"})
			tp.at(5.01, trace.Event{Node: "server", Type: trace.Restarting})
			tp.client(5.1, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "unexpected EOF"})
		}},
		{name: "message too long for the server", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "server", Type: trace.ServerClosed, Session: sessionID, Conn: 1, Flow: outFlow(1), Code: 1009, By: "limit", Detail: "a message of 2000 bytes or more, max_message is 1000"})
			tp.client(5.1, trace.Close, 1, trace.Event{Code: 1009, By: "peer"})
		}},
		{name: "server vanished", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "server", Type: trace.HalfOpen, Session: sessionID, Conn: 1, Flow: outFlow(1), Detail: "vanished"})
			tp.client(6, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "server hangs", strategy: "tcp-keepalive", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "server", Type: trace.HalfOpen, Session: sessionID, Conn: 1, Flow: outFlow(1), Detail: "hung"})
			tp.server(6, trace.ServerPushed, 1, 2)
		}},
		{name: "a server that hangs is pinged by TCP", strategy: "tcp-keepalive", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "server", Type: trace.HalfOpen, Session: sessionID, Conn: 1, Flow: outFlow(1), Detail: "hung"})
			tp.client(6, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "only the server asks", strategy: "gorilla-chat", end: 70, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1), Next: outFlow(1)}, 30)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
			tp.at(59, trace.Event{Node: "server", Type: trace.ServerClosed, Session: sessionID, Conn: 1, Flow: outFlow(1), Code: 1006, By: "keepalive", Detail: "its ping got no answer in time"})
		}},
		{name: "only the server asks, and the client would come back", strategy: "graphql-ws", end: 30, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "server", Type: trace.HalfOpen, Session: sessionID, Conn: 1, Flow: outFlow(1), Detail: "vanished"})
			tp.client(6, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "TCP keepalive begins when the NAT forgets", strategy: "websocket-client", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.Blocked, Flow: aliceFlow(1), By: "client", Detail: "no mapping: dropped"})
			tp.at(35.01, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1), Next: outFlow(1)}, 30)
			tp.client(50, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "a ping had no answer yet", strategy: "java-websocket", end: 65, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(5, 1, 1, .02)
			tp.at(35, trace.Event{Node: "nat", Type: trace.MappingExpired, Flow: aliceFlow(1), Next: outFlow(1)}, 30)
			tp.client(59, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "ping"})
			tp.client(60, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "kept its room by pings", strategy: "ws-ping", end: 50, tape: roomTape("ping")},
		{name: "kept its room by TCP keepalive", strategy: "tcp-keepalive", end: 50, tape: roomTape("")},
		{name: "a client that stood still itself", strategy: "none", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Type: trace.Paused, Detail: "alice"})
			tp.at(45, trace.Event{Type: trace.Resumed, Detail: "alice"})
			tp.talk(50, 1, 2, .02)
		}},
		{name: "a server that did not wait for a client that stood still", strategy: "graphql-ws", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Type: trace.Paused, Detail: "alice"})
			tp.at(23, trace.Event{Node: "server", Type: trace.ServerClosed, Session: sessionID, Conn: 1, Flow: outFlow(1), Code: 1006, By: "keepalive", Detail: "its ping got no answer in time"})
			tp.at(45, trace.Event{Type: trace.Resumed, Detail: "alice"})
			tp.client(45.1, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "EOF"})
			tp.client(45.1, trace.ReconnectWait, 1, trace.Event{Attempt: 1}, 3)
			tp.open(48.2, 2)
			tp.talk(50, 2, 2, .02)
		}},
		{name: "the play ends before the first attempt", strategy: "actioncable", end: 10, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "nat", Type: trace.RelayClosed, By: "node", Detail: "reset", Flow: aliceFlow(1), Next: outFlow(1)})
			tp.client(5.01, trace.Close, 1, trace.Event{Code: 1006, By: "network", Err: "connection reset by peer"})
			tp.client(5.01, trace.ReconnectWait, 1, trace.Event{Attempt: 1}, 9)
		}},
		{name: "Origin refused", strategy: "none", end: 5, tape: func(tp *tape) {
			refusedTape(tp, 403, "origins", `the Origin "https://evil.example" is not allowed (origins)`)
		}},
		{name: "CSRF token refused", strategy: "none", end: 5, tape: func(tp *tape) { refusedTape(tp, 403, "csrf", "there is no CSRF token (csrf: session)") }},
		{name: "login refused", strategy: "none", end: 5, tape: func(tp *tape) {
			refusedTape(tp, 403, "sessions", "nobody is logged in with the cookie wslab_session of the request (sessions)")
		}},
		{name: "handshake refused", strategy: "none", end: 5, tape: func(tp *tape) {
			refusedTape(tp, 426, "", "Upgrade is missing (RFC 6455, section 4.2.1, item 3)")
		}},
		{name: "hijacked", strategy: "none", end: 5, tape: func(tp *tape) { pageTape(tp, "https://evil.example") }},
		{name: "from the server's own page", strategy: "none", end: 5, tape: func(tp *tape) { pageTape(tp, "https://server") }},
		{name: "nothing known", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.client(5, trace.Sent, 1, trace.Event{Seq: 2})
		}},
		{name: "nothing happened", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
		}},
		{name: "a message lost, and nothing broke", strategy: "none", end: 12, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.server(3, trace.ServerPushed, 1, 2)
			tp.at(4, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: 2, Flow: outFlow(2)})
			tp.at(5, trace.Event{Node: "server", Type: trace.ServerClosed, Session: sessionID, Conn: 1})
		}},
		{name: "doubted in vain", strategy: "adaptive", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.client(3, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "ping"})
			tp.client(5, trace.KeepaliveDoubted, 1, trace.Event{}, 2)
			tp.client(5, trace.DialStart, 2, trace.Event{Attempt: 1})
			tp.client(6, trace.KeepaliveAnswered, 1, trace.Event{Seq: 1, Detail: "ping"}, 3)
			tp.client(6, trace.KeepaliveTrusted, 1, trace.Event{})
			tp.client(6, trace.DialDropped, 2, trace.Event{Attempt: 1, Stage: "tcp", Err: "context canceled"})
			tp.talk(10, 1, 2, .02)
		}},
		{name: "doubted and replaced", strategy: "adaptive", end: 20, tape: doubtedTape},
		{name: "the address is gone", strategy: "adaptive", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.at(5, trace.Event{Node: "alice", Type: trace.AddressChanged, Detail: "192.168.1.2 > 192.168.1.254"})
			tp.client(5.5, trace.Sent, 1, trace.Event{Seq: 2})
			tp.client(5.8, trace.Close, 1, trace.Event{Code: 1006, By: "strategy", Err: "this machine no longer has the address 192.168.1.2"})
			tp.open(6, 2)
			tp.talk(10, 2, 3, .02)
		}},
		{name: "kept by pings after silence", strategy: "adaptive", end: 60, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.ping(26, 1, 1, .02)
			tp.at(26.01, trace.Event{Node: "nat", Type: trace.MappingRefreshed, Flow: aliceFlow(1), Next: outFlow(1)}, 25)
			tp.ping(51, 1, 2, .02)
			tp.at(51.01, trace.Event{Node: "nat", Type: trace.MappingRefreshed, Flow: aliceFlow(1), Next: outFlow(1)}, 25)
			tp.talk(55, 1, 2, .02)
		}},
		{name: "no answer to any attempt", strategy: "adaptive", end: 10, tape: func(tp *tape) {
			tp.client(-1, trace.DialStart, 1, trace.Event{Attempt: 1})
			tp.client(0, trace.DialStart, 1, trace.Event{Attempt: 2})
			tp.at(.5, trace.Event{Node: "firewall", Type: trace.Blocked, Flow: aliceFlow(1), Detail: "rule 2", Count: 3})
			tp.client(4, trace.DialDropped, 1, trace.Event{Attempt: 2, Stage: "tcp", Err: "context canceled"})
		}},
		{name: "one of two attempts dropped", strategy: "adaptive", end: 10, tape: func(tp *tape) {
			tp.client(-2, trace.DialStart, 1, trace.Event{Attempt: 1})
			tp.client(-1, trace.DialStart, 1, trace.Event{Attempt: 2})
			tp.at(-.1, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: aliceFlow(2), Next: outFlow(2)})
			tp.open(0, 1)
			tp.at(0, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: 2, Flow: outFlow(2)})
			tp.client(.1, trace.DialDropped, 1, trace.Event{Attempt: 2, Flow: aliceFlow(2), Stage: "websocket", Err: "context canceled"})
			tp.server(.1, trace.ServerPushed, 2, 1)
			tp.at(.3, trace.Event{Node: "server", Type: trace.ServerClosed, Session: sessionID, Conn: 2, By: "network"})
			tp.talk(5, 1, 2, .02)
		}},
		{name: "resumed", strategy: "adaptive", end: 20, tape: func(tp *tape) {
			doubtedTape(tp)
			tp.at(8.03, trace.Event{Node: "server", Type: trace.ServerResumed, Session: sessionID, Conn: 2, Count: 1})
			tp.client(8.04, trace.SessionResumed, 2, trace.Event{Count: 2})
			tp.server(8.1, trace.ServerReceived, 2, 2)
			tp.client(8.12, trace.Acked, 2, trace.Event{Seq: 2}, 2.62)
		}},
		{name: "resumed with nothing to be sent", strategy: "adaptive", end: 20, tape: func(tp *tape) {
			tp.open(-1, 1)
			tp.talk(1, 1, 1, .02)
			tp.client(5, trace.Close, 1, trace.Event{Code: 1001, By: "peer"})
			tp.open(6.1, 2)
			tp.at(6.13, trace.Event{Node: "server", Type: trace.ServerResumed, Session: sessionID, Conn: 2})
			tp.client(6.14, trace.SessionResumed, 2, trace.Event{})
			tp.talk(10, 2, 3, .02)
		}},
		{name: "resumed at a server that had forgotten", strategy: "adaptive", end: 20, tape: func(tp *tape) {
			doubtedTape(tp)
			tp.at(8.03, trace.Event{Node: "server", Type: trace.ServerResumed, Session: sessionID, Conn: 1, Detail: "fresh"})
			tp.client(8.04, trace.SessionResumed, 2, trace.Event{Count: 2, Detail: "the peer knew nothing of the session"})
			tp.server(8.1, trace.ServerReceived, 2, 2)
			tp.client(8.12, trace.Acked, 2, trace.Event{Seq: 2}, 2.62)
		}},
		{name: "not resumed", strategy: "adaptive", end: 20, tape: func(tp *tape) {
			doubtedTape(tp)
			tp.client(13, trace.SessionResumed, 2, trace.Event{Count: -1, Detail: "the peer does not resume sessions"})
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
				t:    untilEnd(trace.New(tp.start, tp.start.Add(tp.wall(test.end)), speed, tp.events)),
				idle: map[string]time.Duration{"nat": 30 * time.Second, "http-proxy": time.Minute, "data-proxy": time.Minute, "firewall": 20 * time.Second},
				places: map[netip.Addr]string{
					netip.MustParseAddr("192.168.1.3"): "nat", aliceFlow(1).Dst.Addr(): "server",
					aliceFlow(1).Src.Addr(): "alice", dmzFlow(1).Src.Addr(): "http-proxy",
				},
				proxies: map[string]proxyFacts{"data-proxy": {Activity: "data", Lifetime: 2 * time.Minute}},
				client:  "alice",
				nodes:   homeNodes(),
				crash:   test.crash,
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

// doubtedTape is a server that vanishes, and another connection that was opened beside the old one.
func doubtedTape(tp *tape) {
	tp.open(-1, 1)
	tp.talk(1, 1, 1, .02)
	tp.at(5, trace.Event{Node: "server", Type: trace.HalfOpen, Session: sessionID, Conn: 1, Flow: outFlow(1), Detail: "vanished"})
	tp.client(5.5, trace.Sent, 1, trace.Event{Seq: 2})
	tp.client(6, trace.KeepaliveSent, 1, trace.Event{Seq: 1, Detail: "ping"})
	tp.client(8, trace.KeepaliveDoubted, 1, trace.Event{}, 2)
	tp.client(8, trace.DialStart, 2, trace.Event{Attempt: 1})
	tp.client(8.02, trace.KeepaliveTimeout, 1, trace.Event{Seq: 1, Detail: "ping"}, 2.02)
	tp.client(8.02, trace.Close, 1, trace.Event{Code: 1006, By: "strategy"})
	tp.open(8.02, 2)
	tp.talk(10, 2, 3, .02)
}

// refusedTape is an attempt that the server refuses.
func refusedTape(tp *tape, status int, by, why string) {
	tp.client(-1, trace.DialStart, 1, trace.Event{Attempt: 1})
	tp.at(-.9, trace.Event{Node: "server", Type: trace.Refused, Session: "of somebody else", Status: 400})
	tp.at(-.9, trace.Event{Node: "server", Type: trace.Refused, Session: sessionID, Flow: outFlow(1), Status: status, By: by, Detail: why})
	tp.client(-.8, trace.DialFailed, 1, trace.Event{Stage: "websocket", Status: status, Flow: aliceFlow(1), Err: "bad handshake"})
}

// pageTape is a connection that a page has opened with the cookie of alice.
func pageTape(tp *tape, origin string) {
	tp.at(-1.03, trace.Event{Node: "nat", Type: trace.MappingCreated, Flow: aliceFlow(1), Next: outFlow(1)})
	tp.at(-1.01, trace.Event{Node: "server", Type: trace.Accepted, Session: sessionID, Conn: 1, Flow: outFlow(1), By: "alice", Detail: origin})
	tp.client(-1, trace.Open, 1, trace.Event{Flow: aliceFlow(1)})
	tp.talk(1, 1, 1, .02)
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

// roomTape is a NAT that gives up other mappings while pings, or TCP keepalive, keep this one.
func roomTape(means string) func(*tape) {
	return func(tp *tape) {
		tp.open(-1, 1)
		tp.talk(5, 1, 1, .02)
		for _, at := range []float64{15, 30} {
			if means != "" {
				tp.ping(at, 1, int64(at/15), .02)
			}
			tp.at(at, trace.Event{Node: "nat", Type: trace.MappingRefreshed, Flow: aliceFlow(1), Next: outFlow(1)}, 15)
		}
		tp.at(29, trace.Event{Node: "nat", Type: trace.MappingEvicted, Flow: flow("192.168.1.77:4000", "203.0.113.3:443"), Next: flow("203.0.113.2:4000", "203.0.113.3:443")}, 20)
		tp.talk(31, 1, 2, .02)
	}
}
