package firewall

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

func TestMain(m *testing.M) { nodetest.Main(m, Kind()) }

// lab is a client and a server with a firewall between them.
type lab struct {
	t                        *testing.T
	client, firewall, server *nodetest.Host
	node                     *nodetest.Node
	listener                 *net.TCPListener // the latest
}

// with returns settings with their defaults, an allow list and what change changes.
func with(change func(*Settings)) *Settings {
	s := Kind().Settings().(*Settings)
	s.Allow = []string{"tcp/80", "tcp/443"}
	if change != nil {
		change(s)
	}
	if len(s.Rules) > 0 {
		s.Allow = nil
	}
	return s
}

func newLab(t *testing.T, change func(*Settings)) *lab {
	t.Helper()
	settings := with(change)
	l := &lab{t: t, client: nodetest.NewHost(t, "client"), firewall: nodetest.NewHost(t, "firewall"), server: nodetest.NewHost(t, "server")}
	nodetest.Cable(t, l.client, "10.20.0.2/24", l.firewall, "10.20.0.1/24")
	nodetest.Cable(t, l.firewall, "100.64.0.1/24", l.server, "100.64.0.2/24")
	l.client.Route(t, "100.64.0.0/24", "10.20.0.1")
	l.server.Route(t, "10.20.0.0/24", "100.64.0.1")
	l.node = l.firewall.Start(t, Kind(), settings, topology.NodeSpec{
		Interfaces: []topology.Interface{
			nodetest.Interface("office", "10.20.0.1/24"),
			nodetest.Interface("isp", "100.64.0.1/24"),
		},
		Networks: []topology.PlannedNetwork{network("office", "10.20.0.0/24"), network("isp", "100.64.0.0/24")},
	})
	return l
}

func network(name, prefix string) topology.PlannedNetwork {
	p := netip.MustParsePrefix(prefix)
	return topology.PlannedNetwork{Name: name, Prefix: p, Asked: p}
}

// connect opens a connection through the firewall.
func (l *lab) connect(port string) (client, server *net.TCPConn) {
	l.t.Helper()
	l.listener = l.server.Listen(l.t, "100.64.0.2:"+port)
	client = l.client.MustDial(l.t, "100.64.0.2:"+port)
	return client, nodetest.Accept(l.t, l.listener)
}

func (l *lab) tryDial(address string, d time.Duration) error {
	return l.client.Do(func() error {
		c, err := net.DialTimeout("tcp4", address, d)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

func timedOut(err error) bool {
	var failed net.Error
	return errors.As(err, &failed) && failed.Timeout()
}

func blocked(rule string) func(trace.Event) bool {
	return func(e trace.Event) bool { return e.Type == trace.Blocked && e.Detail == rule }
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	for _, intercepted := range []bool{false, true} {
		l := newLab(t, nil)
		l.node.Call(t, "intercept", map[string]bool{"on": intercepted}, nil)
		client, server := l.connect("443")
		nodetest.Pass(t, client, server, "hello")
		nodetest.Pass(t, server, client, "welcome")
		if got := server.RemoteAddr().(*net.TCPAddr).IP.String(); got != "10.20.0.2" {
			t.Errorf("the server sees %s", got)
		}
		if intercepted {
			l.node.Await(t, is(trace.Relayed, client))
		} else if n := l.node.Count(trace.Relayed); n != 0 {
			t.Errorf("%d connections are relayed", n)
		}
	}
}

func TestDropped(t *testing.T) {
	t.Parallel()
	for _, intercepted := range []bool{false, true} {
		l := newLab(t, nil)
		l.node.Call(t, "intercept", map[string]bool{"on": intercepted}, nil)
		l.server.Listen(t, "100.64.0.2:8080")
		if err := l.tryDial("100.64.0.2:8080", 500*time.Millisecond); !timedOut(err) {
			t.Errorf("dial: %v", err)
		}
		e := l.node.Await(t, blocked(notAllowed))
		if e.Flow.Dst.Port() != 8080 || e.Flow.Src.Addr().String() != "10.20.0.2" || e.Count != 1 {
			t.Errorf("blocked %v", e)
		}
	}
}

func TestRejected(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *Settings) { s.OnDeny = Reject })
	l.server.Listen(t, "100.64.0.2:8080")
	if err := l.tryDial("100.64.0.2:8080", nodetest.Patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}
	l.node.Await(t, blocked(notAllowedRejected))
	err := l.client.Do(func() error {
		c, err := net.Dial("udp4", "100.64.0.2:53")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, _ = c.Write([]byte("query"))
		_ = c.SetReadDeadline(time.Now().Add(nodetest.Patience))
		_, err = c.Read(make([]byte, 1))
		return err
	})
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("udp: %v", err)
	}
}

// TestNotForwarded: what is for everybody on a network is for no router to judge.
func TestNotForwarded(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	// The last one, which is judged, comes behind the others.
	l.client.MustDo(t, func() error {
		for _, address := range []string{"224.0.0.251:5353", "10.20.0.255:9", "100.64.0.2:53"} {
			c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 20, 0, 2)}, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
			if err != nil {
				return err
			}
			_, err = c.Write([]byte("hello"))
			_ = c.Close() // it was sent
			if err != nil {
				return err
			}
		}
		return nil
	})
	if e := l.node.AwaitType(t, trace.Blocked); e.Flow.Dst.Port() != 53 {
		t.Errorf("blocked %v", e)
	}
}

const upgrade = "GET /chat HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"

func TestInspectReset(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *Settings) { s.Inspect.WebSocket = Reset })
	client, server := l.connect("80")
	for _, part := range []string{upgrade[:10], upgrade[10:60], upgrade[60:]} {
		if _, err := client.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // segments of their own
	}
	nodetest.Reset(t, client)
	nodetest.Reset(t, server)
	e := l.node.AwaitType(t, trace.Inspected)
	if *e.Flow != relay.Opened(client) || e.Detail != "inspect.websocket: reset" {
		t.Errorf("inspected %v", e)
	}
}

// TestInspectSamePort: a client that comes again from the port of a connection that was reset
// is looked at again, though the connection table still has the one before.
func TestInspectSamePort(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *Settings) { s.Inspect.WebSocket = Reset })
	l.listener = l.server.Listen(t, "100.64.0.2:80")
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 20, 0, 2), Port: 40000}, Timeout: nodetest.Patience}
	for range 3 {
		var client net.Conn
		err := l.client.Do(func() (err error) {
			client, err = from.Dial("tcp4", "100.64.0.2:80")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		server := nodetest.Accept(t, l.listener)
		if _, err := client.Write([]byte(upgrade)); err != nil {
			t.Fatal(err)
		}
		nodetest.Reset(t, client)
		nodetest.Reset(t, server)
		_ = client.Close() // its port is free again
	}
}

func TestInspectBlackHole(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *Settings) { s.Inspect.WebSocket = BlackHole })
	client, server := l.connect("80")
	if _, err := client.Write([]byte(upgrade)); err != nil {
		t.Fatal(err)
	}
	e := l.node.AwaitType(t, trace.Inspected)
	if *e.Flow != relay.Opened(client) || e.Detail != "inspect.websocket: black-hole" {
		t.Errorf("inspected %v", e)
	}
	l.node.Await(t, is(trace.RelayClosed, client))
	if _, err := client.Write([]byte("anyone?")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write([]byte("anyone?")); err != nil {
		t.Fatal(err)
	}
	nodetest.Nothing(t, client)
	nodetest.Nothing(t, server)
	l.node.Await(t, blocked("inspection: dropped"))
}

func is(typ trace.Type, client net.Conn) func(trace.Event) bool {
	flow := relay.Opened(client)
	return func(e trace.Event) bool { return e.Type == typ && e.Flow != nil && *e.Flow == flow }
}

func TestInspectPass(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *Settings) { s.Inspect.WebSocket = Reset })
	for port, text := range map[string]string{
		"80":  "GET / HTTP/1.1\r\nHost: server\r\n\r\n",
		"443": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + upgrade,
	} {
		client, server := l.connect(port)
		nodetest.Pass(t, server, client, "220 the server speaks first\r\n")
		nodetest.Pass(t, client, server, text)
		nodetest.Pass(t, server, client, "answer")
	}
	if n := l.node.Count(trace.Inspected); n != 0 {
		t.Errorf("%d streams were stopped", n)
	}
}

// TestAdopt adds a toxic while connections are open, one idle and one busy.
func TestAdopt(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	client, server := l.connect("443")
	before := nodetest.RoundTrip(t, client, server)
	busyClient, busyServer := l.connect("80")
	stop := make(chan struct{})
	var flowing sync.WaitGroup
	for _, s := range []nodetest.Stream{{From: busyClient, To: busyServer}, {From: busyServer, To: busyClient}} {
		flowing.Go(func() {
			n, err := s.Run(stop, 0)
			if err != nil {
				t.Errorf("after %d bytes: %v", n, err)
			}
			t.Logf("%d bytes", n)
		})
	}
	time.Sleep(200 * time.Millisecond) // bytes flow
	l.node.Call(t, "toxic.add", nodetest.Latency(300*time.Millisecond), nil)
	with := nodetest.RoundTrip(t, client, server)
	if with < 300*time.Millisecond || with > 3*time.Second {
		t.Errorf("round trip of %v with a latency of 300ms", with)
	}
	l.node.Call(t, "toxic.remove", map[string]string{"name": "slow"}, nil)
	after := nodetest.RoundTrip(t, client, server)
	time.Sleep(300 * time.Millisecond)
	close(stop)
	flowing.Wait()
	t.Logf("round trip %v, %v with the toxic, %v after it", before, with, after)
	l.node.Await(t, is(trace.Relayed, client))
	l.node.Await(t, is(trace.Relayed, busyClient))
	for _, e := range l.node.Events() {
		if e.Err != "" {
			t.Error(e)
		}
	}
}

// TestRestart: what the kernel forwards outlives a restart, after a silence.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	client, server := l.connect("443")
	nodetest.Pass(t, client, server, "hello")
	const down = time.Second
	start := time.Now()
	l.node.Call(t, "restart", map[string]any{"down": down}, nil)
	l.node.AwaitType(t, trace.Restarting)
	nodetest.Pass(t, client, server, "still there?")
	if took := time.Since(start); took < down/2 {
		t.Errorf("passed after %v, while the firewall was down", took)
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.node.Call(t, "configure", map[string]any{"settings": map[string]any{"allow": []string{"tcp/8080"}}}, nil)
	l.node.Call(t, "status", nil, nil)
	client, server := l.connect("8080")
	nodetest.Pass(t, client, server, "hello")
	err := l.node.TryCall("configure", map[string]any{"settings": map[string]any{"alow": 1}}, nil)
	if err == nil || !strings.Contains(err.Error(), "alow") {
		t.Errorf("configure: %v", err)
	}
}
