package command

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/topology"
)

func registry() *topology.Registry {
	return &topology.Registry{Kinds: []*topology.Kind{
		&Kind().Kind,
		{Name: "client", Settings: func() any { return &struct{}{} }},
		{Name: "server", Settings: func() any { return &struct{}{} }, Target: true},
	}}
}

// load reads a lab with a program of these keys in it.
func load(keys string) (*topology.Lab, *Settings, error) {
	l, err := topology.Load("lab.yaml", []byte(`name: test
networks:
  lan: 10.0.0.0/24
  island: 10.0.1.0/24
nodes:
  alice: { kind: client, on: [lan] }
  p: { kind: command, on: [lan], `+keys+` }
  server: { kind: server, on: [lan] }
  far: { kind: server, on: [island] }
`), registry())
	if err != nil {
		return nil, nil, err
	}
	n, _ := l.Node("p")
	return l, n.Settings.(*Settings), nil
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ name, keys, want string }{
		{"text", "command: squid -N -f squid.conf", ""},
		{"list", `command: [sh, -c, "exec squid -N"]`, ""},
		{"image", "image: nginx", ""},
		{"both", "image: nginx, command: nginx", ""},
		{"proxy", "command: squid, proxy: { protocol: http, users: { alice: secret } }, ready: tcp/80", ""},
		{"reverse", "command: nginx, certificate: true, proxy: { protocol: reverse, upstream: server }", ""},
		{"nothing", "user: root", "p has no program to run"},
		{"empty list", "command: []", "p has no program to run"},
		{"quotes", `command: 'sh -c "exit 1"'`, "no shell reads this: quotes and the like would reach the program as they are"},
		{"relative", "command: ./client", "./client begins in no directory that is known: the program's working directory is the node's own"},
		{"out of the directory", "command: squid, files: { ../squid.conf: x }", `"../squid.conf" has to be a plain path, without . and ..`},
		{"out of the root", "command: squid, files: { /etc/../squid.conf: x }", `"/etc/../squid.conf" has to be a plain path, without . and ..`},
		{"a directory", "command: squid, files: { conf/: x }", `"conf/" is not the name of a file`},
		{"names of the lab", "command: squid, files: { /etc/hosts: x }", "/etc/hosts is the lab's: it holds the names of the nodes"},
		{"key of its own", "command: squid, certificate: true, files: { key.pem: x }", "key.pem is a file that the node writes itself"},
		{"variables", `command: squid, env: { A=B: c, WSLAB_URL: x }`, `"A=B" cannot be the name of a variable here; "WSLAB_URL" cannot be the name of a variable here`},
		{"ready", "command: squid, ready: udp/53", `"udp/53" is no port to wait for`},
		{"no such port", "command: squid, ready: tcp/65536", `"tcp/65536" is no port to wait for`},
		{"user", "command: squid, user: proxy", `"proxy" is no value of "user"`},
		{"no protocol", "command: squid, proxy: { port: 80 }", `the key "protocol" is missing`},
		{"key of another protocol", "command: squid, proxy: { protocol: http, upstream: server, cleartext: true }",
			"upstream is not for a proxy of protocol http; cleartext is not for a proxy of protocol http"},
		{"users of reverse", "command: nginx, proxy: { protocol: reverse, users: { a: b } }", "users are not for a proxy of protocol reverse"},
		{"no such upstream", "command: nginx, proxy: { protocol: reverse, upstream: servr }", `there is no other node "servr"`},
		{"upstream out of reach", "command: nginx, proxy: { protocol: reverse, upstream: far }", "p has no way to far"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := load(c.keys)
			var problems topology.Problems
			errors.As(err, &problems)
			var got []string
			for _, p := range problems {
				got = append(got, p.Message)
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	l, s, err := load("command: squid -N  -f squid.conf, proxy: { protocol: http, users: { alice: s/cret, bob: x } }")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Args{"squid", "-N", "-f", "squid.conf"}, s.Command); diff != "" {
		t.Error(diff)
	}
	if s.URL != "wss://server/" || s.user() != userNobody || s.readyPort() != 3128 || s.OnExit != exitFail {
		t.Errorf("%+v", s)
	}
	n, _ := l.Node("p")
	if p, ok := n.Passage(); !ok || !slices.Equal(p.PassageUsers(), []string{"alice", "bob"}) {
		t.Errorf("passage %v", p)
	}
	// What reaches the node is what was written.
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again Settings
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*s, again); diff != "" {
		t.Error(diff)
	}

	l, s, err = load("image: client, env: { A: b }")
	if err != nil {
		t.Fatal(err)
	}
	n, _ = l.Node("p")
	if _, ok := n.Passage(); ok || s.user() != "" || s.readyPort() != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNeeds(t *testing.T) {
	for keys, want := range map[string]topology.Needs{
		"command: squid -N":                            {Program: "squid"},
		"image: nginx":                                 {Image: "nginx"},
		"image: nginx, command: [nginx, -g, x]":        {Image: "nginx", Program: "nginx"},
		"command: /usr/sbin/nginx, certificate: true,": {Program: "/usr/sbin/nginx", CA: true},
	} {
		_, s, err := load(keys)
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		want.Processes = true
		want.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
		if diff := cmp.Diff(want, needs(s)); diff != "" {
			t.Errorf("%s: %s", keys, diff)
		}
	}
}

func TestProxyURL(t *testing.T) {
	users := map[string]string{"alice": "s/cret"}
	for _, c := range []struct {
		proxy      Proxy
		user, want string
	}{
		{Proxy{Protocol: "http", Users: users}, "alice", "http://alice:s%2Fcret@p:3128"},
		{Proxy{Protocol: "http", Port: 80}, "", "http://p:80"},
		{Proxy{Protocol: "socks5"}, "", "socks5://p:1080"},
		{Proxy{Protocol: "reverse"}, "", "wss://p/"},
		{Proxy{Protocol: "reverse", Port: 8443}, "", "wss://p:8443/"},
		{Proxy{Protocol: "reverse", Cleartext: true}, "", "ws://p/"},
		{Proxy{Protocol: "reverse", Cleartext: true, Port: 8080}, "", "ws://p:8080/"},
	} {
		if got := c.proxy.URL("p", c.user); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
