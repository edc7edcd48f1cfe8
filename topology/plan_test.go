package topology

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/labs"
)

func load(t *testing.T, src string) *Lab {
	t.Helper()
	l, err := Load("test.yaml", []byte(src), testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func embedded(t *testing.T, name string) *Lab {
	t.Helper()
	src, err := labs.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return load(t, string(src))
}

func plan(t *testing.T, l *Lab, o PlanOptions) *Plan {
	t.Helper()
	if o.Speed == 0 {
		o.Speed = 1
	}
	p, err := NewPlan(l, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// routesOf writes a node's routes as DST>VIA.
func routesOf(p *Plan, node string) []string {
	spec, _ := p.Node(node)
	var out []string
	for _, r := range spec.Routes {
		out = append(out, r.Dst.String()+">"+r.Via.String())
	}
	return out
}

func TestCorporateRoutes(t *testing.T) {
	p := plan(t, embedded(t, "corporate"), PlanOptions{})
	for node, want := range map[string][]string{
		"alice":      nil, // the proxies do not route
		"http-proxy": {"100.64.0.0/24>10.20.1.5", "203.0.113.0/24>10.20.1.5"},
		"firewall":   {"203.0.113.0/24>100.64.0.3"},
		"nat":        {"10.20.1.0/24>100.64.0.2"},
		"server":     nil, // what is behind the NAT is hidden
	} {
		if diff := cmp.Diff(want, routesOf(p, node)); diff != "" {
			t.Errorf("%s: -want +got\n%s", node, diff)
		}
	}
	alice, _ := p.Node("alice")
	if got := alice.Hosts["server"].String(); got != "203.0.113.3" {
		t.Errorf("alice resolves server to %s: names resolve where packets do not get to", got)
	}
	proxy, _ := p.Node("http-proxy")
	if got := proxy.Hosts["alice"].String(); got != "10.20.0.2" {
		t.Errorf("http-proxy resolves alice to %s", got)
	}
}

const twoNATs = `
name: cgn
networks:
  home: 192.168.1.0/24
  carrier: 100.64.0.0/24
  internet: 203.0.113.0/24
nodes:
  c:   { kind: client, on: [home] }
  nat: { kind: nat, on: [home, carrier] }
  cgn: { kind: nat, on: [carrier, internet] }
  s:   { kind: server, on: { internet: 203.0.113.80 } }
`

func TestTwoNATsInARow(t *testing.T) {
	p := plan(t, load(t, twoNATs), PlanOptions{})
	want := []string{"100.64.0.0/24>192.168.1.3", "203.0.113.0/24>192.168.1.3"}
	if diff := cmp.Diff(want, routesOf(p, "c")); diff != "" {
		t.Error(diff)
	}
	if got := routesOf(p, "cgn"); got != nil {
		t.Errorf("the carrier's NAT has a route into the home: %v", got)
	}
	s, _ := p.Node("s")
	if got := s.Interfaces[0].Addr.String(); got != "203.0.113.80/24" {
		t.Errorf("server is at %s", got)
	}
}

// TestOnwardPorts: no two nodes make connections in a client's name from the same ports.
func TestOnwardPorts(t *testing.T) {
	l := embedded(t, "corporate")
	for _, name := range []string{"firewall", "nat"} {
		n, _ := l.Node(name)
		n.Kind.Needs = func(any) Needs { return Needs{OnwardPorts: true} }
	}
	p := plan(t, l, PlanOptions{})
	firewall, _ := p.Node("firewall")
	nat, _ := p.Node("nat")
	alice, _ := p.Node("alice")
	if firewall.OnwardPorts != [2]uint16{16384, 24575} || nat.OnwardPorts != [2]uint16{24576, 32767} {
		t.Errorf("firewall %v, nat %v", firewall.OnwardPorts, nat.OnwardPorts)
	}
	if alice.OnwardPorts != [2]uint16{} {
		t.Errorf("a client has %v", alice.OnwardPorts)
	}
}

func TestTakenRangesAreMoved(t *testing.T) {
	l := load(t, twoNATs)
	taken := []PlannedNetwork{{Name: "x", Prefix: netip.MustParsePrefix("203.0.113.0/25")}}
	p := plan(t, l, PlanOptions{Taken: taken})
	internet := p.network("internet")
	if overlapsAny(internet.Prefix, []netip.Prefix{taken[0].Prefix}) || internet.Prefix.Bits() != 24 {
		t.Fatalf("internet is at %s", internet.Prefix)
	}
	s, _ := p.Node("s")
	if got, want := s.Interfaces[0].Addr.Addr(), moved(netip.MustParseAddr("203.0.113.80"), netip.MustParsePrefix("203.0.113.0/24"), internet.Prefix); got != want || !internet.Prefix.Contains(got) {
		t.Errorf("server is at %s, want %s", got, want)
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "network internet is at") {
		t.Errorf("notes: %q", p.Notes)
	}
	// The other lab is gone: the instance stays where it is.
	again := plan(t, l, PlanOptions{Running: p})
	if again.network("internet").Prefix != internet.Prefix {
		t.Errorf("internet moved back to %s", again.network("internet").Prefix)
	}
	for i := range p.Nodes {
		if p.Nodes[i].Digest() != again.Nodes[i].Digest() {
			t.Errorf("%s differs", p.Nodes[i].Name)
		}
	}
}

func TestReservedAddressIsNobodys(t *testing.T) {
	l := load(t, strings.Replace(twoNATs, "203.0.113.80", "203.0.113.1", 1))
	p := plan(t, l, PlanOptions{})
	if got := p.network("internet").Reserved.String(); got != "203.0.113.254" {
		t.Errorf("reserved %s", got)
	}
	if got := p.network("home").Reserved.String(); got != "192.168.1.1" {
		t.Errorf("reserved %s", got)
	}
}

func TestOnlyRoutersForward(t *testing.T) {
	p := plan(t, embedded(t, "home"), PlanOptions{})
	const key = "net.ipv4.ip_forward"
	for name, want := range map[string]string{"alice": "0", "nat": "1", "server": "0"} {
		n, _ := p.Node(name)
		if got := n.Needs.Sysctls[key]; got != want {
			t.Errorf("%s: %s=%q, want %s", name, key, got, want)
		}
	}
}

func TestSpeedScalesSysctls(t *testing.T) {
	l := embedded(t, "home")
	const key = "net.netfilter.nf_conntrack_tcp_timeout_established"
	for speed, want := range map[float64]string{1: "30", 5: "6", 7: "4", 20: "2", 30: "1"} {
		nat, _ := plan(t, l, PlanOptions{Speed: speed}).Node("nat")
		if got := nat.Needs.Sysctls[key]; got != want {
			t.Errorf("speed %g: %s s, want %s", speed, got, want)
		}
	}
	_, err := NewPlan(l, PlanOptions{Speed: 31})
	var tooFast *SpeedError
	if !errors.As(err, &tooFast) || tooFast.Max != 30 || tooFast.Key != "nat.idle_timeout" {
		t.Errorf("%v", err)
	}
	for _, speed := range []float64{0, -1} {
		if _, err := NewPlan(l, PlanOptions{Speed: speed}); err == nil {
			t.Errorf("speed %g is taken", speed)
		}
	}
}

func TestAuthorityKeyGoesWhereItIsNeeded(t *testing.T) {
	l := embedded(t, "home")
	server, _ := l.Node("server")
	server.Kind.Needs = func(any) Needs { return Needs{CA: true} }
	p := plan(t, l, PlanOptions{CA: &Authority{CertPEM: "cert", KeyPEM: "key"}})
	for _, n := range p.Nodes {
		if has := n.CA.KeyPEM != ""; has != (n.Name == "server") || n.CA.CertPEM != "cert" {
			t.Errorf("%s: %+v", n.Name, n.CA)
		}
	}
}

func TestSmallNetworkIsFilled(t *testing.T) {
	l := load(t, `
name: small
networks: { a: 10.0.0.0/29 }
nodes:
  c1: { kind: client, on: { a: 10.0.0.6 } }
  c2: { kind: client, on: [a] }
  c3: { kind: client, on: [a] }
  c4: { kind: client, on: [a] }
  s:  { kind: server, on: [a] }
`)
	p := plan(t, l, PlanOptions{})
	seen := map[netip.Addr]string{p.Networks[0].Reserved: "reserved"}
	for _, n := range p.Nodes {
		a := n.Interfaces[0].Addr.Addr()
		if other, taken := seen[a]; taken {
			t.Errorf("%s and %s are both at %s", n.Name, other, a)
		}
		seen[a] = n.Name
	}
}

// TestSpeedLimitIsTheLowest names a speed that really works, whatever the order of the nodes.
func TestSpeedLimitIsTheLowest(t *testing.T) {
	l := load(t, strings.NewReplacer(
		"nat: { kind: nat,", "nat: { kind: nat, idle_timeout: 30s,",
		"cgn: { kind: nat,", "cgn: { kind: nat, idle_timeout: 7500ms,").Replace(twoNATs))
	_, err := NewPlan(l, PlanOptions{Speed: 40})
	var tooFast *SpeedError
	if !errors.As(err, &tooFast) || tooFast.Max != 7.5 || tooFast.Key != "cgn.idle_timeout" {
		t.Fatal(err)
	}
	if want := "speed 40 takes cgn.idle_timeout under one second, which the kernel does not count: the largest speed that works here is 7.5"; err.Error() != want {
		t.Errorf("%s", err)
	}
	plan(t, l, PlanOptions{Speed: tooFast.Max})
	if got := (&SpeedError{Speed: 1e7, Max: 432000 * 10, Key: "nat.idle_timeout"}).Error(); !strings.Contains(got, "speed 10000000") || !strings.Contains(got, "4320000") {
		t.Errorf("%s", got)
	}
	for _, speed := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, err := NewPlan(l, PlanOptions{Speed: speed}); err == nil || errors.As(err, &tooFast) {
			t.Errorf("speed %g: %v", speed, err)
		}
	}
}

func TestMaxSpeed(t *testing.T) {
	type tcp struct {
		Idle time.Duration `json:"idle" clock:"kernel"`
		Wait time.Duration `json:"wait"`
	}
	type nested struct {
		Keepalive struct {
			TCP *tcp `json:"tcp"`
		} `json:"keepalive"`
		List []tcp          `json:"list"`
		Map  map[string]tcp `json:"map"`
		Any  any            `json:"any"`
		Self tcp            `json:"self"`
	}
	with := func(set func(*nested)) *nested {
		n := &nested{Self: tcp{Idle: time.Hour}}
		set(n)
		return n
	}
	for _, c := range []struct {
		v     any
		speed float64
		key   string
	}{
		{&struct{}{}, math.Inf(1), ""},
		{&tcp{Wait: time.Second}, math.Inf(1), ""},
		{tcp{Idle: 15 * time.Second}, 15, "idle"},
		{with(func(n *nested) {}), 3600, "self.idle"},
		{with(func(n *nested) { n.Keepalive.TCP = &tcp{Idle: 9 * time.Second} }), 9, "keepalive.tcp.idle"},
		{with(func(n *nested) { n.List = []tcp{{}, {Idle: 8 * time.Second}} }), 8, "list[1].idle"},
		{with(func(n *nested) { n.Map = map[string]tcp{"b": {Idle: 7 * time.Second}, "a": {Idle: 7 * time.Second}} }), 7, "map.a.idle"},
		{with(func(n *nested) { n.Any = &tcp{Idle: 6 * time.Second} }), 6, "any.idle"},
	} {
		if speed, key := MaxSpeed(c.v); speed != c.speed || key != c.key {
			t.Errorf("%+v: %g %q, want %g %q", c.v, speed, key, c.speed, c.key)
		}
	}
}

// TestMovingDisturbsNobody moves a network whose range is taken while another one
// already lives where the first free range would be.
func TestMovingDisturbsNobody(t *testing.T) {
	l := load(t, twoNATs)
	taken := []PlannedNetwork{{Prefix: netip.MustParsePrefix("203.0.113.0/24")}}
	running := plan(t, l, PlanOptions{Taken: taken})
	moved := running.network("internet").Prefix
	// Now the first network is taken too; the last one stays.
	taken = append(taken, PlannedNetwork{Prefix: netip.MustParsePrefix("192.168.0.0/16")})
	p := plan(t, l, PlanOptions{Taken: taken, Running: running})
	if got := p.network("internet").Prefix; got != moved {
		t.Errorf("internet went from %s to %s", moved, got)
	}
	if got := p.network("home").Prefix; got == moved || overlapsAny(got, []netip.Prefix{taken[1].Prefix}) {
		t.Errorf("home is at %s", got)
	}
	want := []string{
		"network home is at 10.64.1.0/24: 192.168.1.0/24 is taken by another lab or network of this engine",
		"network internet stays at 10.64.0.0/24, where it was moved to: the lab file asks for 203.0.113.0/24",
	}
	if diff := cmp.Diff(want, p.Notes); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// A file that asks for another range is given it.
	other := load(t, strings.ReplaceAll(twoNATs, "203.0.113.", "198.51.100."))
	if got := plan(t, other, PlanOptions{Running: running}).network("internet").Prefix.String(); got != "198.51.100.0/24" {
		t.Errorf("internet is at %s", got)
	}
}

func TestNoRangeIsFree(t *testing.T) {
	taken := []PlannedNetwork{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}}
	if _, err := NewPlan(load(t, twoNATs), PlanOptions{Speed: 1, Taken: taken}); err == nil || !strings.Contains(err.Error(), "network home: 192.168.1.0/24 is taken and no other /24 is free") {
		t.Error(err)
	}
}

func TestDigests(t *testing.T) {
	l := load(t, twoNATs)
	base := plan(t, l, PlanOptions{File: "a.yaml", CA: &Authority{CertPEM: "cert", KeyPEM: "key"}})
	for _, c := range []struct {
		name string
		o    PlanOptions
		lab  *Lab
		same bool
	}{
		{"another file, without the key", PlanOptions{File: "b.yaml", CA: &Authority{CertPEM: "cert"}}, l, true},
		{"another authority", PlanOptions{CA: &Authority{CertPEM: "other"}}, l, false},
		{"another speed", PlanOptions{Speed: 2, CA: &Authority{CertPEM: "cert"}}, l, false},
		{"another setting", PlanOptions{CA: &Authority{CertPEM: "cert"}}, load(t, strings.Replace(twoNATs, "kind: nat,", "kind: nat, on_expiry: reset,", 1)), false},
	} {
		p := plan(t, c.lab, c.o)
		i := slices.IndexFunc(p.Nodes, func(n NodeSpec) bool { return n.Name == "nat" })
		if same := p.Nodes[i].Digest() == base.Nodes[i].Digest(); same != c.same {
			t.Errorf("%s: same %t", c.name, same)
		}
	}
	if a, b := base.Networks[0].Digest(), base.Networks[1].Digest(); a == b {
		t.Error("two networks with one digest")
	}
}

func TestInstanceName(t *testing.T) {
	l := embedded(t, "home")
	if p := plan(t, l, PlanOptions{Name: "second"}); p.Lab != "second" || p.Nodes[0].Lab != "second" || p.Nodes[0].Source != "home" {
		t.Errorf("%s, %s, %s", p.Lab, p.Nodes[0].Lab, p.Nodes[0].Source)
	}
	if _, err := NewPlan(l, PlanOptions{Name: "No good", Speed: 1}); err == nil {
		t.Error("a name that is none is taken")
	}
}

// TestTheWayIsTheShortest takes the fewest routers, and the first in the file where two are equal.
func TestTheWayIsTheShortest(t *testing.T) {
	p := plan(t, load(t, `
name: square
networks: { a: 10.0.0.0/24, b: 10.0.1.0/24, c: 10.0.2.0/24, d: 10.0.3.0/24 }
nodes:
  long1:  { kind: firewall, on: [a, b] }
  long2:  { kind: firewall, on: [b, c] }
  client: { kind: client, on: [a] }
  second: { kind: firewall, on: [a, c] }
  third:  { kind: firewall, on: [a, c] }
  behind: { kind: firewall, on: [c, d] }
  server: { kind: server, on: [d] }
`), PlanOptions{})
	second, _ := p.Node("second")
	via := second.Interfaces[0].Addr.Addr().String()
	long1, _ := p.Node("long1")
	want := []string{"10.0.1.0/24>" + long1.Interfaces[0].Addr.Addr().String(), "10.0.2.0/24>" + via, "10.0.3.0/24>" + via}
	if diff := cmp.Diff(want, routesOf(p, "client")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	client, _ := p.Node("client")
	// A node on two networks is known by the address that the packets get to soonest.
	if got := client.Hosts["third"].String(); got != "10.0.0.5" {
		t.Errorf("third is %s", got)
	}
}

// TestRoutesLeadThere makes labs at random and follows every route of every node
// from hop to hop: it ends in the network it promises.
func TestRoutesLeadThere(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := randomLab(r)
		p, err := NewPlan(l, PlanOptions{Speed: 1})
		if err != nil {
			t.Fatal(err)
		}
		owner := make(map[netip.Addr]*NodeSpec)
		for i := range p.Nodes {
			for _, a := range p.Nodes[i].Interfaces {
				if other, taken := owner[a.Addr.Addr()]; taken {
					t.Fatalf("seed %d: %s and %s are both at %s", seed, other.Name, p.Nodes[i].Name, a.Addr)
				}
				owner[a.Addr.Addr()] = &p.Nodes[i]
			}
		}
		for i := range p.Nodes {
			for _, route := range p.Nodes[i].Routes {
				if err := follow(l, owner, &p.Nodes[i], route.Dst); err != nil {
					t.Fatalf("seed %d: from %s to %s: %v", seed, p.Nodes[i].Name, route.Dst, err)
				}
			}
		}
	}
}

// randomLab has networks joined at random by routers, one-way ones among them.
func randomLab(r *rand.Rand) *Lab {
	reg := testRegistry()
	l := &Lab{Name: "random"}
	networks := 2 + r.IntN(7)
	for i := range networks {
		l.Networks = append(l.Networks, Network{Name: fmt.Sprintf("n%d", i), Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)})
	}
	for i := range 3 + r.IntN(10) {
		kind := reg.Kinds[r.IntN(len(reg.Kinds))]
		n := Node{Name: fmt.Sprintf("m%d", i), Kind: kind, Settings: kind.Settings()}
		for _, k := range r.Perm(networks)[:max(1, min(kind.MinNetworks+r.IntN(2), networks))] {
			n.On = append(n.On, Attachment{Network: l.Networks[k].Name})
		}
		l.Nodes = append(l.Nodes, n)
	}
	return l
}

// follow goes from a node to a network as packets do.
func follow(l *Lab, owner map[netip.Addr]*NodeSpec, at *NodeSpec, dst netip.Prefix) error {
	for range 20 {
		if slices.ContainsFunc(at.Interfaces, func(i Interface) bool { return i.Addr.Masked() == dst }) {
			return nil
		}
		k := slices.IndexFunc(at.Routes, func(r Route) bool { return r.Dst == dst })
		if k < 0 {
			return fmt.Errorf("%s has no route", at.Name)
		}
		via := at.Routes[k].Via
		in := slices.IndexFunc(at.Interfaces, func(i Interface) bool { return i.Addr.Contains(via) })
		next := owner[via]
		if in < 0 || next == nil {
			return fmt.Errorf("%s is not beside %s", via, at.Name)
		}
		n, _ := l.Node(next.Name)
		if !n.Kind.Routes || n.Kind.OneWay && n.On[len(n.On)-1].Network == at.Interfaces[in].Network {
			return fmt.Errorf("%s does not pass it on", next.Name)
		}
		at = next
	}
	return fmt.Errorf("it goes round in circles")
}
