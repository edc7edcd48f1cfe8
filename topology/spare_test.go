package topology

import (
	"net/netip"
	"testing"
)

// TestSpares checks that whoever can change its address has another one on its network,
// which nobody else has.
func TestSpares(t *testing.T) {
	p := plan(t, load(t, twoNATs), PlanOptions{})
	used := make(map[netip.Addr]string)
	for _, n := range p.Networks {
		used[n.Reserved] = "the engine"
	}
	spares := make(map[string]string)
	for _, n := range p.Nodes {
		for _, i := range n.Interfaces {
			for _, a := range i.Addrs() {
				if other, taken := used[a]; taken {
					t.Errorf("%s and %s have %s", n.Name, other, a)
				}
				used[a] = n.Name
				if !i.Addr.Masked().Contains(a) || a == lastAddr(i.Addr.Masked()) || !i.Has(a) {
					t.Errorf("%s: %s is no address of %s", n.Name, a, i.Network)
				}
			}
			if i.Spare.IsValid() {
				spares[n.Name+" "+i.Network] = i.Spare.String()
			}
		}
	}
	for place, want := range map[string]string{"c home": "192.168.1.254", "nat carrier": "100.64.0.254"} {
		if spares[place] != want {
			t.Errorf("%s: %q, not %q", place, spares[place], want)
		}
	}
	if a, ok := spares["nat home"]; ok {
		t.Errorf("the NAT could change its inside address to %s", a)
	}
}

// TestNoSpareLeft has a network that is full: nobody's own address suffers for it.
func TestNoSpareLeft(t *testing.T) {
	p := plan(t, load(t, `
name: tight
networks: { home: 192.168.1.0/24, line: 203.0.113.0/29 }
nodes:
  c:   { kind: client, on: [home] }
  nat: { kind: nat, on: [home, line] }
  a:   { kind: server, on: [line] }
  b:   { kind: server, on: [line: 203.0.113.6] }
  d:   { kind: server, on: [line] }
  e:   { kind: server, on: [line] }
`), PlanOptions{})
	nat, _ := p.Node("nat")
	if line := nat.Interfaces[1]; line.Spare.IsValid() || len(line.Addrs()) != 1 {
		t.Errorf("the NAT has %s to spare", line.Spare)
	}
}

// TestSidesHaveNames: each address of a NAT has a name.
func TestSidesHaveNames(t *testing.T) {
	p := plan(t, load(t, twoNATs), PlanOptions{})
	nat, _ := p.Node("nat")
	c, _ := p.Node("c")
	for name, want := range map[string]netip.Addr{
		"nat": nat.Interfaces[0].Addr.Addr(), "nat.home": nat.Interfaces[0].Addr.Addr(), "nat.carrier": nat.Interfaces[1].Addr.Addr(),
	} {
		if got := c.Hosts[name]; got != want {
			t.Errorf("%s is %s, not %s", name, got, want)
		}
	}
	if _, ok := c.Hosts["s.internet"]; ok {
		t.Error("a server has a name for its network")
	}
}
