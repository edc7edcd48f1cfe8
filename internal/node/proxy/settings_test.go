package proxy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/topology"
)

func TestSettingsURL(t *testing.T) {
	users := map[string]string{"alice": "s/cret"}
	for _, c := range []struct {
		settings Settings
		user     string
		want     string
	}{
		{Settings{Protocol: "http", Users: users}, "alice", "http://alice:s%2Fcret@p:3128"},
		{Settings{Protocol: "intercept"}, "", "http://p:3128"},
		{Settings{Protocol: "socks5", Port: 9050}, "", "socks5://p:9050"},
		{reverseSettings(func(s *Settings) { s.Protocol = "reverse" }), "", "wss://p/"},
		{reverseSettings(func(s *Settings) { s.Protocol, s.Port = "reverse", 8443 }), "", "wss://p:8443/"},
		{reverseSettings(func(s *Settings) { s.Protocol, s.ClientTLS = "reverse", false }), "", "ws://p/"},
		{reverseSettings(func(s *Settings) { s.Protocol, s.ClientTLS, s.Port = "reverse", false, 8080 }), "", "ws://p:8080/"},
	} {
		if got := c.settings.URL("p", c.user); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ name, proxy, want string }{
		{"http", "protocol: http, users: { alice: secret }, allow_connect: [443, 8443]", ""},
		{"socks5", "protocol: socks5, idle_timeout: 1m", ""},
		{"reverse", "protocol: reverse, upstream: server, upstream_tls: false", ""},
		{"keys of others", "protocol: socks5, allow_connect: [443], upstream: server", "allow_connect is not for a proxy of protocol socks5; upstream is not for a proxy of protocol socks5"},
		{"users of reverse", "protocol: reverse, upstream: server, users: { alice: secret }", "users is not for a proxy of protocol reverse"},
		{"no upstream", "protocol: reverse", "a reverse proxy needs an upstream"},
		{"upstream that is not there", "protocol: reverse, upstream: servr", `there is no node "servr"`},
		{"upstream that is no server", "protocol: reverse, upstream: alice", "alice is a client, not a server"},
		{"two upstreams", "protocol: reverse, upstream: [server, other], balance: cookie, idle_timeout: 1m, activity: data, on_idle: 1001", ""},
		{"an upstream twice", "protocol: reverse, upstream: [server, server]", "server is there twice"},
		{"keys without what they need", "protocol: reverse, upstream: server, on_idle: reset, on_lifetime: 1001", "on_idle means nothing without idle_timeout; on_lifetime means nothing without max_lifetime"},
		{"ws alone", "protocol: reverse, upstream: server, client_tls: false, port: 80", ""},
		{"upstream out of reach", "protocol: reverse, upstream: far", "p has no way to far"},
		{"port of ws", "protocol: reverse, upstream: server, port: 80", "port 80 is where a reverse proxy takes ws; give another for wss"},
		{"colon", `protocol: http, users: { "a:b": secret }`, `user "a:b" has a colon in its name, which Basic authentication cannot carry`},
		{"no password", `protocol: socks5, users: { alice: "" }`, `user "alice": SOCKS5 carries names and passwords of 1 to 255 bytes`},
		{"SOCKS5 methods", "protocol: socks5, methods: [password, none], users: { alice: secret }, rules: [{ action: deny, ports: [25] }, { action: allow }]", ""},
		{"nobody to ask", "protocol: socks5, methods: password", "p wants a password and knows no users"},
		{"users in vain", "protocol: socks5, methods: none, users: { alice: secret }", "p never asks for the users that it knows"},
		{"no network", "protocol: socks5, rules: [{ action: deny, to: [10.0.0.0/99] }]", `"10.0.0.0/99" is no network`},
		{"no code", "protocol: socks5, reply: { server: 9 }", `9, for "server", is no reply code that refuses`},
		{"port", "protocol: http, allow_connect: [0]", "allow_connect"},
	} {
		t.Run(c.name, func(t *testing.T) { checkLab(t, c.proxy, c.want) })
	}
}

// checkLab loads a lab with a proxy of these keys, and wants these problems, or none.
func checkLab(t *testing.T, proxy, want string) {
	t.Helper()
	registry := &topology.Registry{
		Kinds: []*topology.Kind{
			&Kind().Kind,
			{Name: "client", Settings: func() any { return &struct{}{} }},
			{Name: "server", Settings: func() any { return &struct{}{} }, Target: true},
		},
		NewStrategy: func() any { return &struct{}{} },
	}
	_, err := topology.Load("lab.yaml", []byte(`name: test
summary: A lab for the test.
networks:
  lan: 10.0.0.0/24
  island: 10.0.1.0/24
nodes:
  alice: { kind: client, on: [lan] }
  p: { kind: proxy, on: [lan], `+proxy+` }
  server: { kind: server, on: [lan] }
  other: { kind: server, on: [lan] }
  far: { kind: server, on: [island] }
`), registry)
	if want == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if err == nil {
		t.Fatal("no problem was found")
	}
	for _, want := range strings.Split(want, "; ") {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

// TestKeysAreThereOnce: two embedded structs with one key would both lose it.
func TestKeysAreThereOnce(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range topology.Keys(newSettings()) {
		if seen[k.Name] {
			t.Errorf("key %s is there twice", k.Name)
		}
		seen[k.Name] = true
	}
}

func TestPassageUsers(t *testing.T) {
	s := &Settings{Users: map[string]string{"bob": "x", "alice": "y"}}
	if d := cmp.Diff([]string{"alice", "bob"}, s.PassageUsers()); d != "" {
		t.Error(d)
	}
}

func TestCheckHTTP(t *testing.T) {
	for _, c := range []struct{ name, proxy, want string }{
		{"all of it", `protocol: http, users: { alice: secret }, auth: ntlm, upgrade: pass, add_via: false, add_forwarded_for: false,
    request_headers: { remove: [User-Agent], set: { X-A: b }, add: { X-C: d } }, response_headers: { remove: Server },
    cache_entries: 10, cache_bytes: 4096, cache_header: cache-status, read_timeout: 15m, unreachable_status: 503, tunnel_end: close,
    max_connections: 5, on_full: queue, captive: page, captive_connect: certificate, captive_login: "http://portal.test/in"`, ""},
		{"intercept", `protocol: intercept, trusted: false, issuer: ACME, exempt: [server, "*.bank.test"], upgrade_inside: strip, bad_origin: untrusted, allow_connect: [443]`, ""},
		{"keys of the other", "protocol: http, exempt: [server]", "exempt is not for a proxy of protocol http"},
		{"keys of http", "protocol: socks5, cache_entries: 5", "cache_entries is not for a proxy of protocol socks5"},
		{"nobody to ask for", "protocol: http, auth: ntlm", "p asks for a user and knows none"},
		{"status that is none", "protocol: http, unreachable_status: 404", "404 does not say that the server cannot be reached"},
		{"alone", "protocol: http, on_full: queue", "on_full means nothing without max_connections"},
		{"portal in TLS", `protocol: http, captive: page, captive_login: "https://portal/"`, "is no URL that a client asks for in cleartext"},
		{"name of a field", `protocol: http, request_headers: { remove: ["a b"] }`, `"a b" is no name of a header field`},
		{"what delimits", "protocol: http, response_headers: { set: { content-length: 5 } }", "content-length delimits messages"},
		{"value of a field", `protocol: http, response_headers: { set: { X: "a\nb" } }`, "the value of X holds control characters"},
		{"exempt", "protocol: intercept, exempt: [\"http://bank.test/\"]", `"http://bank.test/" is no name`},
		{"exempt in the middle", `protocol: intercept, exempt: ["www.*.test"]`, `"www.*.test" is no name`},
	} {
		t.Run(c.name, func(t *testing.T) { checkLab(t, c.proxy, c.want) })
	}
}

func TestNeedsCA(t *testing.T) {
	for _, c := range []struct {
		change func(*Settings)
		want   bool
	}{
		{func(s *Settings) { s.Protocol = protocolHTTP }, false},
		{func(s *Settings) { s.Protocol = protocolHTTP; s.CaptiveConnect = captiveConnectCertificate }, false},
		{func(s *Settings) { s.Protocol, s.Captive = protocolHTTP, captivePage }, true}, // a play may change the rest
		{func(s *Settings) { s.Protocol = protocolIntercept }, true},
		{func(s *Settings) { s.Protocol = protocolReverse }, true},
		{func(s *Settings) { s.Protocol = protocolSOCKS5 }, false},
	} {
		s := newSettings()
		c.change(s)
		if got := Kind().Needs(s).CA; got != c.want {
			t.Errorf("%s: needs the authority: %t", s.Protocol, got)
		}
	}
}
