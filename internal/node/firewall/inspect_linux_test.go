package firewall

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/node/nodetest"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
)

// inspecting is a lab that does one thing about all that can be found, and an open
// connection to a port of it.
func inspecting(t *testing.T, action, port string) (l *lab, client, server *net.TCPConn) {
	t.Helper()
	l = newLab(t, func(s *Settings) {
		s.Inspect.WebSocket, s.Inspect.Connect, s.Inspect.PlainHTTP = action, action, action
		s.Inspect.TLSServerName = []ServerNames{{[]string{"*.bad.example"}, action}}
		s.Inspect.Slow = Limits{Bandwidth: 20_000, Delay: 300 * time.Millisecond}
	})
	client, server = l.connect(port)
	return l, client, server
}

// found waits until the firewall says that it acted on a connection.
func (l *lab) found(client net.Conn, rule string) {
	l.t.Helper()
	e := l.node.Await(l.t, is(trace.Inspected, client))
	if e.Detail != rule || e.Next == nil {
		l.t.Errorf("inspected %v, not %s", e, rule)
	}
}

// TestFindings tries each action on each finding.
func TestFindings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ finding, port, sent, suffix string }{
		{"websocket", "80", upgrade, ""},
		{"connect", "80", "CONNECT server:443 HTTP/1.1\r\nHost: server\r\n\r\n", ""},
		{"plain_http", "443", "GET / HTTP/1.1\r\nHost: server\r\n\r\n", ""},
		{"tls_server_name", "443", hello(t, &tls.Config{ServerName: "chat.bad.example"}), ", chat.bad.example"},
	} {
		for _, action := range []string{Drop, BlackHole, Reset, Slow} {
			t.Run(test.finding+" "+action, func(t *testing.T) {
				t.Parallel()
				l, client, server := inspecting(t, action, test.port)
				for _, piece := range []string{test.sent[:10], test.sent[10:]} {
					write(t, client, piece)
					time.Sleep(20 * time.Millisecond) // segments of their own
				}
				l.found(client, fmt.Sprintf("inspect.%s: %s%s", test.finding, action, test.suffix))
				switch action {
				case Drop:
					nodetest.Pass(t, server, client, "the server still gets through")
					write(t, client, "anyone?")
					nodetest.Nothing(t, server)
				case BlackHole:
					l.node.Await(t, is(trace.RelayClosed, client))
					write(t, client, "anyone?")
					write(t, server, "anyone?")
					nodetest.Nothing(t, client)
					nodetest.Nothing(t, server)
				case Reset:
					nodetest.Reset(t, client)
					nodetest.Reset(t, server)
				case Slow:
					// The first byte was due the delay after it was understood.
					read(t, server, test.sent)
					if took := nodetest.RoundTrip(t, client, server); took < 600*time.Millisecond {
						t.Errorf("round trip of %v with 300ms in each direction", took)
					}
				}
			})
		}
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(nodetest.Patience))
	for got := ""; got != want; {
		b := make([]byte, len(want)-len(got))
		n, err := c.Read(b)
		if got += string(b[:n]); err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
	}
}

// TestSecondRequest: a request goes to the server, the next one on the same connection
// is stopped.
func TestSecondRequest(t *testing.T) {
	t.Parallel()
	l, client, server := inspecting(t, Reset, "80")
	for range 3 {
		nodetest.Pass(t, client, server, "POST / HTTP/1.1\r\nHost: server\r\nContent-Length: 5\r\n\r\nhello")
		nodetest.Pass(t, server, client, "HTTP/1.1 204 No Content\r\n\r\n")
	}
	write(t, client, upgrade)
	l.found(client, "inspect.websocket: reset")
	nodetest.Reset(t, client)
	nodetest.Reset(t, server)
}

// TestDropEnds: neither end of a stream whose beginning is lost gets to the server; the
// server's gets to the client.
func TestDropEnds(t *testing.T) {
	t.Parallel()
	l, client, server := inspecting(t, Drop, "80")
	write(t, client, upgrade)
	l.found(client, "inspect.websocket: drop")
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	nodetest.Nothing(t, server)
	nodetest.Pass(t, server, client, "HTTP/1.1 408 Request Timeout\r\n\r\n")
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(nodetest.Patience))
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil || timedOut(err) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	l.node.Await(t, is(trace.RelayClosed, client))
}

// TestSlowRate: a direction carries no more than its bandwidth, and loses nothing.
func TestSlowRate(t *testing.T) {
	t.Parallel()
	l, client, server := inspecting(t, Slow, "80")
	write(t, client, upgrade)
	l.found(client, "inspect.websocket: slow")
	read(t, server, upgrade)
	start := time.Now()
	text := make([]byte, 20_000)
	for i := range text {
		text[i] = 'a' + byte(i%26)
	}
	nodetest.Pass(t, server, client, string(text))
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("20 KB at 20 KB/s took %v", took)
	}
	_ = client.Close()
	_ = server.Close()
	l.node.Await(t, is(trace.RelayClosed, client))
}

// TestMiddleOfAStream: a connection that is open when the inspection begins is taken over
// and looked into from there on.
func TestMiddleOfAStream(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	client, server := l.connect("80")
	nodetest.Pass(t, client, server, "GET / HTTP/1.1\r\nHost: server\r\n\r\n")
	l.node.Call(t, "configure", map[string]any{"settings": map[string]any{"inspect": map[string]any{"websocket": Reset}}}, nil)
	l.node.Await(t, is(trace.Relayed, client))
	nodetest.Pass(t, server, client, "HTTP/1.1 204 No Content\r\n\r\n")
	write(t, client, upgrade)
	e := l.node.AwaitType(t, trace.Inspected)
	if *e.Flow != relay.Opened(client) {
		t.Errorf("inspected %v", e)
	}
	nodetest.Reset(t, client)
	nodetest.Reset(t, server)
}
