package nat

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
)

func (l *lab) intercept(on bool) {
	l.t.Helper()
	l.node.Call(l.t, "intercept", map[string]bool{"on": on}, nil)
}

// TestInterceptedFlows checks that a connection can be followed through the NAT when
// it is intercepted: client, relay, mapping, server.
func TestInterceptedFlows(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	l.intercept(true)
	client, server := l.connect()
	nodetest.Pass(t, client, server, "hello")
	nodetest.Pass(t, server, client, "welcome")
	if got := server.RemoteAddr().(*net.TCPAddr).IP.String(); got != natAddr {
		t.Errorf("the server sees %s", got)
	}
	relayed := l.node.Await(t, is(trace.Relayed, relay.Opened(client)))
	created := l.node.Await(t, is(trace.MappingCreated, *relayed.Next))
	if *created.Next != relay.Accepted(server) {
		t.Errorf("created %v, the server sees %v", created.Next, relay.Accepted(server))
	}

	l.intercept(false)
	nodetest.Pass(t, client, server, "still there") // until it ends
	client2, server2 := l.connect()
	nodetest.Pass(t, client2, server2, "hello")
	l.node.Await(t, is(trace.MappingCreated, relay.Opened(client2)))

	_ = client.CloseWrite()
	_ = server.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the server reads %v after the client's FIN", err)
	}
	nodetest.Pass(t, server, client, "half open")
	_ = server.Close()
	_ = client.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v after the server's FIN", err)
	}
	l.node.Await(t, is(trace.RelayClosed, relay.Opened(client)))
}

func TestInterceptedRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	l.intercept(true)
	client, err := l.client.Dial(t, "203.0.113.2:81") // nobody listens
	if err == nil {
		nodetest.Reset(t, client)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	l.node.AwaitType(t, trace.RelayRefused)
}

// TestInterceptedExpiry checks that the idle timeout means the same for connections
// that are intercepted.
func TestInterceptedExpiry(t *testing.T) {
	for _, test := range []struct {
		onExpiry string
		check    func(t *testing.T, l *lab, client, server *net.TCPConn)
	}{
		{Drop, func(t *testing.T, l *lab, client, server *net.TCPConn) {
			_, _ = client.Write([]byte("anyone?"))
			l.node.Await(t, is(trace.Blocked, relay.Opened(client)))
			nodetest.Nothing(t, client)
			_, _ = server.Write([]byte("push"))
			nodetest.Nothing(t, server)
		}},
		{Reset, func(t *testing.T, l *lab, client, server *net.TCPConn) {
			nodetest.Nothing(t, client)
			_, _ = client.Write([]byte("anyone?"))
			nodetest.Reset(t, client)
			_, _ = server.Write([]byte("push"))
			nodetest.Nothing(t, server)
		}},
		{Recover, func(t *testing.T, l *lab, client, server *net.TCPConn) {
			nodetest.Pass(t, client, server, "still there?")
			nodetest.Pass(t, server, client, "yes")
		}},
	} {
		for _, adopted := range []bool{false, true} {
			name := test.onExpiry
			if adopted {
				name += ", adopted"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := newLab(t, test.onExpiry)
				if !adopted {
					l.intercept(true)
				}
				client, server := l.connect()
				nodetest.Pass(t, client, server, "hello")
				if adopted {
					l.intercept(true)
				}
				nodetest.Pass(t, server, client, "welcome")
				last := time.Now()
				relayed := l.node.Await(t, is(trace.Relayed, relay.Opened(client)))
				inside := *relayed.Next
				if adopted {
					inside = relay.Opened(client)
				}
				expired := l.node.Await(t, is(trace.MappingExpired, inside))
				if *expired.Next != relay.Accepted(server) {
					t.Errorf("expired %v, the server sees %v", expired.Next, relay.Accepted(server))
				}
				if after := expired.Time.Sub(last); after < idle-200*time.Millisecond || after > idle+2*time.Second {
					t.Errorf("expired %v after the last packet", after)
				}
				if test.onExpiry != Recover {
					l.node.Await(t, is(trace.RelayClosed, relay.Opened(client)))
				}
				test.check(t, l, client, server)
			})
		}
	}
}

// TestInterceptedTCPKeepalive: the client's keepalive ends at the relay, and yet has
// passed the NAT.
func TestInterceptedTCPKeepalive(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	l.intercept(true)
	client, server := l.connect()
	err := client.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2*idle + time.Second) // silence is what is tested
	nodetest.Pass(t, server, client, "push")
	nodetest.Pass(t, client, server, "pull")
}

// TestAdoptIdle adds a toxic while a connection is open and idle.
func TestAdoptIdle(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.connect()
	before := nodetest.RoundTrip(t, client, server)
	start := time.Now()
	l.node.Call(t, "toxic.add", nodetest.Latency(300*time.Millisecond), nil)
	took := time.Since(start)
	with := nodetest.RoundTrip(t, client, server)
	if with < 300*time.Millisecond || with > 2*time.Second {
		t.Errorf("round trip of %v with a latency of 300ms", with)
	}
	if e := l.node.Await(t, is(trace.Relayed, relay.Opened(client))); *e.Next != relay.Accepted(server) {
		t.Errorf("relayed to %v, the server sees %v", e.Next, relay.Accepted(server))
	}
	l.node.Call(t, "toxic.remove", map[string]string{"name": "slow"}, nil)
	after := nodetest.RoundTrip(t, client, server)
	if after > 200*time.Millisecond {
		t.Errorf("round trip of %v after the toxic was removed", after)
	}
	t.Logf("round trip %v, adopted in %v, %v with the toxic, %v after it", before, took, with, after)
	_ = client.Close()
	_ = server.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the server reads %v after the client's FIN", err)
	}
	_ = server.Close()
	l.node.Await(t, is(trace.RelayClosed, relay.Opened(client)))
	l.node.Await(t, is(trace.MappingClosed, relay.Opened(client)))
	if n := l.node.Count(trace.MappingCreated); n != 1 {
		t.Errorf("%d mappings were created", n)
	}
	if n := l.node.Count(trace.MappingExpired) + l.node.Count(trace.MappingFlushed); n != 0 {
		t.Errorf("%d mappings expired or were flushed", n)
	}
}

// TestAdoptBusy adds and removes a toxic while bytes flow in both directions.
func TestAdoptBusy(t *testing.T) {
	t.Parallel()
	for _, pace := range []time.Duration{0, 2 * time.Millisecond} {
		t.Run(pace.String(), func(t *testing.T) {
			l := newLab(t, Drop)
			client, server := l.connect()
			stop := make(chan struct{})
			var flowing sync.WaitGroup
			for _, s := range []nodetest.Stream{{From: client, To: server}, {From: server, To: client}} {
				flowing.Go(func() {
					n, err := s.Run(stop, pace)
					if err != nil {
						t.Errorf("%s > %s after %d bytes: %v", s.From.LocalAddr(), s.To.LocalAddr(), n, err)
					}
					t.Logf("%s > %s: %d bytes", s.From.LocalAddr(), s.To.LocalAddr(), n)
				})
			}
			time.Sleep(200 * time.Millisecond) // bytes flow
			l.node.Call(t, "toxic.add", nodetest.Latency(50*time.Millisecond), nil)
			time.Sleep(800 * time.Millisecond)
			l.node.Call(t, "toxic.remove", map[string]string{"name": "slow"}, nil)
			time.Sleep(500 * time.Millisecond)
			close(stop)
			flowing.Wait()
			l.node.Await(t, is(trace.Relayed, relay.Opened(client)))
			for _, e := range l.node.Events() {
				if e.Err != "" {
					t.Error(e)
				}
			}
		})
	}
}

// TestAdoptMany adopts many connections at once, all of them or the event says how many not.
func TestAdoptMany(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	const many = 40
	var clients, servers []*net.TCPConn
	for range many {
		c, s := l.connect()
		clients, servers = append(clients, c), append(servers, s)
	}
	start := time.Now()
	l.node.Call(t, "toxic.add", nodetest.Latency(200*time.Millisecond), nil)
	t.Logf("adopted in %v", time.Since(start))
	for i := range many {
		nodetest.Pass(t, clients[i], servers[i], "ping")
	}
	start = time.Now()
	for i := range many {
		if _, err := servers[i].Write([]byte("pong")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		_ = clients[i].SetReadDeadline(time.Now().Add(nodetest.Patience))
		if _, err := io.ReadFull(clients[i], make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 200*time.Millisecond {
			t.Fatalf("connection %d answers after %v", i, took)
		}
	}
}

// TestReset resets a connection on the kernel's path.
func TestReset(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.connect()
	nodetest.Pass(t, client, server, "hello")
	var result struct {
		Connections int `json:"connections"`
	}
	l.node.Call(t, "reset", nil, &result)
	if result.Connections != 1 {
		t.Errorf("reset %d connections", result.Connections)
	}
	nodetest.Reset(t, client)
	nodetest.Reset(t, server)
}

// TestAdoptUnreachable: an end that does not answer keeps its connection where it is.
func TestAdoptUnreachable(t *testing.T) {
	t.Parallel()
	l := newLabWith(t, Settings{IdleTimeout: time.Minute, OnExpiry: Drop})
	client, server := l.connect()
	nodetest.Pass(t, client, server, "hello")
	l.server.MustDo(t, func() error { return setLink("eth0", false) })
	l.intercept(true)
	e := l.node.Await(t, func(e trace.Event) bool { return e.Type == trace.Log && e.Err != "" })
	if e.Count != 1 || !strings.Contains(e.Detail, "could not be taken over") {
		t.Errorf("told %v", e)
	}
	l.server.MustDo(t, func() error { return setLink("eth0", true) })
	nodetest.Pass(t, client, server, "still there?")
	nodetest.Pass(t, server, client, "yes")
	if n := l.node.Count(trace.Relayed); n != 0 {
		t.Errorf("%d connections are relayed", n)
	}
}

func setLink(name string, up bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if up {
		return netlink.LinkSetUp(link)
	}
	return netlink.LinkSetDown(link)
}
