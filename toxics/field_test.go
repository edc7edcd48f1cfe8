package toxics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/topology"
)

func TestIdleCloseInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(2)
		add(t, chain, spec("idle_close", "", `{"timeout": 60000000000}`))
		out := inMemory(t, chain, func(client, server net.Conn) {
			for range 3 { // either direction counts
				time.Sleep(29 * time.Second)
				echo(t, client, server, "up")
				time.Sleep(29 * time.Second)
				echo(t, server, client, "down")
			}
			start := time.Now()
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("read ended with %v", err)
			}
			if d := time.Since(start); d != 30*time.Second {
				t.Errorf("closed after %s", d)
			}
		}, Options{})
		if out.By != ByToxic || out.Toxic.Type != "idle_close" || out.Reset {
			t.Errorf("outcome %+v", out)
		}
	})
}

func TestMaxLifetimeEndsABusyConnection(t *testing.T) {
	for _, end := range []string{"fin", "reset"} {
		t.Run(end, func(t *testing.T) {
			chain := NewChain(1)
			p := newPath(t, chain, 0)
			echo(t, p.client, p.server, "hello")
			// Bytes that nobody reads must not turn the FIN into a RST.
			go func() { _, _ = io.Copy(p.client, zeros{}) }()
			add(t, chain, spec("max_lifetime", "", fmt.Sprintf(`{"lifetime": 50000000, "end": %q}`, end)))
			if end == "fin" {
				wantEOF(t, p.server)
			} else {
				wantReset(t, p.server)
			}
			o := p.wait(t)
			if o.By != ByToxic || o.Toxic.Type != "max_lifetime" || o.Reset != (end == "reset") || o.Ended.IsZero() {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

// A connection that is older than the lifetime ends when the toxic comes.
func TestMaxLifetimeCountsFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(1)
		inMemory(t, chain, func(client, server net.Conn) {
			time.Sleep(50 * time.Second)
			add(t, chain, spec("max_lifetime", "", `{"lifetime": 60000000000}`))
			start := time.Now()
			if _, err := server.Read(make([]byte, 1)); err == nil {
				t.Error("read data")
			}
			if d := time.Since(start); d != 10*time.Second {
				t.Errorf("closed after %s", d)
			}
		}, Options{})
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestBlackholeHeals(t *testing.T) {
	for _, c := range []struct{ onHeal, up, down string }{
		{"lose", "again", "back"},
		{"deliver", "lostagain", "lost tooback"},
	} {
		t.Run(c.onHeal, func(t *testing.T) {
			chain := NewChain(1)
			p := newPath(t, chain, 0)
			echo(t, p.client, p.server, "hello")
			name := add(t, chain, spec("blackhole", "", fmt.Sprintf(`{"on_heal": %q}`, c.onHeal))).Name
			if got := <-p.fired; got != "blackhole" {
				t.Errorf("%s fired", got)
			}
			write(t, p.client, "lost")
			write(t, p.server, "lost too")
			wantSilence(t, p.server)
			wantSilence(t, p.client)
			if _, err := chain.Remove(name); err != nil {
				t.Fatal(err)
			}
			write(t, p.client, "again")
			write(t, p.server, "back")
			wantRead(t, p.server, c.up)
			wantRead(t, p.client, c.down)
		})
	}
}

// The end of a stream that comes meanwhile is passed on when it heals.
func TestBlackholeHoldsTheEnd(t *testing.T) {
	for _, onHeal := range []string{"lose", "deliver"} {
		chain := NewChain(1)
		p := newPath(t, chain, 0)
		name := add(t, chain, spec("blackhole", "", fmt.Sprintf(`{"on_heal": %q}`, onHeal))).Name
		if err := p.client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantSilence(t, p.server)
		if _, err := chain.Remove(name); err != nil {
			t.Fatal(err)
		}
		wantEOF(t, p.server)
		echo(t, p.server, p.client, "still here")
	}
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func wantRead(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
	_ = c.SetReadDeadline(time.Time{})
}

// delays sends messages over a chain of its own and returns how long each took.
func delays(t *testing.T, attributes string, messages int) []time.Duration {
	var all []time.Duration
	synctest.Test(t, func(t *testing.T) {
		chain := NewChain(1)
		add(t, chain, spec("latency_dist", "upstream", attributes))
		inMemory(t, chain, func(client, server net.Conn) {
			message := make([]byte, block)
			for range messages {
				start := time.Now()
				go func() { _, _ = client.Write(message) }()
				if _, err := io.ReadFull(server, message); err != nil {
					t.Fatal(err)
				}
				all = append(all, time.Since(start))
			}
		}, Options{})
	})
	return all
}

func TestLatencyDistributions(t *testing.T) {
	const ms = float64(time.Millisecond)
	for _, c := range []struct {
		name                    string
		least, most, mean, slop float64
	}{
		{"uniform", 80, 120, 100, 1},
		{"normal", 0, 200, 100, 1.5},
		{"pareto", 100, 10_000, 120, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := delays(t, fmt.Sprintf(`{"distribution": %q, "latency": 100000000, "deviation": 20000000, "seed": 7}`, c.name), 4000)
			var sum float64
			for _, d := range all {
				sum += float64(d)
			}
			least, most, mean := float64(slices.Min(all))/ms, float64(slices.Max(all))/ms, sum/float64(len(all))/ms
			if least < c.least || most > c.most || mean < c.mean-c.slop || mean > c.mean+c.slop {
				t.Errorf("from %.1f to %.1f ms, mean %.2f", least, most, mean)
			}
		})
	}
}

func TestSameSeedSameDelays(t *testing.T) {
	const attributes = `{"distribution": "pareto", "latency": 10000000, "deviation": 20000000, "seed": 42}`
	one, two := delays(t, attributes, 100), delays(t, attributes, 100)
	if !slices.Equal(one, two) {
		t.Error("two runs with one seed differ")
	}
	if other := delays(t, strings.Replace(attributes, "42", "43", 1), 100); slices.Equal(one, other) {
		t.Error("another seed gives the same delays")
	}
}

// webSocket returns a client and a server that have done the opening handshake through
// the chain, and the conns below.
func webSocket(t *testing.T, chain *Chain) (client, server *websocket.Conn) {
	t.Helper()
	accepted := make(chan *websocket.Conn, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		accepted <- ws
	}))
	t.Cleanup(web.Close)
	p := newPathTo(t, chain, web.Listener.Addr().String())
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return p, nil }}
	client, response, err := dialer.Dial("ws://server/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	server = <-accepted
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return client, server
}

// newPathTo returns a connection that is carried through the chain to an address.
func newPathTo(t *testing.T, chain *Chain, addr string) net.Conn {
	t.Helper()
	client, left := tcpPair(t)
	right, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); chain.Pipe(t.Context(), left, right, Options{}) }()
	t.Cleanup(func() { _ = client.Close(); <-done })
	return client
}

// frames counts what a peer has received.
type frames struct{ got chan string }

func receive(ws *websocket.Conn) frames {
	f := frames{make(chan string, 100)}
	ws.SetPingHandler(func(s string) error { f.got <- "ping " + s; return nil })
	ws.SetPongHandler(func(s string) error { f.got <- "pong " + s; return nil })
	go func() {
		for {
			_, b, err := ws.ReadMessage()
			if err != nil {
				f.got <- "end"
				return
			}
			f.got <- string(b[:min(len(b), 20)])
		}
	}()
	return f
}

func (f frames) want(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-f.got:
			if got != w {
				t.Fatalf("got %q, want %q", got, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q did not come", w)
		}
	}
}

func TestFramesAreDroppedByOpcode(t *testing.T) {
	for _, when := range []string{"before", "while open"} {
		t.Run(when, func(t *testing.T) {
			chain := NewChain(1)
			s := spec("ws_frames", "upstream", `{"opcodes": ["ping", "close"]}`)
			if when == "before" {
				add(t, chain, s)
			}
			client, server := webSocket(t, chain)
			at := receive(server)
			send(t, client, websocket.TextMessage, "one")
			at.want(t, "one")
			if when != "before" {
				add(t, chain, s)
			}
			send(t, client, websocket.PingMessage, "lost")
			send(t, client, websocket.PongMessage, "kept")
			send(t, client, websocket.BinaryMessage, strings.Repeat("x", 200_000))
			write(t, client.NetConn(), "\x88\x80abcd") // gorilla would not write after its own
			send(t, client, websocket.TextMessage, "two")
			at.want(t, "pong kept", strings.Repeat("x", 20), "two")
			if _, err := chain.Remove("ws_frames_upstream"); err != nil {
				t.Fatal(err)
			}
			send(t, client, websocket.PingMessage, "again")
			at.want(t, "ping again")
		})
	}
}

func send(t *testing.T, ws *websocket.Conn, kind int, text string) {
	t.Helper()
	if err := ws.WriteMessage(kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestFramesAreDuplicatedAndDelayed(t *testing.T) {
	chain := NewChain(1)
	add(t, chain, spec("ws_frames", "upstream", `{"opcodes": ["text"], "action": "duplicate"}`))
	client, server := webSocket(t, chain)
	at := receive(server)
	send(t, client, websocket.TextMessage, "one")
	send(t, client, websocket.PingMessage, "p")
	at.want(t, "one", "one", "ping p")
	if _, err := chain.Remove("ws_frames_upstream"); err != nil {
		t.Fatal(err)
	}
	add(t, chain, spec("ws_frames", "upstream", `{"opcodes": ["ping"], "action": "delay", "delay": 50000000}`))
	send(t, client, websocket.PingMessage, "late")
	send(t, client, websocket.TextMessage, "two")
	at.want(t, "two", "ping late")
	add(t, chain, topology.ToxicSpec{Name: "hour", Type: "ws_frames", Stream: "upstream", Toxicity: 1,
		Attributes: json.RawMessage(`{"opcodes": ["pong"], "action": "delay", "delay": 3600000000000}`)})
	send(t, client, websocket.PongMessage, "held")
	send(t, client, websocket.TextMessage, "three")
	at.want(t, "three")
	if _, err := chain.Remove("hour"); err != nil { // lets go of what it holds
		t.Fatal(err)
	}
	at.want(t, "pong held")
}

// A toxic that is removed while half of a frame was dropped drops the rest.
func TestFrameIsDroppedWhole(t *testing.T) {
	chain := NewChain(1)
	server, right := tcpPair(t)
	client, left := tcpPair(t)
	done := make(chan struct{})
	go func() { defer close(done); chain.Pipe(t.Context(), left, right, Options{}) }()
	add(t, chain, spec("ws_frames", "upstream", `{"opcodes": ["binary"]}`))
	head := "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
	frame := "\x82\x7e\x01\x00" + strings.Repeat("x", 256)
	write(t, client, head+frame[:100])
	wantRead(t, server, head)
	wantSilence(t, server)
	if _, err := chain.Remove("ws_frames_upstream"); err != nil {
		t.Fatal(err)
	}
	write(t, client, frame[100:]+"\x82\x01y")
	wantRead(t, server, "\x82\x01y")
	_ = client.Close()
	_ = server.Close()
	<-done
}

func TestSameSeedPicksTheSameFrames(t *testing.T) {
	picked := func() string {
		chain := NewChain(1)
		add(t, chain, spec("ws_frames", "upstream", `{"opcodes": ["text"], "share": 0.5, "seed": 5}`))
		client, server := webSocket(t, chain)
		at := receive(server)
		for i := range 50 {
			send(t, client, websocket.TextMessage, fmt.Sprint(i))
		}
		send(t, client, websocket.BinaryMessage, "over")
		var got []string
		for text := range at.got {
			if text == "over" {
				break
			}
			got = append(got, text)
		}
		return strings.Join(got, " ")
	}
	one, two := picked(), picked()
	if one != two || len(one) < 20 || len(one) > 120 {
		t.Errorf("%s\n%s", one, two)
	}
}

func TestHTTPReply(t *testing.T) {
	const upgrade = "GET /chat HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for _, c := range []struct{ name, attributes, request, want string }{
		{"defaults", `{}`, upgrade, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
		{"407", `{"status": 407}`, upgrade, "HTTP/1.1 407 Proxy Authentication Required\r\nConnection: close\r\nContent-Length: 0\r\nProxy-Authenticate: Basic realm=\"wslab\"\r\n\r\n"},
		{"captive page", `{"status": 200, "to": "any", "body": "log in"}`, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\nContent-Type: text/html; charset=utf-8\r\n\r\nlog in"},
		{"redirect", `{"status": 302, "headers": {"location": "http://portal/"}}`, upgrade, "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: http://portal/\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain := NewChain(1)
			add(t, chain, spec("http_reply", "upstream", c.attributes))
			p := newPath(t, chain, 0)
			for _, b := range []byte(c.request) { // in pieces
				write(t, p.client, string(b))
			}
			_ = p.client.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := io.ReadAll(p.client)
			if string(got) != c.want || err != nil {
				t.Errorf("got %q, %v\nwant %q", got, err, c.want)
			}
			if rest, err := io.ReadAll(p.server); len(rest) > 0 || err != nil {
				t.Errorf("the server got %q, %v", rest, err)
			}
			_ = p.client.Close()
			_ = p.server.Close()
			if o := p.wait(t); o.By != ByToxic || o.Toxic.Type != "http_reply" {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestHTTPReplyLetsTheRestPass(t *testing.T) {
	for name, text := range map[string]string{
		"plain request": "GET / HTTP/1.1\r\nHost: server\r\n\r\n",
		"TLS":           "\x16\x03\x01\x00\x05hello",
		"no HTTP":       "hello, who is there?",
		"long method":   strings.Repeat("A", 100),
		"long head":     "GET / HTTP/1.1\r\nX: " + strings.Repeat("y", headLimit+10),
	} {
		t.Run(name, func(t *testing.T) {
			chain := NewChain(1)
			add(t, chain, spec("http_reply", "upstream", `{}`))
			p := newPath(t, chain, 0)
			echo(t, p.client, p.server, text)
			echo(t, p.server, p.client, "answer")
		})
	}
	t.Run("past the handshake", func(t *testing.T) {
		chain := NewChain(1)
		p := newPath(t, chain, 0)
		echo(t, p.client, p.server, "hello")
		add(t, chain, spec("http_reply", "upstream", `{}`))
		echo(t, p.client, p.server, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
	})
	t.Run("removed in the middle", func(t *testing.T) {
		chain := NewChain(1)
		add(t, chain, spec("http_reply", "upstream", `{}`))
		p := newPath(t, chain, 0)
		write(t, p.client, "GET / HTTP/1.1\r\nUpgr")
		wantSilence(t, p.server)
		if _, err := chain.Remove("http_reply_upstream"); err != nil {
			t.Fatal(err)
		}
		write(t, p.client, "ade: websocket\r\n\r\n")
		wantRead(t, p.server, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
	})
}

func TestFieldToxicsRefuse(t *testing.T) {
	chain := NewChain(1)
	for want, s := range map[string]topology.ToxicSpec{
		`toxic "idle_close_downstream": timeout is 0s, not above 0`:                                             spec("idle_close", "", `{"timeout": 0}`),
		`toxic "max_lifetime_downstream": end is "1012", not fin or reset`:                                      spec("max_lifetime", "", `{"end": "1012"}`),
		`toxic "blackhole_downstream": on_heal is "", not lose or deliver`:                                      spec("blackhole", "", `{"on_heal": ""}`),
		`toxic "latency_dist_downstream": distribution is "poisson", not uniform, normal or pareto`:             spec("latency_dist", "", `{"distribution": "poisson"}`),
		`toxic "ws_frames_downstream": opcodes: "hello" is not continuation, text, binary, close, ping or pong`: spec("ws_frames", "", `{"opcodes": ["hello"]}`),
		`toxic "ws_frames_downstream": action delay needs a delay`:                                              spec("ws_frames", "", `{"action": "delay"}`),
		`toxic "http_reply_downstream": status is 101, not from 200 to 599`:                                     spec("http_reply", "", `{"status": 101}`),
		`toxic "http_reply_downstream": "X": "a\nb" is no header of HTTP (RFC 9110, section 5)`:                 spec("http_reply", "", `{"headers": {"X": "a\nb"}}`),
	} {
		if _, err := chain.Add(s); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// FuzzFrameTracker cuts a stream in two ways; both have to see the same frames, and
// nothing may be lost.
func FuzzFrameTracker(f *testing.F) {
	const head = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
	f.Add([]byte(head+"\x89\x80abcd\x81\x05hello"), uint8(1))
	f.Add([]byte(head+"\x82\x7e\x00\x03xyz\x8a\x00"), uint8(3))
	f.Add([]byte(head+"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x02xy"), uint8(7))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n\r\n\x88\x02\x03\xe8"), uint8(2))
	f.Add([]byte("\x16\x03\x01"), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		pieces := func(size int) (text string, all []byte) {
			var tracker frameTracker
			for rest := data; len(rest) > 0; {
				chunk := rest[:min(len(rest), size)]
				rest = rest[len(chunk):]
				for len(chunk) > 0 {
					var p piece
					p, chunk = tracker.cut(chunk)
					if len(p.data) == 0 {
						t.Fatal("an empty piece")
					}
					if p.first {
						text += fmt.Sprintf("%d@%d ", p.opcode, len(all))
					}
					all = append(all, p.data...)
				}
			}
			return text, all
		}
		whole, all := pieces(len(data) + 1)
		cut, again := pieces(int(size) + 1)
		if !bytes.Equal(all, data) || !bytes.Equal(again, data) {
			t.Error("bytes were lost")
		}
		if whole != cut && len(data) < headLimit {
			t.Errorf("whole: %s\ncut: %s", whole, cut)
		}
	})
}

// The seed also says which connections a toxic acts on.
func TestSameSeedSameConnections(t *testing.T) {
	run := func() string {
		chain := NewChain(1)
		s := spec("ws_frames", "upstream", `{"seed": 5}`)
		s.Toxicity = 0.5
		add(t, chain, s)
		var acts strings.Builder
		for range 40 {
			p := newPath(t, chain, 0)
			chain.mu.Lock()
			for pair := range chain.pairs {
				fmt.Fprint(&acts, len(pair.links[0].stages))
			}
			chain.mu.Unlock()
			p.cancel()
			p.wait(t)
		}
		return acts.String()
	}
	one, two := run(), run()
	if one != two || !strings.Contains(one, "0") || !strings.Contains(one, "1") {
		t.Errorf("two runs:\n%s\n%s", one, two)
	}
}
