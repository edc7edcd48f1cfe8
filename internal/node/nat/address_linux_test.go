package nat

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
)

// seen is the address that the server sees a new connection come from.
func (l *lab) seen() string {
	l.t.Helper()
	client, server := l.connect()
	nodetest.Pass(l.t, client, server, "hello")
	nodetest.Pass(l.t, server, client, "welcome")
	return server.RemoteAddr().(*net.TCPAddr).IP.String()
}

// TestAddressChange gives the NAT another address outside, and then its own again.
func TestAddressChange(t *testing.T) {
	for _, test := range []struct {
		onExpiry string
		check    func(t *testing.T, l *lab, client *net.TCPConn)
	}{
		{Drop, func(t *testing.T, l *lab, client *net.TCPConn) {
			l.node.Await(t, is(trace.Blocked, relay.Opened(client)))
			nodetest.Nothing(t, client)
		}},
		{Reset, func(t *testing.T, _ *lab, client *net.TCPConn) { nodetest.Reset(t, client) }},
		// A new mapping is made, from the new address: that is nobody to the server.
		{Recover, func(t *testing.T, _ *lab, client *net.TCPConn) { nodetest.Reset(t, client) }},
	} {
		for _, intercepted := range []bool{false, true} {
			name := test.onExpiry + map[bool]string{true: ", intercepted"}[intercepted]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := newLabWith(t, Settings{IdleTimeout: time.Minute, OnExpiry: test.onExpiry})
				if intercepted {
					l.intercept(true)
				}
				client, server := l.connect()
				nodetest.Pass(t, client, server, "hello")
				nodetest.Pass(t, server, client, "welcome")
				l.changeAddress()
				if e := l.node.AwaitType(t, trace.AddressChanged); e.Detail != natAddr+" > "+spareAddr {
					t.Errorf("changed %s", e.Detail)
				}
				flushed := l.node.AwaitType(t, trace.MappingFlushed)
				if *flushed.Next != relay.Accepted(server) {
					t.Errorf("flushed %v", flushed.Next)
				}
				if intercepted && test.onExpiry != Recover {
					l.node.AwaitType(t, trace.RelayClosed)
				}
				_, _ = client.Write([]byte("anyone?"))
				test.check(t, l, client)
				_, _ = server.Write([]byte("push"))
				nodetest.Nothing(t, server)

				if got := l.seen(); got != spareAddr {
					t.Errorf("the server sees %s", got)
				}
				l.node.Call(t, "restart", map[string]any{"down": 0}, nil)
				l.node.Call(t, "status", nil, nil)
				if got := l.seen(); got != spareAddr {
					t.Errorf("after a restart the server sees %s", got)
				}
				l.changeAddress()
				if got := l.seen(); got != natAddr {
					t.Errorf("after a change back the server sees %s", got)
				}
				if n := l.node.Count(trace.MappingExpired); n != 0 {
					t.Errorf("%d mappings expired", n)
				}
			})
		}
	}
}

func (l *lab) changeAddress() {
	l.t.Helper()
	l.node.Call(l.t, "address.change", map[string]string{"network": "internet"}, nil)
}

// TestAddressChangeRefused asks for what cannot be.
func TestAddressChangeRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, Drop)
	for _, network := range []string{"office", "nowhere", ""} {
		if err := l.node.TryCall("address.change", map[string]string{"network": network}, nil); err == nil {
			t.Errorf("the address on %q is another one", network)
		}
	}
	if n := l.node.Count(trace.AddressChanged); n != 0 {
		t.Errorf("%d addresses were changed", n)
	}
}

// TestForwardFollowsAddress: a port forward is at whatever address the NAT has.
func TestForwardFollowsAddress(t *testing.T) {
	t.Parallel()
	l := newLabWith(t, Settings{IdleTimeout: time.Minute, OnExpiry: Drop, Forward: map[string]string{"tcp/8443": "alice:443"}, Hairpin: true})
	inside := l.client.Listen(t, "10.20.0.2:443")
	l.changeAddress()
	l.refused(l.server, natAddr+":8443")
	for _, from := range []*nodetest.Host{l.server, l.client} {
		out := from.MustDial(t, spareAddr+":8443")
		nodetest.Pass(t, out, nodetest.Accept(t, inside), "hello")
	}
}

const spareAddr = "203.0.113.254"

func labHosts() map[string]netip.Addr {
	return map[string]netip.Addr{"alice": netip.MustParseAddr("10.20.0.2")}
}
