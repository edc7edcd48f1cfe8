package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
)

// want1006 checks that the stream ended without a close frame, and not by a RST.
func want1006(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, syscall.ECONNRESET) || websocket.IsCloseError(err, 1000, 1001, 1005, 1009, 1012) {
		t.Errorf("ended with %v, want an end without a close frame", err)
	}
}

// wantEnd checks that a client sees the end as on_idle and its like have it.
func wantEnd(t *testing.T, c *websocket.Conn, how string) {
	t.Helper()
	_, _, err := c.ReadMessage()
	wantEndedWith(t, err, how)
}

func wantEndedWith(t *testing.T, err error, how string) {
	t.Helper()
	switch how {
	case "fin":
		want1006(t, err)
	case "reset":
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("ended with %v, want a RST", err)
		}
	default:
		code := map[string]int{"1001": 1001, "1012": 1012}[how]
		if !websocket.IsCloseError(err, code) {
			t.Errorf("ended with %v, want a close frame %d", err, code)
		}
	}
}

func TestReverseEndsAsTheLabFileSays(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		for _, how := range []string{"fin", "reset", "1001"} {
			t.Run(scheme+" idle "+how, func(t *testing.T) {
				g := newRig(t, reverseSettings(func(s *Settings) { s.IdleTimeout, s.OnIdle = 100*time.Millisecond, how }))
				c, _, err := g.dial(t, scheme)
				if err != nil {
					t.Fatal(err)
				}
				wantEnd(t, c, how)
				_ = c.Close()
				if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "idle" || e.Detail != how || e.Err != "" {
					t.Errorf("event %v", e)
				}
				if err := <-g.origin.ended; how != "reset" {
					want1006(t, err)
				}
			})
			t.Run(scheme+" lifetime "+how, func(t *testing.T) {
				g := newRig(t, reverseSettings(func(s *Settings) { s.MaxLifetime, s.OnLifetime = 150*time.Millisecond, how }))
				c, _, err := g.dial(t, scheme)
				if err != nil {
					t.Fatal(err)
				}
				stop := pinging(c)
				_, _, err = c.ReadMessage()
				if failed := stop(); errors.Is(failed, syscall.ECONNRESET) {
					err = failed // the kernel tells of a RST once: the writer was first
				}
				wantEndedWith(t, err, how)
				_ = c.Close()
				if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "lifetime" || e.Detail != how || e.Dur < 150*time.Millisecond {
					t.Errorf("event %v", e)
				}
			})
		}
	}
}

// pinging sends pings until it is stopped or the connection is over; stop returns why it is.
func pinging(c *websocket.Conn) (stop func() error) {
	done := make(chan struct{})
	over := make(chan error, 1)
	go func() {
		for {
			select {
			case <-done:
				over <- nil
				return
			case <-time.After(10 * time.Millisecond):
			}
			if err := c.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
				over <- err
				return
			}
		}
	}()
	return sync.OnceValue(func() error { close(done); return <-over })
}

func TestReverseActivity(t *testing.T) {
	for _, c := range []struct {
		activity string
		// quiet says whether pings and pongs count for nothing.
		quiet bool
	}{{"any", false}, {"data", true}, {"upstream", false}, {"downstream", false}} {
		t.Run(c.activity, func(t *testing.T) {
			const limit = 400 * time.Millisecond
			g := newRig(t, reverseSettings(func(s *Settings) { s.IdleTimeout, s.Activity = limit, c.activity }))
			conn, _, err := g.dial(t, "wss")
			if err != nil {
				t.Fatal(err)
			}
			server := <-g.origin.conns
			stop := pinging(conn)
			defer func() { _ = stop() }()
			if !c.quiet {
				time.AfterFunc(3*limit, func() { _ = stop() }) // alive as long as it pings
			}
			want1006(t, second(conn.ReadMessage()))
			_ = conn.Close()
			_ = server
			e := g.events.wait(t, trace.RelayClosed, 1)
			if e.By != "idle" || c.quiet == (e.Dur > 3*limit) {
				t.Errorf("event %v", e)
			}
		})
	}
}

func second(_ int, _ []byte, err error) error { return err }

func TestReverseOneDirectionCounts(t *testing.T) {
	// The client hears nothing and says nothing but unanswered pongs, which go upstream.
	for _, c := range []struct {
		activity string
		lives    bool
	}{{"upstream", true}, {"downstream", false}} {
		t.Run(c.activity, func(t *testing.T) {
			const limit = 400 * time.Millisecond
			g := newRig(t, reverseSettings(func(s *Settings) { s.IdleTimeout, s.Activity = limit, c.activity }))
			conn, _, err := g.dial(t, "wss")
			if err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond):
						_ = conn.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
					}
				}
			})
			if c.lives {
				time.AfterFunc(3*limit, func() { close(stop) })
			}
			want1006(t, second(conn.ReadMessage()))
			_ = conn.Close()
			if !c.lives {
				close(stop)
			}
			all.Wait()
			if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "idle" || c.lives != (e.Dur > 3*limit) {
				t.Errorf("event %v", e)
			}
		})
	}
}

func TestReverseDropsCloseFrames(t *testing.T) {
	g := newRig(t, reverseSettings(func(s *Settings) { s.CloseFrames = drop }))
	c, _, err := g.dial(t, "wss")
	if err != nil {
		t.Fatal(err)
	}
	server := <-g.origin.conns
	_ = server.WriteMessage(websocket.TextMessage, []byte("before"))
	_ = server.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"))
	if _, data, err := c.ReadMessage(); err != nil || string(data) != "before" {
		t.Errorf("%q, %v", data, err)
	}
	want1006(t, second(c.ReadMessage()))
	_ = c.Close()
	if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "server" || e.Detail != closeDropped {
		t.Errorf("event %v", e)
	}
	c, _, err = g.dial(t, "wss")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"))
	want1006(t, second(c.ReadMessage()))
	_ = c.Close()
	if e := g.events.wait(t, trace.RelayClosed, 2); e.By != "client" || e.Detail != closeDropped {
		t.Errorf("event %v", e)
	}
}

func TestReverseLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit func(*Settings)
		size  int
	}{
		{"frame", func(s *Settings) { s.MaxFrame = 1000 }, 1001},
		{"message", func(s *Settings) { s.MaxMessage = 70000 }, 70001},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, reverseSettings(c.limit))
			conn, _, err := g.dial(t, "wss")
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{c.size - 1, c.size} {
				if err := conn.WriteMessage(websocket.BinaryMessage, make([]byte, size)); err != nil {
					t.Fatal(err)
				}
				_, data, err := conn.ReadMessage()
				if size < c.size {
					if err != nil || len(data) != size {
						t.Errorf("%d bytes: %d, %v", size, len(data), err)
					}
					continue
				}
				if !websocket.IsCloseError(err, 1009) {
					t.Errorf("%d bytes: %v", size, err)
				}
			}
			_ = conn.Close()
			if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "limit" || !strings.Contains(e.Detail, "over the limit") {
				t.Errorf("event %v", e)
			}
		})
	}
}

func TestReverseDrains(t *testing.T) {
	g := newRig(t, reverseSettings(func(s *Settings) { s.OnDrain = "1012" }))
	old, _, err := g.dial(t, "wss")
	if err != nil {
		t.Fatal(err)
	}
	<-g.origin.conns
	g.serve(t, `{"id":"1","method":"drain","params":{"grace":100000000}}`+"\n")
	if e := g.events.wait(t, trace.Draining, 1); e.Count != 1 || e.Dur != 100*time.Millisecond {
		t.Errorf("event %v", e)
	}
	young, _, err := g.dial(t, "wss")
	if err != nil {
		t.Fatal(err)
	}
	wantEnd(t, old, "1012")
	_ = old.Close()
	if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "drain" || e.Detail != "1012" {
		t.Errorf("event %v", e)
	}
	wantMessages(t, young)
}

func wantMessages(t *testing.T, c *websocket.Conn) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := c.ReadMessage(); err != nil || string(data) != "hello" {
		t.Fatalf("%q, %v", data, err)
	}
}

func TestReverseGoesDown(t *testing.T) {
	for _, how := range []string{"fin", "reset", "1001", "1012"} {
		t.Run(how, func(t *testing.T) {
			g := newRig(t, reverseSettings(func(s *Settings) { s.OnRestart = how }))
			c, _, err := g.dial(t, "wss")
			if err != nil {
				t.Fatal(err)
			}
			stopped := make(chan struct{})
			go func() { defer close(stopped); g.stop() }()
			wantEnd(t, c, how)
			_ = c.Close()
			<-stopped
			if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "node" || e.Detail != "restart" {
				t.Errorf("event %v", e)
			}
		})
	}
}

func TestReverseStripsUpgrade(t *testing.T) {
	for version, want := range map[string]string{"": "HTTP/1.0", "1.1": "HTTP/1.1"} {
		g := newRig(t, reverseSettings(func(s *Settings) { s.Upgrade, s.HTTPVersion = strip, version }))
		_, _, err := g.dial(t, "wss")
		if err == nil || !strings.HasPrefix(err.Error(), "200 OK: plain") {
			t.Errorf("got %v", err)
		}
		request := <-g.origin.requests
		if request.Proto != want || request.Header.Get("Upgrade") != "" || !request.Close || request.Header.Get("Sec-WebSocket-Key") == "" {
			t.Errorf("%s %v %v", request.Proto, request.Close, request.Header)
		}
	}
}

func TestReverseBalances(t *testing.T) {
	for _, c := range []struct{ balance, want string }{
		{balanceRoundRobin, "one two one two"},
		{balanceCookie, "one one one one"},
		{balanceAddress, ""},
	} {
		t.Run(c.balance, func(t *testing.T) {
			first, second := newOrigin(t, nil), newOrigin(t, nil)
			r := start(t, reverseSettings(func(s *Settings) {
				s.Protocol, s.Upstream, s.UpstreamTLS, s.ClientTLS, s.Balance = "reverse", []string{"one", "two"}, false, false, c.balance
			}), nil)
			r.host("one:80", first.Listener.Addr().String())
			r.host("two:80", second.Listener.Addr().String())
			var seen []string
			header := map[string][]string{}
			for range 4 {
				d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial("tcp4", r.addr("80")) }}
				conn, response, err := d.Dial("ws://the-proxy/", header)
				if err != nil {
					t.Fatal(err)
				}
				for _, cookie := range response.Cookies() {
					header["Cookie"] = []string{cookie.Name + "=" + cookie.Value}
				}
				select {
				case <-first.requests:
					seen = append(seen, "one")
				case <-second.requests:
					seen = append(seen, "two")
				}
				_ = conn.Close()
			}
			want := c.want
			if want == "" { // whichever it is, it stays
				want = strings.TrimSpace(strings.Repeat(seen[0]+" ", 4))
			}
			if got := strings.Join(seen, " "); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestReverseUpstreamsThatAreDown(t *testing.T) {
	up := newOrigin(t, nil)
	settings := func(s *Settings) {
		s.Protocol, s.Upstream, s.UpstreamTLS, s.ClientTLS = "reverse", []string{"one", "two"}, false, false
		s.DownStatus, s.AnswerTimeout = 503, 50*time.Millisecond
	}
	r := start(t, reverseSettings(settings), nil)
	r.host("one:80", refusedAddr(t))
	r.host("two:80", up.Listener.Addr().String())
	for range 3 { // the one that is down is passed over, and left out then
		if status := r.ask(t, ""); status != "101" {
			t.Errorf("status %s", status)
		}
		<-up.requests
	}
	if status := r.ask(t, "plain"); status != "200" {
		t.Errorf("status %s", status)
	}
	r.host("two:80", refusedAddr(t))
	if status := r.ask(t, ""); status != "503" {
		t.Errorf("status %s", status)
	}
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	r.host("one:80", silent.Addr().String())
	r.host("two:80", silent.Addr().String())
	for _, kind := range []string{"", "plain"} {
		if status := r.ask(t, kind); status != "504" {
			t.Errorf("%s: status %s", kind, status)
		}
	}
	dial := r.env.Dial
	r.env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err == nil {
			_ = c.Close() // before it answers
		}
		return c, err
	}
	if status := r.ask(t, ""); status != "502" {
		t.Errorf("status %s", status)
	}
}

// ask sends a request, an Upgrade or a plain one, and returns the status.
func (r *running) ask(t *testing.T, kind string) string {
	t.Helper()
	c := dialTCP(t, r.addr("80"))
	defer func() { _ = c.Close() }()
	request := "GET / HTTP/1.1\r\nHost: server\r\n"
	if kind == "" {
		request += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	}
	if _, err := io.WriteString(c, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("HTTP/1.1 101"))
	if _, err := io.ReadFull(c, line); err != nil {
		t.Fatal(err)
	}
	return string(line[len(line)-3:])
}

// FuzzReverseListener throws bytes at a proxy that listens, and on past an Upgrade; the
// client after is served.
func FuzzReverseListener(f *testing.F) {
	upgrade := "GET / HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for _, seed := range []string{
		"", "GET", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		strings.Replace(upgrade, "Version: 13", "Version: 12", 1), upgrade, upgrade + frame(text, "hello"),
		upgrade + "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", upgrade + frame(bye, "\x03\xe8"), upgrade + "\x88\x05\x03", upgrade + strings.Repeat("\x00", 100),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o := newOrigin(t, nil)
		r := start(t, reverseSettings(func(s *Settings) {
			s.Protocol, s.Upstream, s.UpstreamTLS, s.ClientTLS = "reverse", []string{"server"}, false, false
			s.MaxFrame, s.MaxMessage, s.CloseFrames = 1000, 1000, drop
		}), nil)
		r.only("server:80", o.Listener.Addr().String())
		throw(t, r.addr("80"), data)
		d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial("tcp4", r.addr("80")) }}
		c, _, err := d.Dial("ws://the-proxy/", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		want := bytes.Repeat([]byte("x"), 1000)
		if err := c.WriteMessage(websocket.TextMessage, want); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.ReadMessage(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}
