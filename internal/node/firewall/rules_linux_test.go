package firewall

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
)

// askUDP sends a datagram and returns what comes of it.
func askUDP(from *nodetest.Host, address string) error {
	return from.Do(func() error {
		c, err := net.Dial("udp4", address)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Write([]byte("query")); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		_, err = c.Read(make([]byte, 1))
		return err
	})
}

func dialFrom(from *nodetest.Host, address string) error {
	return from.Do(func() error {
		c, err := (&net.Dialer{Timeout: 700 * time.Millisecond, KeepAlive: -1}).Dial("tcp4", address)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// isSilence says whether an error is that of nothing having come.
func isSilence(err error) bool { return timedOut(err) || errors.Is(err, os.ErrDeadlineExceeded) }

// TestActions tries what each action is for whom it stops, in both directions.
func TestActions(t *testing.T) {
	t.Parallel()
	refused := func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
	// ICMP 3/13 is EHOSTUNREACH to a connection that is being opened (icmp_err_convert
	// in net/ipv4/icmp.c), and to a datagram socket.
	prohibited := func(err error) bool { return errors.Is(err, syscall.EHOSTUNREACH) }
	for _, test := range []struct {
		action, proto string
		want          func(error) bool
	}{
		{Drop, "tcp", isSilence}, {Drop, "udp", isSilence},
		{Reset, "tcp", refused},
		{ICMP, "tcp", prohibited}, {ICMP, "udp", prohibited},
		{Reject, "tcp", refused}, {Reject, "udp", prohibited},
	} {
		for _, direction := range []string{Outbound, Inbound} {
			for _, intercepted := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s %s, intercepted %v", test.action, test.proto, direction, intercepted), func(t *testing.T) {
					t.Parallel()
					l := newLab(t, func(s *Settings) {
						s.Rules = []Rule{
							{Name: "mine", Direction: direction, Proto: test.proto, Port: []PortText{"5000-5002"}, Action: test.action},
							{Action: Accept},
						}
					})
					l.node.Call(t, "intercept", map[string]bool{"on": intercepted}, nil)
					stopped, passes, target, source := l.client, l.server, "100.64.0.2", "10.20.0.2"
					if direction == Inbound {
						stopped, passes, target, source = passes, stopped, source, target
					}
					try := dialFrom
					if test.proto == "udp" {
						try = askUDP
					}
					if err := try(stopped, target+":5001"); !test.want(err) {
						t.Errorf("%v", err)
					}
					e := l.node.Await(t, blocked("rule 1, mine: "+verb(test.action)))
					if e.Flow.Dst.String() != target+":5001" || e.Flow.Src.Addr().String() != source {
						t.Errorf("blocked %v", e)
					}
					if test.proto == "tcp" {
						stopped.Listen(t, source+":5001")
						if err := dialFrom(passes, source+":5001"); err != nil {
							t.Errorf("the other direction: %v", err)
						}
					}
				})
			}
		}
	}
}

// TestOrder: the first rule that matches decides, whatever comes later.
func TestOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *Settings) {
		s.Rules = []Rule{
			{From: []string{"10.20.0.2"}, To: []string{"isp"}, Proto: "tcp", Port: []PortText{"80", "443"}, Action: Accept},
			{From: []string{"office"}, Proto: "tcp", Port: []PortText{"443", "8000-8100"}, Action: Reset},
			{From: []string{"10.20.0.128/25"}, Action: Accept},
		}
	})
	for _, port := range []string{"80", "443", "8050", "9000"} {
		l.server.Listen(t, "100.64.0.2:"+port)
	}
	for port, want := range map[string]func(error) bool{
		"80": func(err error) bool { return err == nil }, "443": func(err error) bool { return err == nil },
		"8050": func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) },
		"9000": isSilence,
	} {
		if err := dialFrom(l.client, "100.64.0.2:"+port); !want(err) {
			t.Errorf("port %s: %v", port, err)
		}
	}
	l.node.Await(t, blocked("rule 2: reset"))
	l.node.Await(t, blocked(notAllowed))
}

// TestStateless: answers need a rule of their own, with the node in the way or not.
func TestStateless(t *testing.T) {
	t.Parallel()
	for _, intercepted := range []bool{false, true} {
		for _, answers := range []bool{false, true} {
			t.Run(fmt.Sprintf("intercepted %v, answers %v", intercepted, answers), func(t *testing.T) {
				t.Parallel()
				l := newLab(t, func(s *Settings) {
					s.Stateful = false
					s.Rules = []Rule{{Direction: Outbound, Proto: "tcp", Port: []PortText{"443"}, Action: Accept}}
					if answers {
						s.Rules = append(s.Rules, Rule{Direction: Inbound, Proto: "tcp", FromPort: []PortText{"443"}, Action: Accept})
					}
				})
				l.node.Call(t, "intercept", map[string]bool{"on": intercepted}, nil)
				if !answers {
					l.server.Listen(t, "100.64.0.2:443")
					if err := dialFrom(l.client, "100.64.0.2:443"); !isSilence(err) {
						t.Errorf("dial: %v", err)
					}
					e := l.node.Await(t, blocked(notAllowed))
					if e.Flow.Src.String() != "100.64.0.2:443" {
						t.Errorf("blocked %v", e)
					}
					return
				}
				client, server := l.connect("443")
				nodetest.Pass(t, client, server, "hello")
				nodetest.Pass(t, server, client, "welcome")
				if intercepted {
					l.node.Await(t, is(trace.Relayed, client))
				}
				if n := l.tracked(t); n != 0 {
					t.Errorf("%d connections are tracked", n)
				}
				// No rule lets the server open one, and none is needed to answer.
				if err := dialFrom(l.server, "10.20.0.2:443"); !isSilence(err) {
					t.Errorf("dial: %v", err)
				}
			})
		}
	}
}

// tracked says how many connections of TCP the firewall's kernel knows.
func (l *lab) tracked(t *testing.T) int {
	t.Helper()
	n := 0
	l.firewall.MustDo(t, func() error {
		table, err := netfilter.OpenConntrack()
		if err != nil {
			return err
		}
		defer func() { _ = table.Close() }()
		entries, err := table.List()
		for _, e := range entries {
			if e.Orig.Protocol == netfilter.TCP {
				n++
			}
		}
		return err
	})
	return n
}

// soon is an idle timeout that tests wait for.
const soon = 2 * time.Second

// idle is a lab whose firewall forgets after the timeout.
func idle(t *testing.T, timeout time.Duration, onExpiry string, intercepted bool) *lab {
	t.Helper()
	l := newLab(t, func(s *Settings) {
		s.IdleTimeout, s.OnExpiry = timeout, onExpiry
		s.Rules = []Rule{{Direction: Outbound, Proto: "tcp", Port: []PortText{"443"}, Action: Accept}}
	})
	l.node.Call(t, "intercept", map[string]bool{"on": intercepted}, nil)
	return l
}

// TestExpiry checks each mode against the rows of the table of middleboxes: AWS Network
// Firewall (a black hole; only a SYN is accepted), AWS NLB (RST to whoever sends next), and
// Linux as it is.
func TestExpiry(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{Drop, Reset, Recover} {
		for _, speaker := range []string{"client", "server"} {
			for _, intercepted := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, intercepted %v", mode, speaker, intercepted), func(t *testing.T) {
					t.Parallel()
					l := idle(t, soon, mode, intercepted)
					client, server := l.connect("443")
					nodetest.Pass(t, client, server, "hello")
					e := l.node.Await(t, is(trace.ConnectionExpired, client))
					if e.Dur < 2*time.Second || e.Dur > 10*time.Second {
						t.Errorf("expired %v", e)
					}
					from, to := client, server
					if speaker == "server" {
						from, to = server, client
					}
					switch {
					case mode == Drop:
						write(t, from, "anyone?")
						l.node.Await(t, blocked(noConnection))
						nodetest.Nothing(t, from)
						nodetest.Nothing(t, to)
					case mode == Reset:
						write(t, from, "anyone?")
						nodetest.Reset(t, from)
						l.node.Await(t, blocked(noConnectionReset))
						nodetest.Nothing(t, to) // it learns when it sends
						write(t, to, "anyone?")
						nodetest.Reset(t, to)
					case speaker == "client":
						nodetest.Pass(t, from, to, "still there?")
						nodetest.Pass(t, to, from, "of course")
					default:
						write(t, from, "anyone?")
						l.node.Await(t, blocked(notAllowed)) // nothing lets a server open one
						nodetest.Nothing(t, to)
					}
					again, there := l.connectAgain(t)
					nodetest.Pass(t, again, there, "hello again") // a SYN is accepted
				})
			}
		}
	}
}

// TestExpiryOfBoth: of a connection that is taken over no leg outlives the other, though
// the kernel evicts one of them by itself: it does when anybody reads the table.
func TestExpiryOfBoth(t *testing.T) {
	t.Parallel()
	l := idle(t, soon, Reset, true)
	client, server := l.connect("443")
	nodetest.Pass(t, client, server, "hello")
	relayed := l.node.Await(t, is(trace.Relayed, client))
	l.firewall.MustDo(t, func() error {
		table, err := netfilter.OpenConntrack()
		if err != nil {
			return err
		}
		defer func() { _ = table.Close() }()
		if err := table.SetTimeout(netfilter.TCPTuple(*relayed.Next), time.Minute); err != nil {
			return err
		}
		for start := time.Now(); l.node.Count(trace.ConnectionExpired) == 0; {
			if _, err := table.List(); err != nil {
				return err
			}
			if time.Since(start) > 30*time.Second {
				return errors.New("it does not expire")
			}
		}
		return nil
	})
	write(t, server, "anyone?")
	nodetest.Reset(t, server)
}

// connectAgain opens a connection on the port that is listened on already.
func (l *lab) connectAgain(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	client = l.client.MustDial(t, "100.64.0.2:443")
	return client, nodetest.Accept(t, l.listener)
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// TestKeepalive: what passes keeps a connection, and the firewall tells how close it was.
func TestKeepalive(t *testing.T) {
	t.Parallel()
	for _, intercepted := range []bool{false, true} {
		l := idle(t, 5*time.Second, Drop, intercepted)
		client, server := l.connect("443")
		for range 5 {
			time.Sleep(1300 * time.Millisecond) // of silence, a fraction of the timeout; all together more
			nodetest.Pass(t, client, server, "ping")
		}
		e := l.node.Await(t, is(trace.ConnectionRefreshed, client))
		if e.Dur < time.Second || e.Dur > 10*time.Second {
			t.Errorf("refreshed %v", e)
		}
		if n := l.node.Count(trace.ConnectionExpired); n != 0 {
			t.Errorf("%d connections expired", n)
		}
		_ = client.Close()
		_ = server.Close()
		l.node.Await(t, is(trace.ConnectionClosed, client))
	}
}

// TestAdoptExpired takes a connection over, and forgets it.
func TestAdoptExpired(t *testing.T) {
	t.Parallel()
	l := idle(t, soon, Drop, false)
	client, server := l.connect("443")
	nodetest.Pass(t, client, server, "hello")
	l.node.Call(t, "intercept", map[string]bool{"on": true}, nil)
	l.node.Await(t, is(trace.Relayed, client))
	nodetest.Pass(t, client, server, "still there?")
	l.node.Await(t, is(trace.ConnectionExpired, client))
	write(t, client, "anyone?")
	l.node.Await(t, blocked(noConnection))
	nodetest.Nothing(t, client)
	nodetest.Nothing(t, server)
}

// TestFlush: a firewall that is told to forget everything stops what it has forgotten.
func TestFlush(t *testing.T) {
	t.Parallel()
	l := idle(t, soon, Reset, false)
	client, server := l.connect("443")
	nodetest.Pass(t, client, server, "hello")
	l.node.Await(t, is(trace.ConnectionTracked, client))
	l.node.Call(t, "flush", nil, nil)
	e := l.node.AwaitType(t, trace.ConnectionFlushed)
	if *e.Flow != relay.Opened(client) || e.Next != nil {
		t.Errorf("flushed %v", e)
	}
	write(t, server, "anyone?")
	nodetest.Reset(t, server)
}

// TestStatelessToxic: new connections get a toxic, and it is said that open ones do not.
func TestStatelessToxic(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *Settings) {
		s.Stateful = false
		s.Rules = []Rule{{Action: Accept}}
	})
	client, server := l.connect("443")
	nodetest.Pass(t, client, server, "hello")
	l.node.Call(t, "toxic.add", nodetest.Latency(300*time.Millisecond), nil)
	l.node.Await(t, func(e trace.Event) bool { return e.Type == trace.Log && strings.Contains(e.Detail, "without state") })
	nodetest.Pass(t, client, server, "still there?")
	client, server = l.connectAgain(t)
	if took := nodetest.RoundTrip(t, client, server); took < 300*time.Millisecond {
		t.Errorf("round trip of %v with a latency of 300ms", took)
	}
}
