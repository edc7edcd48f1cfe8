package nat

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

func TestMain(m *testing.M) { nodetest.Main(m, Kind()) }

// idle is the idle timeout of the tests. The kernel counts whole seconds.
const idle = 2 * time.Second

// lab is a client and a server with a NAT between them.
type lab struct {
	t                   *testing.T
	client, nat, server *nodetest.Host
	node                *nodetest.Node
	listener            *net.TCPListener
}

const (
	serverAddr = "203.0.113.2:443"
	natAddr    = "203.0.113.1"
)

func newLab(t *testing.T, onExpiry string) *lab {
	t.Helper()
	return newLabWith(t, Settings{IdleTimeout: idle, OnExpiry: onExpiry})
}

func newLabWith(t *testing.T, settings Settings) *lab {
	t.Helper()
	l := &lab{t: t, client: nodetest.NewHost(t, "client"), nat: nodetest.NewHost(t, "nat"), server: nodetest.NewHost(t, "server")}
	nodetest.Cable(t, l.client, "10.20.0.2/24", l.nat, "10.20.0.1/24")
	nodetest.Cable(t, l.nat, natAddr+"/24", l.server, "203.0.113.2/24")
	l.client.Route(t, "203.0.113.0/24", "10.20.0.1")
	l.node = l.nat.Start(t, Kind(), &settings, topology.NodeSpec{
		Interfaces: []topology.Interface{
			nodetest.Interface("office", "10.20.0.1/24"),
			outside(),
		},
		Hosts: labHosts(),
	})
	l.listener = l.server.Listen(t, serverAddr)
	return l
}

// outside is the NAT's place on the internet.
func outside() topology.Interface {
	i := nodetest.Interface("internet", natAddr+"/24")
	i.Spare = netip.MustParseAddr(spareAddr)
	return i
}

// connect opens a connection through the NAT.
func (l *lab) connect() (client, server *net.TCPConn) {
	l.t.Helper()
	client = l.client.MustDial(l.t, serverAddr)
	return client, nodetest.Accept(l.t, l.listener)
}

func is(typ trace.Type, flow trace.Flow) func(trace.Event) bool {
	return func(e trace.Event) bool { return e.Type == typ && e.Flow != nil && *e.Flow == flow }
}

// expire connects, lets the mapping expire, and checks the events.
func (l *lab) expire() (client, server *net.TCPConn) {
	l.t.Helper()
	client, server = l.connect()
	nodetest.Pass(l.t, client, server, "hello")
	nodetest.Pass(l.t, server, client, "welcome")
	last := time.Now()
	inside, outside := relay.Opened(client), relay.Accepted(server)
	created := l.node.Await(l.t, is(trace.MappingCreated, inside))
	if *created.Next != outside || outside.Src.Addr().String() != natAddr {
		l.t.Errorf("created %v, the server sees %v", created.Next, outside)
	}
	expired := l.node.Await(l.t, is(trace.MappingExpired, inside))
	if *expired.Next != outside {
		l.t.Errorf("expired %v, created %v", expired.Next, outside)
	}
	if after := expired.Time.Sub(last); after < idle-100*time.Millisecond || after > idle+2*time.Second {
		l.t.Errorf("expired %v after the last packet", after)
	}
	if expired.Dur < idle-200*time.Millisecond || expired.Dur > idle+2*time.Second {
		l.t.Errorf("expired, as it says, %v after the last packet", expired.Dur)
	}
	l.t.Logf("expired %v after the last packet, says %v", expired.Time.Sub(last), expired.Dur)
	return client, server
}

func TestDropClientSpeaksFirst(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.expire()
	if err := setUserTimeout(client, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := client.Write([]byte("anyone?")); err != nil {
		t.Fatal(err)
	}
	e := l.node.Await(t, is(trace.Blocked, relay.Opened(client)))
	if e.By != "client" || e.Detail != noMapping || e.Count != 1 || e.Next == nil || *e.Next != relay.Accepted(server) {
		t.Errorf("blocked: %v", e)
	}
	nodetest.Nothing(t, server)
	_ = client.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("the client is told %v", err)
	}
	t.Logf("ETIMEDOUT after %v", time.Since(start))
}

func setUserTimeout(c *net.TCPConn, d time.Duration) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d/time.Millisecond))
	})
	return errors.Join(err, inner)
}

func TestDropServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.expire()
	if _, err := server.Write([]byte("push")); err != nil {
		t.Fatal(err)
	}
	e := l.node.Await(t, is(trace.Blocked, relay.Opened(client)))
	if e.By != "server" || e.Detail != noMapping || *e.Next != relay.Accepted(server) {
		t.Errorf("blocked: %v", e)
	}
	nodetest.Nothing(t, client)
	nodetest.Nothing(t, server)
	client, server = l.connect() // the NAT itself is well
	nodetest.Pass(t, client, server, "again")
}

func TestResetClientSpeaksFirst(t *testing.T) {
	t.Parallel()
	l := newLab(t, Reset)
	client, server := l.expire()
	nodetest.Nothing(t, client) // not before it speaks
	if _, err := client.Write([]byte("anyone?")); err != nil {
		t.Fatal(err)
	}
	nodetest.Reset(t, client)
	nodetest.Nothing(t, server)
	if e := l.node.Await(t, is(trace.Blocked, relay.Opened(client))); e.By != "client" || e.Detail != noMappingReset {
		t.Errorf("blocked: %v", e)
	}
}

func TestResetServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	l := newLab(t, Reset)
	client, server := l.expire()
	if _, err := server.Write([]byte("push")); err != nil {
		t.Fatal(err)
	}
	if e := l.node.Await(t, is(trace.Blocked, relay.Opened(client))); e.By != "server" || e.Detail != noMapping {
		t.Errorf("blocked: %v", e)
	}
	nodetest.Nothing(t, server)
	nodetest.Nothing(t, client)
}

func TestRecoverClientSpeaksFirst(t *testing.T) {
	t.Parallel()
	l := newLab(t, Recover)
	client, server := l.expire()
	nodetest.Pass(t, client, server, "still there?")
	nodetest.Pass(t, server, client, "yes")
	if n := l.node.Count(trace.Blocked); n != 0 {
		t.Errorf("%d events about blocked packets", n)
	}
	inside := is(trace.MappingCreated, relay.Opened(client))
	n := 0
	l.node.Await(t, func(e trace.Event) bool {
		if inside(e) {
			n++
		}
		return n == 2
	})
}

func TestRecoverServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	l := newLab(t, Recover)
	client, server := l.expire()
	if _, err := server.Write([]byte("push")); err != nil {
		t.Fatal(err)
	}
	nodetest.Reset(t, server)
	nodetest.Nothing(t, client)
}

// TestRefresh sends more often than the mapping expires.
func TestRefresh(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.connect()
	nodetest.Pass(t, client, server, "hello")
	inside := relay.Opened(client)
	for range 3 {
		time.Sleep(idle - 800*time.Millisecond) // silence is what is tested
		nodetest.Pass(t, client, server, "ping")
	}
	n := 0
	l.node.Await(t, func(e trace.Event) bool {
		if is(trace.MappingRefreshed, inside)(e) {
			n++
			if e.Dur < idle-time.Second || e.Dur > idle {
				t.Errorf("refreshed after a silence of %v", e.Dur)
			}
		}
		return n == 3
	})
	if n := l.node.Count(trace.MappingExpired); n != 0 {
		t.Errorf("%d mappings expired", n)
	}
}

// TestTCPKeepalive is a client whose kernel sends keepalive segments.
func TestTCPKeepalive(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.connect()
	err := client.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2*idle + time.Second) // silence is what is tested
	nodetest.Pass(t, server, client, "push")
}

func TestClosed(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.connect()
	_, _ = client.Close(), server.Close()
	l.node.Await(t, is(trace.MappingClosed, relay.Opened(client)))

	client, _ = l.connect()
	_, _ = client.SetLinger(0), client.Close()
	l.node.Await(t, is(trace.MappingClosed, relay.Opened(client)))
	if n := l.node.Count(trace.MappingExpired); n != 0 {
		t.Errorf("%d mappings expired", n)
	}
}

func TestFlush(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.connect()
	nodetest.Pass(t, client, server, "hello")
	var result struct {
		Mappings int `json:"mappings"`
	}
	l.node.Call(t, "flush", nil, &result)
	if result.Mappings != 1 {
		t.Errorf("flushed %d mappings", result.Mappings)
	}
	l.node.Await(t, is(trace.MappingFlushed, relay.Opened(client)))
	if _, err := client.Write([]byte("anyone?")); err != nil {
		t.Fatal(err)
	}
	l.node.Await(t, is(trace.Blocked, relay.Opened(client)))
	nodetest.Nothing(t, server)
	if n := l.node.Count(trace.MappingExpired); n != 0 {
		t.Errorf("%d mappings expired", n)
	}
}

// TestRestart checks that a NAT that restarts forwards nothing while it is down and
// has forgotten everything afterwards.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	client, server := l.connect()
	nodetest.Pass(t, client, server, "hello")
	const down = 800 * time.Millisecond
	l.node.Call(t, "restart", map[string]any{"down": down}, nil)
	l.node.AwaitType(t, trace.Restarting)
	start := time.Now()
	c, err := l.client.Dial(t, serverAddr) // the SYN is sent again after a second
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < down/2 {
		t.Errorf("connected after %v, while the NAT was down", took)
	}
	nodetest.Pass(t, c, nodetest.Accept(t, l.listener), "hello again")
	l.node.Await(t, is(trace.MappingFlushed, relay.Opened(client)))
	if _, err := server.Write([]byte("push")); err != nil {
		t.Fatal(err)
	}
	nodetest.Nothing(t, client)
}

// TestConfigure changes the timeout of a running NAT.
func TestConfigure(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	const sysctl = "net.netfilter.nf_conntrack_tcp_timeout_established"
	if got := l.nat.Sysctl(t, sysctl); got != "2" {
		t.Errorf("%s is %s", sysctl, got)
	}
	l.node.Call(t, "configure", map[string]any{"settings": map[string]any{"idle_timeout": 7 * time.Second}}, nil)
	l.node.Call(t, "status", nil, nil)
	if got := l.nat.Sysctl(t, sysctl); got != "7" {
		t.Errorf("%s is %s", sysctl, got)
	}
}

// TestUnsolicited checks that the outside cannot open anything.
func TestUnsolicited(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	l.server.Route(t, "10.20.0.0/24", natAddr)
	l.client.Listen(t, "10.20.0.2:80")
	errs := make(chan error, 1)
	go func() {
		errs <- l.server.Do(func() error {
			c, err := net.DialTimeout("tcp4", "10.20.0.2:80", 500*time.Millisecond)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}()
	if err := <-errs; err == nil {
		t.Error("connected from the outside")
	}
	l.node.Await(t, func(e trace.Event) bool { return e.Type == trace.Blocked && e.Detail == unsolicited })
}
