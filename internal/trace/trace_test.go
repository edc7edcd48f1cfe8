package trace

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds float64, e Event) Event {
	e.Time = start.Add(time.Duration(seconds * float64(time.Second)))
	return e
}

func flow(src, dst string) *Flow {
	return &Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

func TestNew(t *testing.T) {
	events := []Event{
		at(2, Event{Node: "nat", Type: MappingExpired}),
		at(1, Event{Node: "alice", Type: Open, Session: "a", Conn: 1}),
		at(2, Event{Node: "alice", Type: Sent, Session: "a", Conn: 1}),
	}
	tr := New(start, start.Add(10*time.Second), 5, events)
	var types []Type
	for _, e := range tr.Events {
		types = append(types, e.Type)
	}
	if !slices.Equal(types, []Type{Open, MappingExpired, Sent}) {
		t.Errorf("order: %v", types)
	}
	if events[0].Type != MappingExpired {
		t.Error("the caller's slice was changed")
	}
	if got := tr.At(tr.Events[1].Time); got != 10*time.Second {
		t.Errorf("lab time %s", got)
	}
	if got := tr.Duration(); got != 50*time.Second {
		t.Errorf("duration %s", got)
	}
	if New(start, start, 0, nil).Speed != 1 {
		t.Error("no speed is real time")
	}
}

func TestMatch(t *testing.T) {
	tr := New(start, start, 1, []Event{
		at(1, Event{Node: "alice", Type: Open, Session: "a", Conn: 1}),
		at(2, Event{Node: "alice", Type: Close, Session: "a", Conn: 1}),
		at(3, Event{Node: "alice", Type: Open, Session: "a", Conn: 2}),
		at(4, Event{Node: "bob", Type: Open, Session: "b", Conn: 1}),
	})
	if e, ok := tr.First(OfType(Open), OfSession("a"), OfConn(2)); !ok || e.Time != start.Add(3*time.Second) {
		t.Errorf("first: %v %v", e, ok)
	}
	if e, ok := tr.Last(OfType(Open), OfNode("alice")); !ok || e.Conn != 2 {
		t.Errorf("last: %v %v", e, ok)
	}
	if _, ok := tr.Last(OfType(Sent)); ok {
		t.Error("found what is not there")
	}
	n := 0
	for range tr.All(Between(start.Add(2*time.Second), start.Add(4*time.Second))) {
		n++
	}
	if n != 2 {
		t.Errorf("%d events between", n)
	}
}

func TestChain(t *testing.T) {
	var (
		toProxy = flow("10.20.0.2:5000", "10.20.0.3:3128")
		dmz     = flow("10.20.1.3:6000", "203.0.113.3:443")
		relayed = flow("10.20.1.3:6001", "203.0.113.3:443")
		outside = flow("203.0.113.2:6001", "203.0.113.3:443")
	)
	open := at(1, Event{Node: "alice", Type: Open, Session: "a", Conn: 1, Flow: toProxy})
	accepted := at(1.1, Event{Node: "server", Type: Accepted, Session: "a", Flow: outside})
	way := []Event{
		at(.8, Event{Node: "http-proxy", Type: Relayed, Flow: toProxy, Next: dmz}),
		at(.85, Event{Node: "firewall", Type: Relayed, Flow: dmz, Next: relayed}),
		at(.9, Event{Node: "nat", Type: MappingCreated, Flow: relayed, Next: outside}),
		open, accepted,
	}
	tests := []struct {
		name   string
		events []Event
		nodes  []string
		server string
		relay  string
	}{
		{"through proxy, firewall and NAT", way, []string{"http-proxy", "firewall", "nat"}, "server", "http-proxy"},
		{"direct", []Event{open, at(1, Event{Node: "server", Type: Accepted, Session: "a", Flow: toProxy})}, nil, "server", ""},
		{"nobody recorded anything", []Event{open}, nil, "", ""},
		{"ports that were used before", append([]Event{
			at(.1, Event{Node: "http-proxy", Type: Relayed, Flow: toProxy, Next: flow("10.20.1.3:1", "203.0.113.3:443")}),
			at(9, Event{Node: "http-proxy", Type: Relayed, Flow: toProxy, Next: flow("10.20.1.3:2", "203.0.113.3:443")}),
		}, way...), []string{"http-proxy", "firewall", "nat"}, "server", "http-proxy"},
		{"a node that leaves the flow as it is", []Event{
			at(.9, Event{Node: "nat", Type: MappingCreated, Flow: toProxy, Next: toProxy}), open,
		}, []string{"nat"}, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := New(start, start, 1, test.events).Chain(open)
			var nodes []string
			for _, h := range c.Hops {
				nodes = append(nodes, h.Node)
			}
			if !slices.Equal(nodes, test.nodes) || c.Server != test.server {
				t.Errorf("hops %v, server %q", nodes, c.Server)
			}
			if relay, ok := c.Relay(); relay != test.relay || ok != (relay != "") {
				t.Errorf("relay %q", relay)
			}
			for _, n := range test.nodes {
				if !c.Passes(n) {
					t.Errorf("does not pass %s", n)
				}
			}
			if c.Passes("elsewhere") || c.Passes("") {
				t.Error("passes a node that is not on the way")
			}
		})
	}
	c := New(start, start, 1, way).Chain(open)
	reversed := outside.Reverse()
	if !c.Has(Event{Flow: &reversed}) || !c.Has(Event{Next: relayed}) || c.Has(Event{Flow: flow("1.2.3.4:5", "6.7.8.9:10")}) || c.Has(Event{}) {
		t.Error("the flows of the chain are seen from both ends, and no others")
	}
	if got := New(start, start, 1, nil).Chain(Event{}); len(got.Flows) != 0 {
		t.Errorf("a chain without a flow: %v", got)
	}
}

// TestChainThroughAProgram has a proxy on the way that records nothing: the way is
// known from both its ends.
func TestChainThroughAProgram(t *testing.T) {
	var (
		toProxy = flow("10.20.0.2:5000", "10.20.0.3:3128")
		again   = flow("10.20.0.2:5001", "10.20.0.3:3128")
		dmz     = flow("10.20.1.3:6000", "203.0.113.3:443")
		next    = flow("10.20.1.3:6002", "203.0.113.3:443")
		outside = flow("203.0.113.2:6000", "203.0.113.3:443")
		later   = flow("203.0.113.2:6002", "203.0.113.3:443")
	)
	first := at(1, Event{Node: "alice", Type: Open, Session: "a", Conn: 1, Flow: toProxy})
	second := at(5, Event{Node: "alice", Type: Open, Session: "a", Conn: 2, Flow: again})
	tr := New(start, start, 1, []Event{
		at(.8, Event{Node: "nat", Type: MappingCreated, Flow: dmz, Next: outside}),
		at(.9, Event{Node: "server", Type: Accepted, Session: "a", Flow: outside}),
		first,
		at(2, Event{Node: "server", Type: Accepted, Session: "b", Flow: flow("203.0.113.2:7", "203.0.113.3:443")}),
		at(4.8, Event{Node: "nat", Type: MappingCreated, Flow: next, Next: later}),
		second,
		at(5.1, Event{Node: "server", Type: Accepted, Session: "a", Flow: later}), // written down late
	})
	known := map[netip.Addr]string{
		netip.MustParseAddr("10.20.0.3"): "http-proxy", netip.MustParseAddr("10.20.1.3"): "http-proxy",
	}
	for _, test := range []struct {
		open  Event
		flows []Flow
	}{
		{first, []Flow{*toProxy, *dmz, *outside}},
		{second, []Flow{*again, *next, *later}},
	} {
		tr.Machines = known
		c := tr.Chain(test.open)
		if !slices.Equal(c.Flows, test.flows) || c.Server != "server" {
			t.Errorf("connection %d: %v to %q", test.open.Conn, c.Flows, c.Server)
		}
		if relay, ok := c.Relay(); !ok || relay != "http-proxy" || !c.Hops[0].Unseen || !c.Passes("nat") {
			t.Errorf("connection %d: hops %v", test.open.Conn, c.Hops)
		}
		// Whose addresses they are is not known: the way is, what is in between is not.
		tr.Machines = nil
		c = tr.Chain(test.open)
		if relay, ok := c.Relay(); ok || relay != "" || c.Passes("") || !c.Passes("nat") || !slices.Equal(c.Flows, test.flows) {
			t.Errorf("connection %d without machines: relay %q, hops %v", test.open.Conn, relay, c.Hops)
		}
		// Two programs in a row.
		tr.Machines = map[netip.Addr]string{netip.MustParseAddr("10.20.0.3"): "one", netip.MustParseAddr("10.20.1.3"): "two"}
		if relay, ok := tr.Chain(test.open).Relay(); ok || relay != "" {
			t.Errorf("connection %d through two: relay %q", test.open.Conn, relay)
		}
	}
	stranger := at(1, Event{Node: "alice", Type: Open, Session: "c", Conn: 1, Flow: toProxy})
	if c := tr.Chain(stranger); len(c.Hops) != 0 || c.Server != "" {
		t.Errorf("a session that no server knows: %+v", c)
	}
}
