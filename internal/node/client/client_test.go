package client

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
)

const serverURL = "wss://server/"

var direct = Path{Name: Direct, URL: serverURL}

func (l *lab) start(id string, s strategy.Strategy, path string) {
	l.t.Helper()
	l.call("session.start", start{ID: id, Name: "test", Strategy: s, Path: path}, nil)
}

// kinds returns the types of a session's events at one node.
func (l *lab) kinds(session, node string) []trace.Type {
	var types []trace.Type
	for _, e := range l.of(session) {
		if e.Node == node {
			types = append(types, e.Type)
		}
	}
	return types
}

func TestSessionSpeaksTheNumberedEcho(t *testing.T) {
	l := newLab(t, 1, direct)
	l.start("a", strategy.Strategy{}, "")
	open := l.await("a", trace.Open)
	accepted := l.await("a", trace.Accepted)
	if open.Flow == nil || accepted.Flow == nil || *open.Flow != *accepted.Flow {
		t.Errorf("flows: client %v, server %v", open.Flow, accepted.Flow)
	}
	l.call("session.talk", map[string]any{"ids": []string{"a"}, "interval": time.Hour}, nil)
	l.await("a", trace.Acked)
	if err := l.server.Call(t.Context(), "talk", map[string]any{"ids": []string{"a"}, "interval": time.Hour}, nil); err != nil {
		t.Fatal(err)
	}
	l.await("a", trace.Received)
	// A second talk takes the place of the first, and sends at once again.
	l.call("session.talk", map[string]any{"ids": []string{"a"}, "interval": time.Hour}, nil)
	l.awaitMatch("a", "second ack", func(e trace.Event) bool { return e.Type == trace.Acked && e.Seq == 2 })
	l.call("session.quiet", sessions{[]string{"a"}}, nil)
	want := Record{Sent: 2, Acked: 2, Pushes: 1, Connections: 1, Open: true, LastAcked: true}
	for _, method := range []string{"session.record", "session.stop"} {
		var records map[string]Record
		l.call(method, sessions{[]string{"a", "nobody"}}, &records)
		if records["a"] != want || records["nobody"] != (Record{}) {
			t.Errorf("%s: %+v, want %+v", method, records, want)
		}
	}
	closed := l.await("a", trace.Close)
	if closed.Code != 1000 || closed.By != "runner" {
		t.Errorf("closed: %+v", closed)
	}
	got := l.kinds("a", "alice")
	expected := []trace.Type{trace.DialStart, trace.Open, trace.Sent, trace.Acked, trace.Received, trace.Sent, trace.Acked, trace.Close}
	if !slices.Equal(got, expected) {
		t.Errorf("events %v, want %v", got, expected)
	}
	// The server has heard the acknowledgement of its push.
	atServer := l.await("a", trace.ServerClosed)
	if atServer.Code != 1000 || atServer.By != "peer" {
		t.Errorf("at the server: %+v", atServer)
	}
	var ledger map[string]struct {
		Received  int `json:"received"`
		PushAcked int `json:"push_acked"`
	}
	if err := l.server.Call(t.Context(), "ledger", sessions{[]string{"a"}}, &ledger); err != nil {
		t.Fatal(err)
	}
	if ledger["a"].Received != 2 || ledger["a"].PushAcked != 1 {
		t.Errorf("ledger: %+v", ledger)
	}
}

func TestEveryPathIsWalked(t *testing.T) {
	l := newLab(t, 1, direct,
		Path{Name: "plain", URL: "ws://server/"},
		Path{Name: "http-proxy", URL: serverURL, Proxy: "http://alice:secret@http-proxy:3128"},
		Path{Name: "cleartext", URL: "ws://server/", Proxy: "http://alice:secret@http-proxy:3128"},
		Path{Name: "socks-proxy", URL: serverURL, Proxy: "socks5://alice:secret@socks-proxy:1080"},
		Path{Name: "unknown-user", URL: serverURL, Proxy: "http://bob:secret@http-proxy:3128"},
		Path{Name: "forbidden-port", URL: "wss://server:444/", Proxy: "http://alice:secret@http-proxy:3128"},
		Path{Name: "unreachable", URL: "wss://server:445/", Proxy: "http://alice:secret@http-proxy:3128"},
		Path{Name: "no-proxy", URL: serverURL, Proxy: "http://alice:secret@nobody:3128"},
		Path{Name: "stranger", URL: "wss://stranger/"},
		Path{Name: "not-found", URL: "wss://server/healthz"},
	)
	asked := make(chan string, 1)
	l.name("http-proxy:3128", l.connectProxy())
	l.name("socks-proxy:1080", l.socksProxy(0, func(name string) { asked <- name }))
	l.name("nobody:3128", closedPort(t))
	l.name("server:445", closedPort(t))
	l.name("stranger:443", l.address("server:443")) // its certificate is for another name
	var walks []Walk
	l.call("walk", struct{}{}, &walks)
	want := map[string]string{
		"direct": "", "plain": "", "http-proxy": "", "cleartext": "", "socks-proxy": "",
		"unknown-user":   "proxy: proxy http-proxy:3128: CONNECT server:443 was answered with 407 Proxy Authentication Required",
		"forbidden-port": "proxy: proxy http-proxy:3128: CONNECT server:444 was answered with 403 Forbidden",
		"unreachable":    "proxy: proxy http-proxy:3128: CONNECT server:445 was answered with 502 Bad Gateway",
		"no-proxy":       "tcp: connection refused",
		"stranger":       "tls: not stranger",
		"not-found":      "websocket: the handshake was answered with 200 OK: websocket: bad handshake",
	}
	if len(walks) != len(want) {
		t.Errorf("%d walks of %d paths", len(walks), len(want))
	}
	for _, w := range walks {
		stage, text, _ := strings.Cut(want[w.Path], ": ")
		if w.OK != (want[w.Path] == "") || w.Stage != stage || !strings.Contains(w.Error, text) || w.Seconds <= 0 {
			t.Errorf("%+v, want %q", w, want[w.Path])
		}
	}
	if name := <-asked; name != "3 server" {
		t.Errorf("the SOCKS proxy was asked for %q, not for the name", name)
	}
}

// closedPort is an address that refuses connections.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// The library's errors are recognised by their text, so every reply is tried.
func TestSOCKSRepliesAreToldApart(t *testing.T) {
	for reply := byte(1); reply <= 9; reply++ {
		t.Run(fmt.Sprint(reply), func(t *testing.T) {
			l := newLab(t, 1, Path{Name: "socks-proxy", URL: serverURL, Proxy: "socks5://alice:secret@socks-proxy:1080"})
			l.name("socks-proxy:1080", l.socksProxy(reply, func(string) {}))
			l.start("a", strategy.Strategy{}, "")
			status := int(reply)
			if reply > 8 {
				status = 0 // not assigned
			}
			if e := l.await("a", trace.DialFailed); e.Stage != "proxy" || e.Status != status {
				t.Errorf("%+v", e)
			}
		})
	}
	for name, c := range map[string]struct {
		user   string
		status int
		text   string
	}{
		"no method":      {"", socksNoMethod, "no acceptable authentication methods"},
		"wrong password": {"alice:wrong@", 0, "username/password authentication failed"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1, Path{Name: "socks-proxy", URL: serverURL, Proxy: "socks5://" + c.user + "socks-proxy:1080"})
			l.name("socks-proxy:1080", l.socksProxy(0, func(string) {}))
			l.start("a", strategy.Strategy{}, "")
			if e := l.await("a", trace.DialFailed); e.Stage != "proxy" || e.Status != c.status || !strings.Contains(e.Err, c.text) {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestReconnectGoesOnCounting(t *testing.T) {
	l := newLab(t, 10, Path{Name: "http-proxy", URL: serverURL, Proxy: "http://alice:secret@http-proxy:3128"})
	cut := make(chan func(), 2)
	target := l.connectProxy()
	l.name("http-proxy:3128", listenLoopback(t, func(conn net.Conn) {
		onward, err := net.Dial("tcp4", target)
		if err != nil {
			return
		}
		cut <- func() { _ = conn.Close(); _ = onward.Close() }
		splice(conn, conn, onward)
	}))
	l.start("a", strategy.Strategy{Reconnect: &strategy.Reconnect{Base: 100 * time.Millisecond}}, "")
	l.call("session.talk", map[string]any{"ids": []string{"a"}, "interval": 200 * time.Millisecond}, nil)
	l.await("a", trace.Acked)
	(<-cut)()
	closed := l.await("a", trace.Close)
	if closed.Code != 1006 || closed.By != "network" || closed.Err == "" {
		t.Errorf("%+v", closed)
	}
	wait := l.await("a", trace.ReconnectWait)
	if wait.Attempt != 1 || wait.Dur != 10*time.Millisecond {
		t.Errorf("%+v", wait)
	}
	acked := l.awaitMatch("a", "ack on the second connection", func(e trace.Event) bool { return e.Type == trace.Acked && e.Conn == 2 })
	if acked.Seq < 2 {
		t.Errorf("%+v", acked)
	}
	var records map[string]Record
	l.call("session.stop", sessions{[]string{"a"}}, &records)
	if r := records["a"]; r.Connections != 2 || !r.Open || r.Sent < 2 {
		t.Errorf("%+v", r)
	}
	seen := make(map[int64]bool)
	for _, e := range l.of("a") {
		switch e.Type {
		case trace.Sent:
			if seen[e.Seq] {
				t.Errorf("message %d was sent twice", e.Seq)
			}
			seen[e.Seq] = true
		case trace.Acked:
			if !seen[e.Seq] {
				t.Errorf("message %d was acknowledged before it was sent", e.Seq)
			}
		}
	}
	(<-cut)()
}

func TestSessionsThatCannotStart(t *testing.T) {
	l := newLab(t, 1, direct)
	l.start("a", strategy.Strategy{}, "")
	for name, c := range map[string]struct {
		p    start
		want string
	}{
		"no id":        {start{}, "needs an id"},
		"taken":        {start{ID: "a"}, "already"},
		"unknown path": {start{ID: "b", Path: "proxy"}, `no way to the server is called "proxy"; there is: direct`},
		"bad URL":      {start{ID: "c", URL: "http://server/"}, "does not begin with ws://"},
	} {
		err := l.client.Call(t.Context(), "session.start", c.p, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.client.Call(t.Context(), "session.talk", map[string]any{"ids": []string{"zz"}, "interval": 1}, nil); err == nil || !strings.Contains(err.Error(), `no session "zz"`) {
		t.Errorf("talk: %v", err)
	}
	if err := l.client.Call(t.Context(), "session.talk", map[string]any{"ids": []string{"a"}}, nil); err == nil {
		t.Error("a talk without an interval")
	}
}

func TestGivingUpIsRecorded(t *testing.T) {
	l := newLab(t, 100, direct)
	l.name("server:443", closedPort(t))
	l.start("a", strategy.Strategy{Reconnect: &strategy.Reconnect{Tries: 2}}, "")
	l.await("a", trace.ReconnectGaveUp)
	want := []trace.Type{trace.DialStart, trace.DialFailed, trace.ReconnectWait, trace.DialStart, trace.DialFailed,
		trace.ReconnectWait, trace.DialStart, trace.DialFailed, trace.ReconnectGaveUp}
	if got := l.kinds("a", "alice"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var records map[string]Record
	l.call("session.stop", sessions{[]string{"a"}}, &records)
	if records["a"] != (Record{GaveUp: true}) {
		t.Errorf("%+v", records)
	}
}

func TestCancelInterruptsEveryStage(t *testing.T) {
	// A peer that takes everything and says nothing.
	silent := listenLoopback(t, func(conn net.Conn) {
		b := make([]byte, 1024)
		for {
			if _, err := conn.Read(b); err != nil {
				return
			}
		}
	})
	authority, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	roots, err := ca.Pool(authority)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, proxy, stage string }{
		"websocket": {"ws://server/", "", "websocket"},
		"tls":       {"wss://server/", "", "tls"},
		"connect":   {"wss://server/", "http://http-proxy:3128", "proxy"},
		"socks":     {"wss://server/", "socks5://alice:secret@socks-proxy:1080", "proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			d := &dialer{roots: roots, dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, silent)
				time.AfterFunc(20*time.Millisecond, cancel) // after the connection is there, before any answer
				return conn, err
			}}
			if c.proxy != "" {
				d.proxy = mustParse(t, c.proxy)
			}
			_, err := d.open(ctx, c.url)
			stage, _, _ := stageOf(err)
			if err == nil || stage != c.stage {
				t.Errorf("%v", err)
			}
		})
	}
}
