package nat

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/topology"
)

func TestCheck(t *testing.T) {
	registry := &topology.Registry{
		Kinds: []*topology.Kind{
			&Kind().Kind,
			{Name: "client", Settings: func() any { return &struct{}{} }},
			{Name: "server", Settings: func() any { return &struct{}{} }, Target: true},
		},
		NewStrategy: func() any { return &struct{}{} },
	}
	for _, c := range []struct{ name, nat, want string }{
		{"defaults", "", ""},
		{"every key", "idle_timeout: 30s, transitory_timeout: 4m, udp_timeout: 5m, on_expiry: recover, ports: random, max_entries: 5, on_full: evict, hairpin: true, forward: { tcp/8443: server, udp/53: \"server:5353\" }", ""},
		{"timeouts under a second", "transitory_timeout: 100ms, udp_timeout: 1ms", "100ms is too little: transitory_timeout is at least 1s; 1ms is too little: udp_timeout is at least 1s"},
		{"evict without a limit", "on_full: evict", "nat has no table that could be full"},
		{"hairpin without a forward", "hairpin: true", "hairpin is for port forwards, and nat has none"},
		{"no service", "forward: { http: server }", `"http" is no service`},
		{"no protocol", "forward: { icmp/8: server }", `"icmp/8" is no service`},
		{"no port", "forward: { tcp/0: server }", `"0" is no port`},
		{"no port behind", "forward: { tcp/80: \"server:http\" }", `"server:http" is no place to forward to: "http" is no port`},
		{"nobody", "forward: { tcp/80: servr }", `there is no node "servr"`},
		{"itself", "forward: { tcp/80: nat }", "nat cannot forward to itself"},
		{"outside", "forward: { tcp/80: carol }", "carol is not inside of nat"},
		{"limit", "max_entries: -1", "-1 is too little: max_entries is at least 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nat := ""
			if c.nat != "" {
				nat = ", " + c.nat
			}
			_, err := topology.Load("lab.yaml", []byte(`name: home
networks: { home: 192.168.1.0/24, internet: 203.0.113.0/24 }
nodes:
  alice:  { kind: client, on: [home] }
  carol:  { kind: client, on: [internet] }
  nat:    { kind: nat, on: [home, internet]`+nat+` }
  server: { kind: server, on: [home] }
`), registry)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if c.want == "" && err != nil {
				t.Fatal(err)
			}
			for want := range strings.SplitSeq(c.want, "; ") {
				if !strings.Contains(text, want) {
					t.Errorf("%s\nlacks %q", text, want)
				}
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	s := Settings{Forward: map[string]string{"udp/53": "server:5353", "tcp/8443": "server"}}
	got, err := s.redirects(map[string]netip.Addr{"server": netip.MustParseAddr("192.168.1.3")})
	want := []redirect{
		{netfilter.TCP, 8443, netip.MustParseAddrPort("192.168.1.3:8443")},
		{netfilter.UDP, 53, netip.MustParseAddrPort("192.168.1.3:5353")},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(redirect{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if _, err := s.redirects(nil); err == nil {
		t.Error("forwards to a node that is not there")
	}
}

// FuzzParseForward reads any entry without harm.
func FuzzParseForward(f *testing.F) {
	for _, seed := range [][2]string{{"tcp/8443", "server"}, {"udp/53", "server:5353"}, {"tcp/", ":"}, {"/", "a:b:c"}, {"tcp/65536", "s:0"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, service, to string) {
		got, err := parseForward(service, to)
		if err == nil && (got.port == 0 || got.toPort == 0 || got.protocol == 0) {
			t.Errorf("%q: %q is %+v", service, to, got)
		}
	})
}
