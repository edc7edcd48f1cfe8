package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"crypto/tls"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// net/http waits for half a second, whatever happens, before it closes a connection that it has refused.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// rig is a server node on loopback, with the host's end of its control stream.
type rig struct {
	t           testing.TB
	http, https string
	authority   *topology.Authority
	host        *control.Conn

	mu     sync.Mutex
	events []trace.Event
	more   chan struct{}
}

// pipe is a control stream in memory.
type pipe struct {
	io.Reader
	io.Writer
	close func()
}

func (p pipe) Close() error { p.close(); return nil }

func start(t testing.TB) *rig { return startWith(t, *testSettings()) }

// testSettings are the defaults, on ports that are not those that are listened on.
func testSettings() *Settings {
	s := newSettings()
	s.HTTPPort, s.HTTPSPort = 1, 2
	return s
}

func startWith(t testing.TB, with Settings) *rig {
	t.Helper()
	authority, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(with)
	if err != nil {
		t.Fatal(err)
	}
	toNode, fromHost := io.Pipe()
	toHost, fromNode := io.Pipe()
	spec := topology.NodeSpec{
		Name: "server", Kind: "server", Speed: 10, Settings: settings, CA: authority,
		Interfaces: []topology.Interface{{Network: "internet", Addr: netip.MustParsePrefix("203.0.113.2/24")}},
	}
	served := control.NewServer(fromNode)
	ready := make(chan struct{})
	env := node.NewEnv(spec, served, func() { close(ready) })
	var addresses []string
	env.Listen = func(ctx context.Context, network, _ string) (net.Listener, error) {
		l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(ctx, network, "127.0.0.1:0")
		if err == nil {
			addresses = append(addresses, l.Addr().String())
		}
		return l, err
	}
	r := &rig{t: t, authority: authority, more: make(chan struct{}, 1)}
	r.host = control.NewConn("server", pipe{toHost, fromHost, func() { _ = toHost.Close(); _ = fromHost.Close() }}, r.record)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { served.Serve(ctx, toNode) })
	running.Go(func() {
		if err := run(ctx, env); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = r.host.Close()
		running.Wait()
	})
	<-ready
	r.http, r.https = addresses[0], addresses[1]
	return r
}

func (r *rig) record(e trace.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// await waits for an event.
func (r *rig) await(what string, is func(trace.Event) bool) trace.Event {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		i := slices.IndexFunc(r.events, is)
		if i >= 0 {
			defer r.mu.Unlock()
			return r.events[i]
		}
		r.mu.Unlock()
		select {
		case <-r.more:
		case <-limit:
			r.t.Fatalf("no event: %s", what)
		}
	}
}

func (r *rig) call(method string, params, result any) {
	r.t.Helper()
	if err := r.host.Call(context.Background(), method, params, result); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) entry(id string) Entry {
	var all map[string]Entry
	r.call("ledger", sessions{[]string{id}}, &all)
	return all[id]
}

func (r *rig) dial(path string) *websocket.Conn {
	r.t.Helper()
	pool, err := ca.Pool(r.authority)
	if err != nil {
		r.t.Fatal(err)
	}
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "server"}}
	ws, response, err := d.Dial("wss://"+r.https+path, nil)
	if err != nil {
		r.t.Fatalf("%v (%v)", err, response)
	}
	r.t.Cleanup(func() { _ = ws.Close() })
	return ws
}

func (r *rig) exchange(ws *websocket.Conn, opcode int, send, want string) {
	r.t.Helper()
	if err := ws.WriteMessage(opcode, []byte(send)); err != nil {
		r.t.Fatal(err)
	}
	gotOpcode, got, err := ws.ReadMessage()
	if err != nil || gotOpcode != opcode || string(got) != want {
		r.t.Fatalf("sent %s, got %d %q %v, want %q", send, gotOpcode, got, err, want)
	}
}

func TestLedgerCountsBothWaysAcrossConnections(t *testing.T) {
	r := start(t)
	ws := r.dial("/?session=a")
	r.exchange(ws, websocket.TextMessage, `{"type":"message","seq":1}`, `{"type":"echo","seq":1}`)
	r.exchange(ws, websocket.TextMessage, `{"type":"message","seq":1}`, `{"type":"echo","seq":1}`)
	_ = ws.Close()
	r.await("closed", func(e trace.Event) bool { return e.Type == trace.ServerClosed && e.Code == 1006 })

	ws = r.dial("/?session=a")
	r.exchange(ws, websocket.TextMessage, `{"type":"message","seq":3}`, `{"type":"echo","seq":3}`)
	r.call("talk", map[string]any{"ids": []string{"a", "nobody"}, "interval": time.Hour}, nil)
	if _, push, err := ws.ReadMessage(); err != nil || string(push) != `{"type":"push","seq":1}` {
		t.Fatalf("%s %v", push, err)
	}
	r.call("quiet", sessions{[]string{"a", "nobody"}}, nil)
	// The echo of the next message comes after the acknowledgement was read.
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"push-ack","seq":1}`)); err != nil {
		t.Fatal(err)
	}
	r.exchange(ws, websocket.TextMessage, `{"type":"message","seq":4}`, `{"type":"echo","seq":4}`)

	want := Entry{Connections: 2, Open: 1, Received: 3, Duplicates: 1, Pushed: 1, PushAcked: 1}
	if got := r.entry("a"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := r.entry("nobody"); got != (Entry{}) {
		t.Errorf("nobody: %+v", got)
	}
	r.call("forget", sessions{[]string{"a"}}, nil)
	if got := r.entry("a"); got != want {
		t.Errorf("a session with a connection was forgotten: %+v", got)
	}
}

func TestAnythingElseIsEchoedAsItCame(t *testing.T) {
	r := start(t)
	ws := r.dial("/")
	for _, text := range []string{"hello", "", "{", `{"type":"message"}`, `{"type":"heartbeat","ts":"2026-01-01T00:00:00Z","x":1}`, `{"type":"echo","seq":1}`} {
		r.exchange(ws, websocket.TextMessage, text, text)
	}
	r.exchange(ws, websocket.BinaryMessage, `{"type":"message","seq":1}`, `{"type":"message","seq":1}`)
	if got := r.entry("anonymous-1"); got.Connections != 1 || got.Received != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWrongHandshakesAreRefused(t *testing.T) {
	r := start(t)
	for name, c := range map[string]struct {
		header http.Header
		method string
		status int
	}{
		"no key":        {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}}, "GET", 400},
		"wrong version": {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"8"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}, "GET", 426},
		"post":          {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}, "POST", 405},
		"plain":         {nil, "GET", 200},
	} {
		request, err := http.NewRequest(c.method, "http://"+r.http+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != nil {
			request.Header = c.header
		}
		transport := &http.Transport{}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		transport.CloseIdleConnections()
		if response.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", name, response.StatusCode, c.status)
		}
	}
	r.await("refused", func(e trace.Event) bool { return e.Type == trace.Refused && e.Status == 405 })
}

// TestStuckClientHoldsUpNobody has a client that reads nothing while others talk.
func TestStuckClientHoldsUpNobody(t *testing.T) {
	r := start(t)
	stuck := r.dial("/?session=stuck")
	big := bytes.Repeat([]byte("x"), 64<<10)
	for range 64 { // echoes fill the socket's buffers, then the server's queue
		if err := stuck.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if stuck.WriteMessage(websocket.TextMessage, big) != nil {
			break
		}
	}
	other := r.dial("/?session=other")
	r.call("talk", map[string]any{"ids": []string{"stuck", "other"}, "interval": 10 * time.Millisecond}, nil)
	for range 50 {
		if _, _, err := other.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"type":"message","seq":1}`, `{"type":"push-ack","seq":-1}`, `{"type":"heartbeat"}`, `{`, ``, `[]`, `{"type":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, ok := parse(text); ok && m.Type != typeHeartbeat && m.Seq <= 0 {
			t.Errorf("%q is %+v", text, m)
		}
	})
}
