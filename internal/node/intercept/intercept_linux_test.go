package intercept_test

import (
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/firewall"
	"github.com/wslab/wslab/internal/node/nat"
	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

func TestMain(m *testing.M) { nodetest.Main(m, firewall.Kind(), nat.Kind()) }

// TestThroughBoth adopts a connection at a NAT and then at the firewall before it:
// each has to bear what the other sends, probes included.
func TestThroughBoth(t *testing.T) {
	client, server := nodetest.NewHost(t, "client"), nodetest.NewHost(t, "server")
	wall, translator := nodetest.NewHost(t, "firewall"), nodetest.NewHost(t, "nat")
	nodetest.Cable(t, client, "10.20.0.2/24", wall, "10.20.0.1/24")
	nodetest.Cable(t, wall, "100.64.0.1/24", translator, "100.64.0.2/24")
	nodetest.Cable(t, translator, "203.0.113.1/24", server, "203.0.113.2/24")
	client.Route(t, "203.0.113.0/24", "10.20.0.1")

	route := func(dst, via string) topology.Route {
		return topology.Route{Dst: nodetest.Interface("", dst).Addr, Via: nodetest.Interface("", via+"/32").Addr.Addr()}
	}
	settings := firewall.Kind().Settings().(*firewall.Settings)
	settings.Allow = []string{"tcp/443"}
	wallNode := wall.Start(t, firewall.Kind(), settings, topology.NodeSpec{
		Interfaces: []topology.Interface{nodetest.Interface("office", "10.20.0.1/24"), nodetest.Interface("isp", "100.64.0.1/24")},
		Routes:     []topology.Route{route("203.0.113.0/24", "100.64.0.2")},
	})
	natNode := translator.Start(t, nat.Kind(), &nat.Settings{IdleTimeout: time.Minute, OnExpiry: nat.Drop}, topology.NodeSpec{
		Interfaces: []topology.Interface{nodetest.Interface("isp", "100.64.0.2/24"), nodetest.Interface("internet", "203.0.113.1/24")},
		Routes:     []topology.Route{route("10.20.0.0/24", "100.64.0.1")},
		// The wall has the ones below.
		OnwardPorts: [2]uint16{24576, 32767},
	})

	listener := server.Listen(t, "203.0.113.2:443")
	c := client.MustDial(t, "203.0.113.2:443")
	s := nodetest.Accept(t, listener)
	nodetest.Pass(t, c, s, "hello")

	for _, n := range []*nodetest.Node{natNode, wallNode} {
		n.Call(t, "toxic.add", nodetest.Latency(200*time.Millisecond), nil)
		n.Await(t, func(e trace.Event) bool { return e.Type == trace.Relayed && *e.Flow == relay.Opened(c) })
	}
	if took := nodetest.RoundTrip(t, c, s); took < 400*time.Millisecond || took > 3*time.Second {
		t.Errorf("round trip of %v with two latencies of 200ms", took)
	}
	for _, n := range []*nodetest.Node{natNode, wallNode} {
		n.Call(t, "toxic.remove", map[string]string{"name": "slow"}, nil)
		if got := n.Count(trace.Blocked); got != 0 {
			t.Errorf("%s stopped packets", n.Host.Name)
		}
	}
	if took := nodetest.RoundTrip(t, c, s); took > 200*time.Millisecond {
		t.Errorf("round trip of %v without toxics", took)
	}

	var result struct {
		Connections int `json:"connections"`
	}
	natNode.Call(t, "reset", nil, &result)
	if result.Connections != 1 {
		t.Errorf("reset %d connections", result.Connections)
	}
	nodetest.Reset(t, c)
	nodetest.Reset(t, s)
}

// TestPortOfBlackHole: the onward port of a connection that is a black hole is not used for another one,
// which would be in it as well.
func TestPortOfBlackHole(t *testing.T) {
	client, wall, server := nodetest.NewHost(t, "client"), nodetest.NewHost(t, "firewall"), nodetest.NewHost(t, "server")
	nodetest.Cable(t, client, "10.20.0.2/24", wall, "10.20.0.1/24")
	nodetest.Cable(t, wall, "100.64.0.1/24", server, "100.64.0.2/24")
	client.Route(t, "100.64.0.0/24", "10.20.0.1")
	server.Route(t, "10.20.0.0/24", "100.64.0.1")
	settings := firewall.Kind().Settings().(*firewall.Settings)
	settings.Allow = []string{"tcp/80"}
	settings.Inspect.WebSocket = firewall.BlackHole
	const ports = 4
	node := wall.Start(t, firewall.Kind(), settings, topology.NodeSpec{
		Interfaces:  []topology.Interface{nodetest.Interface("office", "10.20.0.1/24"), nodetest.Interface("isp", "100.64.0.1/24")},
		OnwardPorts: [2]uint16{20000, 20000 + ports - 1},
	})
	listener := server.Listen(t, "100.64.0.2:80")
	for range ports {
		c := client.MustDial(t, "100.64.0.2:80")
		nodetest.Accept(t, listener)
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		node.Await(t, func(e trace.Event) bool { return e.Type == trace.RelayClosed && *e.Flow == relay.Opened(c) })
	}
}
