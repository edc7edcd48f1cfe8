package topology

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

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
