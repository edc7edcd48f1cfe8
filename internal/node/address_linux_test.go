package node_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/trace"
)

// TestAddressChange gives a node another address: what it had is dead and is told
// nothing, what comes afterwards has the new one and the routes of before.
func TestAddressChange(t *testing.T) {
	client, machine, spec := machines(t)
	spec.Interfaces[0].Spare = netip.MustParseAddr("10.20.0.254")
	n := machine.Start(t, echoKind(), &echoSettings{Greet: "hello"}, spec)
	l := client.Listen(t, "10.20.0.2:80")
	before := machine.MustDial(t, "10.20.0.2:80")
	peer := nodetest.Accept(t, l)
	nodetest.Pass(t, before, peer, "hello")

	change := func(want string) {
		t.Helper()
		n.Call(t, "address.change", map[string]string{"network": "office"}, nil)
		n.Await(t, func(e trace.Event) bool { return e.Type == trace.AddressChanged && e.Detail == want })
	}
	change("10.20.0.3 > 10.20.0.254")
	_, _ = before.Write([]byte("anyone?"))
	nodetest.Nothing(t, peer)
	_ = before.SetReadDeadline(time.Now().Add(time.Second))
	var timeout net.Error
	if _, err := before.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("the old connection is told %v", err)
	}
	after := machine.MustDial(t, "10.20.0.2:80")
	if got := after.LocalAddr().(*net.TCPAddr).IP.String(); got != "10.20.0.254" {
		t.Errorf("a new connection comes from %s", got)
	}
	nodetest.Pass(t, after, nodetest.Accept(t, l), "hello")
	read(t, client.MustDial(t, "10.20.0.254:7"), "hello")
	routed(t, machine, "10.9.0.0/24", "10.20.0.2")

	n.Call(t, "restart", map[string]any{"down": 0}, nil)
	n.Call(t, "status", nil, nil) // it finds its interface by the other address
	change("10.20.0.254 > 10.20.0.3")
	read(t, client.MustDial(t, "10.20.0.3:7"), "hello")
	routed(t, machine, "10.9.0.0/24", "10.20.0.2")
	if err := client.Do(func() error {
		c, err := net.DialTimeout("tcp4", "10.20.0.254:7", time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	}); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the address that was given back answers: %v", err)
	}
}

// routed checks that there is a route, and that it leads out.
func routed(t *testing.T, h *nodetest.Host, dst, via string) {
	t.Helper()
	h.MustDo(t, func() error {
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.Dst != nil && r.Dst.String() == dst && r.Gw.String() == via {
				return nil
			}
		}
		return errors.New("no route to " + dst + " via " + via)
	})
}

// TestAddressChangeRefused asks a node that has no other address, or not there.
func TestAddressChangeRefused(t *testing.T) {
	_, machine, spec := machines(t)
	n := machine.Start(t, echoKind(), &echoSettings{}, spec)
	for network, want := range map[string]string{"office": "has no second address", "isp": "is not on network"} {
		err := n.TryCall("address.change", map[string]string{"network": network}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("on %s: %v", network, err)
		}
	}
}
