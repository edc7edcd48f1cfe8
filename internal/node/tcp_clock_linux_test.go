package node_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/node/nodetest"
)

// TestTCPClock: what is lost is sent again sooner by the lab's speed, on the node's own networks
// and on those behind a router, also after its address has changed.
func TestTCPClock(t *testing.T) {
	client, machine, spec := machines(t)
	spec.Speed = 10
	spec.Interfaces[0].Spare = netip.MustParseAddr("10.20.0.254")
	n := machine.Start(t, echoKind(), &echoSettings{Greet: "hello"}, spec)
	l := client.Listen(t, "10.20.0.2:80")
	check := func() {
		t.Helper()
		c := machine.MustDial(t, "10.20.0.2:80")
		nodetest.Pass(t, c, nodetest.Accept(t, l), "hello")
		if rto := retransmissionTimeout(t, c); rto < 10*time.Millisecond || rto > 100*time.Millisecond {
			t.Errorf("what is lost is sent again after %v, at speed 10", rto)
		}
		routed(t, machine, "10.9.0.0/24", "10.20.0.2")
	}
	check()
	n.Call(t, "address.change", map[string]string{"network": "office"}, nil)
	check()
	n.Call(t, "restart", map[string]any{"down": 0}, nil)
	n.Call(t, "status", nil, nil)
	check()
}

// TestTCPClockInRealTime: at speed 1 it is the kernel's.
func TestTCPClockInRealTime(t *testing.T) {
	client, machine, spec := machines(t)
	machine.Start(t, echoKind(), &echoSettings{Greet: "hello"}, spec)
	l := client.Listen(t, "10.20.0.2:80")
	c := machine.MustDial(t, "10.20.0.2:80")
	nodetest.Pass(t, c, nodetest.Accept(t, l), "hello")
	if rto := retransmissionTimeout(t, c); rto < 200*time.Millisecond {
		t.Errorf("what is lost is sent again after %v", rto)
	}
}

func retransmissionTimeout(t *testing.T, c *net.TCPConn) time.Duration {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	var failed error
	if err := raw.Control(func(fd uintptr) {
		info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return time.Duration(info.Rto) * time.Microsecond
}
