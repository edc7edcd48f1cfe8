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
		{Settings{Protocol: "socks5", Port: 9050}, "", "socks5://p:9050"},
		{Settings{Protocol: "reverse"}, "", "wss://p/"},
		{Settings{Protocol: "reverse", Port: 8443}, "", "wss://p:8443/"},
	} {
		if got := c.settings.URL("p", c.user); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	registry := &topology.Registry{
		Kinds: []*topology.Kind{
			&Kind().Kind,
			{Name: "client", Settings: func() any { return &struct{}{} }},
			{Name: "server", Settings: func() any { return &struct{}{} }, Target: true},
		},
		NewStrategy: func() any { return &struct{}{} },
	}
	for _, c := range []struct{ name, proxy, want string }{
		{"http", "protocol: http, users: { alice: secret }, allow_connect: [443, 8443]", ""},
		{"socks5", "protocol: socks5, idle_timeout: 1m", ""},
		{"reverse", "protocol: reverse, upstream: server, upstream_tls: false", ""},
		{"keys of others", "protocol: socks5, allow_connect: [443], upstream: server", "allow_connect is not for a proxy of protocol socks5; upstream is not for a proxy of protocol socks5"},
		{"users of reverse", "protocol: reverse, upstream: server, users: { alice: secret }", "users is not for a proxy of protocol reverse"},
		{"no upstream", "protocol: reverse", "a reverse proxy needs an upstream"},
		{"upstream that is not there", "protocol: reverse, upstream: servr", `there is no node "servr"`},
		{"upstream that is no server", "protocol: reverse, upstream: alice", "alice is a client, not a server"},
		{"upstream out of reach", "protocol: reverse, upstream: far", "p has no way to far"},
		{"port of ws", "protocol: reverse, upstream: server, port: 80", "port 80 is where a reverse proxy takes ws; give another for wss"},
		{"colon", `protocol: http, users: { "a:b": secret }`, `user "a:b" has a colon in its name, which Basic authentication cannot carry`},
		{"no password", `protocol: socks5, users: { alice: "" }`, `user "alice": SOCKS5 carries names and passwords of 1 to 255 bytes`},
		{"port", "protocol: http, allow_connect: [0]", "allow_connect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := topology.Load("lab.yaml", []byte(`name: test
summary: A lab for the test.
networks:
  lan: 10.0.0.0/24
  island: 10.0.1.0/24
nodes:
  alice: { kind: client, on: [lan] }
  p: { kind: proxy, on: [lan], `+c.proxy+` }
  server: { kind: server, on: [lan] }
  far: { kind: server, on: [island] }
`), registry)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no problem was found")
			}
			for _, want := range strings.Split(c.want, "; ") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
		})
	}
}

func TestPassageUsers(t *testing.T) {
	s := &Settings{Users: map[string]string{"bob": "x", "alice": "y"}}
	if d := cmp.Diff([]string{"alice", "bob"}, s.PassageUsers()); d != "" {
		t.Error(d)
	}
}
