package firewall

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/topology"
)

func TestParseService(t *testing.T) {
	for text, want := range map[string]rule{
		"tcp/443":       {protocol: "tcp", port: []ports{{443, 443}}, action: Accept},
		"udp/53":        {protocol: "udp", port: []ports{{53, 53}}, action: Accept},
		"icmp":          {protocol: "icmp", action: Accept},
		"tcp/8000-8100": {protocol: "tcp", port: []ports{{8000, 8100}}, action: Accept},
	} {
		got, err := parseService(text)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(rule{}, ports{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "tcp", "tcp/", "tcp/0", "tcp/65536", "tcp/90-80", "sctp/80", "icmp/8", "tcp/https", "tcp/80-", "80"} {
		if got, err := parseService(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// corporate is a firewall between a dmz and an isp, with an office behind a router on
// the one side and the internet on the other, one network having been moved.
func corporate(s *Settings) *topology.NodeSpec {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	p := netip.MustParsePrefix
	return &topology.NodeSpec{
		Settings: raw,
		Interfaces: []topology.Interface{
			{Network: "dmz", Addr: p("10.20.1.3/24")}, {Network: "isp", Addr: p("100.64.0.2/24")},
		},
		Routes: []topology.Route{
			{Dst: p("10.64.0.0/24"), Via: netip.MustParseAddr("10.20.1.2")},
			{Dst: p("203.0.113.0/24"), Via: netip.MustParseAddr("100.64.0.3")},
		},
		Networks: []topology.PlannedNetwork{
			{Name: "office", Prefix: p("10.64.0.0/24"), Asked: p("10.20.0.0/24")},
			{Name: "dmz", Prefix: p("10.20.1.0/24"), Asked: p("10.20.1.0/24")},
			{Name: "isp", Prefix: p("100.64.0.0/24"), Asked: p("100.64.0.0/24")},
			{Name: "internet", Prefix: p("203.0.113.0/24"), Asked: p("203.0.113.0/24")},
		},
	}
}

func TestRulesOf(t *testing.T) {
	places := func(list []netip.Prefix) string {
		var texts []string
		for _, p := range list {
			texts = append(texts, p.String())
		}
		return strings.Join(texts, " ")
	}
	for _, test := range []struct {
		name     string
		rule     Rule
		from, to string
	}{
		{"everything", Rule{}, "", ""},
		{"a network that was moved", Rule{From: []string{"office"}, To: []string{"internet", "dmz"}}, "10.64.0.0/24", "203.0.113.0/24 10.20.1.0/24"},
		{"a part of one", Rule{From: []string{"10.20.0.128/25", "10.20.0.7"}}, "10.64.0.128/25 10.64.0.7/32", ""},
		{"outbound", Rule{Direction: Outbound}, "10.20.1.0/24 10.64.0.0/24", "100.64.0.0/24 203.0.113.0/24"},
		{"inbound", Rule{Direction: Inbound}, "100.64.0.0/24 203.0.113.0/24", "10.20.1.0/24 10.64.0.0/24"},
		{"both", Rule{Direction: Both}, "", ""},
		{"outbound to a place", Rule{Direction: Outbound, To: []string{"203.0.113.8/29"}}, "10.20.1.0/24 10.64.0.0/24", "203.0.113.8/29"},
		{"outbound to a wide place", Rule{Direction: Outbound, From: []string{"10.0.0.0/8"}, To: []string{"203.0.113.8/29"}}, "10.20.1.0/24 10.64.0.0/24", "203.0.113.8/29"},
	} {
		test.rule.Action = Accept
		s := &Settings{Rules: []Rule{test.rule}}
		got, err := s.rulesOf(corporate(s))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if from, to := places(got[0].from), places(got[0].to); from != test.from || to != test.to {
			t.Errorf("%s: from %s to %s", test.name, from, to)
		}
	}
	for name, r := range map[string]Rule{
		"unknown network":     {From: []string{"ofice"}},
		"no way round":        {Direction: Outbound, From: []string{"internet"}},
		"ports of nothing":    {Port: []PortText{"80"}},
		"RST of UDP":          {Proto: "udp", Action: Reset},
		"too many":            {Proto: "tcp", Port: many(40), FromPort: many(40)},
		"an address of IPv6":  {From: []string{"2001:db8::1"}},
		"a range with a host": {From: []string{"10.20.0.1/24"}},
	} {
		s := &Settings{Rules: []Rule{r}}
		if got, err := s.rulesOf(corporate(s)); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func many(n int) []PortText {
	var all []PortText
	for range n {
		all = append(all, "1-2")
	}
	return all
}

// TestProblems shows what is wrong with firewalls in a lab file.
func TestProblems(t *testing.T) {
	reg := &topology.Registry{Kinds: []*topology.Kind{
		&Kind().Kind,
		{Name: "client", Settings: func() any { return &struct{}{} }},
		{Name: "server", Target: true, Settings: func() any { return &struct{}{} }},
	}}
	for _, test := range []struct {
		name, settings string
		want           []string
	}{
		{"fine", `rules: [{ from: office, to: [internet, 10.0.0.0/8], proto: tcp, port: [80, 443, 8000-8100], action: accept }, { action: icmp }]`, nil},
		{"fine, stateless", `stateful: false, rules: [{ proto: tcp, port: 443, action: accept }, { proto: tcp, from_port: 443, action: accept }]`, nil},
		{"fine, inspection", `allow: [tcp/443], inspect: { websocket: reset, tls_server_name: [{ names: ["*.example"], action: slow }], slow: { delay: 1s } }`, nil},
		{"a name", `rules: [{ from: ofice, action: accept }]`, []string{`"ofice" is no network of the lab`, `did you mean "office"?`}},
		{"a host in a range", `rules: [{ to: [internet, 10.1.2.3/24], action: accept }]`, []string{`did you mean "10.1.2.0/24"?`}},
		{"a port", `rules: [{ proto: tcp, port: [https, 90-80], action: accept }]`, []string{`"https" is no port`, "80 comes before 90"}},
		{"ports without a protocol", `rules: [{ port: 80, action: accept }]`, []string{"only tcp and udp have ports"}},
		{"RST", `rules: [{ action: reset }]`, []string{"only TCP knows a RST"}},
		{"no action", `rules: [{ proto: tcp }]`, []string{`the key "action" is missing`}},
		{"another action", `rules: [{ action: rejekt }]`, []string{`did you mean "reject"?`}},
		{"never asked", `rules: [{ proto: tcp, port: 1-1000, action: drop }, { from: office, proto: tcp, port: [80, 443], action: accept }]`,
			[]string{"rule 2 is never asked: rule 1 matches all that it does"}},
		{"asked in one direction", `rules: [{ direction: outbound, action: drop }, { direction: inbound, action: accept }, { action: accept }]`, nil},
		{"both forms", `allow: [tcp/443], rules: [{ action: drop }]`, []string{"allow is the short form of rules: firewall has both"}},
		{"stateless", `stateful: false, allow: [tcp/80], idle_timeout: 60s, inspect: { websocket: drop }`,
			[]string{"a stateless firewall knows no answers", "no connections that it could forget", "it cannot look into them"}},
		{"server names", `inspect: { tls_server_name: [{ names: [], action: drop }, { names: ["a.*", "b_c.example"], action: drop }] }`,
			[]string{"which server names?", `"a.*" is no server name`}},
		{"slow without limits", `inspect: { websocket: slow, slow: { bandwidth: 0 } }`, []string{"what is slow has no limits"}},
	} {
		file := "name: lab\nnetworks: { office: 10.20.0.0/24, internet: 203.0.113.0/24 }\nnodes:\n" +
			"  alice: { kind: client, on: [office] }\n  firewall: { kind: firewall, on: [office, internet], " + test.settings + " }\n" +
			"  server: { kind: server, on: [internet] }\n"
		_, err := topology.Load("lab.yaml", []byte(file), reg)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if test.want == nil && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", test.name, want, text)
			}
		}
		if n := strings.Count(text, "lab.yaml:"); n != len(test.want) && !strings.Contains(test.name, "name") {
			t.Errorf("%s: %d problems\n%s", test.name, n, text)
		}
	}
}

func TestCovers(t *testing.T) {
	p := netip.MustParsePrefix
	wide := rule{protocol: "tcp", from: []netip.Prefix{p("10.0.0.0/8")}, port: []ports{{1, 100}, {200, 300}}}
	for _, test := range []struct {
		name string
		rule rule
		want bool
	}{
		{"itself", wide, true},
		{"narrower", rule{protocol: "tcp", from: []netip.Prefix{p("10.1.0.0/16"), p("10.2.0.1/32")}, to: []netip.Prefix{p("10.3.0.0/16")}, port: []ports{{80, 90}, {200, 200}}}, true},
		{"from anywhere", rule{protocol: "tcp", port: []ports{{80, 80}}}, false},
		{"another protocol", rule{protocol: "udp", from: wide.from, port: wide.port}, false},
		{"any protocol", rule{from: wide.from}, false},
		{"any port", rule{protocol: "tcp", from: wide.from}, false},
		{"between the ports", rule{protocol: "tcp", from: wide.from, port: []ports{{90, 210}}}, false},
	} {
		if got := wide.covers(test.rule); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// FuzzRule reads the texts of a rule: what is accepted has places and ports that are some.
func FuzzRule(f *testing.F) {
	f.Add("office", "10.20.0.0/24", "outbound", "tcp", "443", "8000-8100")
	f.Add("203.0.113.8", "internet", "inbound", "udp", "53", "1-65535")
	f.Add("10.20.0.1/24", "::1", "both", "icmp", "0", "9-8")
	f.Fuzz(func(t *testing.T, from, to, direction, proto, port, fromPort string) {
		s := &Settings{Rules: []Rule{{From: []string{from}, To: []string{to}, Direction: direction, Proto: proto,
			Port: []PortText{PortText(port)}, FromPort: []PortText{PortText(fromPort)}, Action: Drop}}}
		rules, err := s.rulesOf(corporate(s))
		if err != nil {
			return
		}
		for _, place := range slices.Concat(rules[0].from, rules[0].to) {
			if !place.IsValid() || !place.Addr().Is4() || place != place.Masked() {
				t.Errorf("%q, %q: %v", from, to, place)
			}
		}
		for _, p := range slices.Concat(rules[0].port, rules[0].fromPort) {
			if p.first == 0 || p.last < p.first {
				t.Errorf("%q, %q: %v", port, fromPort, p)
			}
		}
		if !rules[0].covers(rules[0]) {
			t.Errorf("%v does not cover itself", rules[0])
		}
	})
}
