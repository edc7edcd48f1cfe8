package client

import (
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/topology"
)

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// proxySettings stand in for those of a proxy.
type proxySettings struct {
	Users   []string `json:"users"`
	Instead bool     `json:"reverse"`
}

func (p *proxySettings) PassageUsers() []string { return p.Users }
func (p *proxySettings) Reverse() bool          { return p.Instead }
func (p *proxySettings) URL(node, user string) string {
	if p.Instead {
		return "wss://" + node + "/"
	}
	if user != "" {
		user += "@"
	}
	return "http://" + user + node + ":3128"
}

func registry() *topology.Registry {
	kind := Kind().Kind
	return &topology.Registry{
		Kinds: []*topology.Kind{
			&kind,
			{Name: "proxy", Carries: true, Settings: func() any { return new(proxySettings) }},
			{Name: "router", Routes: true, Settings: func() any { return new(struct{}) }},
			{Name: "server", Target: true, Settings: func() any { return new(struct{}) }},
		},
		NewStrategy: func() any { return new(struct{}) },
	}
}

// office is a lab with a client whose settings are given.
func office(alice string) string {
	return `name: office
networks: { office: 10.20.0.0/24, dmz: 10.20.1.0/24, island: 10.20.2.0/24 }
nodes:
  alice:   { kind: client, on: [office]` + alice + ` }
  forward: { kind: proxy, on: [office, dmz], users: [bob, alice] }
  open:    { kind: proxy, on: [office, dmz] }
  app:     { kind: proxy, on: [office, dmz], reverse: true }
  blind:   { kind: proxy, on: [office] }
  far:     { kind: proxy, on: [dmz] }
  robin:   { kind: proxy, on: [office, dmz], users: [robin, bob] }
  server:  { kind: server, on: [dmz] }
`
}

func TestPaths(t *testing.T) {
	forward := Path{"forward", "wss://server/", "http://alice@forward:3128"}
	open := Path{"open", "wss://server/", "http://open:3128"}
	app := Path{"app", "wss://app/", ""}
	robin := Path{"robin", "wss://server/", "http://robin@robin:3128"}
	for _, c := range []struct {
		name, alice string
		want        []Path
	}{
		{"every way", "", []Path{forward, open, app, robin}},
		{"one", ", via: app", []Path{app}},
		{"in the order given", ", via: [app, forward]", []Path{app, forward}},
		{"another user", ", via: bob@forward", []Path{{"forward", "wss://server/", "http://bob@forward:3128"}}},
		{"another URL", ", via: [open, app], url: 'ws://server:8080/chat?x=y'", []Path{
			{"open", "ws://server:8080/chat?x=y", "http://open:3128"}, {"app", "wss://app/chat?x=y", ""}}},
		{"a proxy's URL", ", url: wss://open/", []Path{{Direct, "wss://open/", ""}, {"forward", "wss://open/", "http://alice@forward:3128"},
			{"app", "wss://app/", ""}, {"blind", "wss://open/", "http://blind:3128"}, {"robin", "wss://open/", "http://robin@robin:3128"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := topology.Load("lab.yaml", []byte(office(c.alice)), registry())
			if err != nil {
				t.Fatal(err)
			}
			alice, _ := l.Node("alice")
			if diff := cmp.Diff(c.want, alice.Settings.(*Settings).Paths); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongWays(t *testing.T) {
	for _, c := range []struct{ alice, want string }{
		{", via: direct", "alice has no direct way to server"},
		{", via: [open, forwrd]", `there is no node "forwrd"` + "\n" + `did you mean "forward"?`},
		{", via: server", "server is a server: a client cannot be sent through it"},
		{", via: alise@forward", `forward knows no user "alise"` + "\n" + `did you mean "alice"?`},
		{", via: bob@open", "open asks for no user\nwrite open"},
		{", via: far", "alice has no way to far"},
		{", via: blind", "blind has no way to server"},
		{", via: [open, open]", "open leads through open a second time"},
		{", via: [alice@forward, bob@forward]", "bob@forward leads through forward a second time"},
		{", via: direct@forward", `forward knows no user "direct"`},
		{", url: 'http://server/'", `"http://server/" is not the URL of a WebSocket server`},
		{", url: 'wss://sever/'", `there is no node "sever"` + "\n" + `did you mean "server"?`},
		{", url: 'wss://user@server/'", "is not the URL of a WebSocket server"},
	} {
		t.Run(c.alice, func(t *testing.T) {
			_, err := topology.Load("lab.yaml", []byte(office(c.alice)), registry())
			problems, ok := err.(topology.Problems)
			if !ok || len(problems) != 1 {
				t.Fatalf("%v", err)
			}
			p := problems[0]
			if got := p.Message + "\n" + p.Hint; !strings.Contains(got, c.want) || p.Line != 4 {
				t.Errorf("line %d: %s", p.Line, got)
			}
		})
	}
}

func TestNoWayAtAll(t *testing.T) {
	const src = `name: island
networks: { island: 10.20.0.0/24, internet: 203.0.113.0/24 }
nodes:
  alice:  { kind: client, on: [island] }
  server: { kind: server, on: [internet] }
`
	_, err := topology.Load("lab.yaml", []byte(src), registry())
	if err == nil || !strings.Contains(err.Error(), "alice has no way to server") || !strings.Contains(err.Error(), "lab.yaml:4:3") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"type":"echo","seq":1}`, `{"type":"push","seq":-1}`, `{`, ``, `[]`, `{"type":1}`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, ok := parse(text); ok && (m.Seq <= 0 || m.Type != typeEcho && m.Type != typePush) {
			t.Errorf("%q is %+v", text, m)
		}
	})
}

func FuzzAnswerToConnect(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 407 x\r\nContent-Length: 5\r\n\r\nhello", "SSH-2.0", "", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nrest"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		status, err := askForTunnel(readWriter{strings.NewReader(answer), io.Discard}, "server:443", nil)
		if err == nil && (status < 200 || status > 299) {
			t.Errorf("%q: %d", answer, status)
		}
	})
}

// readWriter reads from one place and writes to another.
type readWriter struct {
	io.Reader
	io.Writer
}
