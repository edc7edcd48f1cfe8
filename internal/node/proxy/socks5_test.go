package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
	netproxy "golang.org/x/net/proxy"

	"github.com/wslab/wslab/internal/trace"
)

func TestSOCKS5WithARealClient(t *testing.T) {
	target, _ := echoServer(t)
	r := start(t, Settings{Protocol: "socks5", Users: map[string]string{"alice": "secret"}}, nil)
	r.host("server:443", target)
	r.host("server:444", refusedAddr(t))
	dial := func(user, password, address string) (net.Conn, error) {
		d, err := netproxy.SOCKS5("tcp", r.addr("1080"), &netproxy.Auth{User: user, Password: password}, netproxy.Direct)
		if err != nil {
			t.Fatal(err)
		}
		return d.Dial("tcp", address)
	}
	c, err := dial("alice", "secret", "server:443")
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, c, "hello")
	_ = c.Close()
	if e := r.events.wait(t, trace.Relayed, 1); e.Next.Dst.String() != target {
		t.Errorf("event %v", e)
	}
	if _, err := dial("alice", "wrong", "server:443"); err == nil || !strings.Contains(err.Error(), "username/password authentication failed") {
		t.Errorf("wrong password: %v", err)
	}
	if e := r.events.wait(t, trace.RelayRefused, 1); e.Status != 1 || e.Detail != `wrong name or password for user "alice"` {
		t.Errorf("event %v", e)
	}
	if _, err := dial("alice", "secret", "server:444"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listening: %v", err)
	}
	if e := r.events.wait(t, trace.RelayRefused, 2); e.Status != 5 {
		t.Errorf("event %v", e)
	}
}

func TestSOCKS5OnTheWire(t *testing.T) {
	target, _ := echoServer(t)
	addr, err := net.ResolveTCPAddr("tcp4", target)
	if err != nil {
		t.Fatal(err)
	}
	connect := "\x05\x01\x00\x01\x7f\x00\x00\x01" + string([]byte{byte(addr.Port >> 8), byte(addr.Port)})
	for _, c := range []struct {
		name, send, want string
		users            map[string]string
		status           int
	}{
		{"an address, with bytes sent ahead", "\x05\x01\x00" + connect + "ahead", "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01", nil, -1},
		{"BIND", "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", "\x05\x00\x05\x07\x00\x01\x7f\x00\x00\x01\x00\x50", nil, 7},
		{"UDP ASSOCIATE", "\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", nil, 7},
		{"address type", "\x05\x01\x00\x05\x01\x00\x02\x00", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", nil, 8},
		{"IPv6, which the lab has not", "\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50", "\x05\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", nil, 3},
		{"port 0", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", "\x05\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", nil, 1},
		{"no method fits", "\x05\x01\x00", "\x05\xff", map[string]string{"alice": "secret"}, 255},
		{"password only, none wanted", "\x05\x01\x02", "\x05\xff", nil, 255},
		{"right password", "\x05\x02\x00\x02\x01\x05alice\x06secret" + connect, "\x05\x02\x01\x00\x05\x00\x00\x01\x7f\x00\x00\x01", map[string]string{"alice": "secret"}, -1},
		{"wrong password", "\x05\x01\x02\x01\x05alice\x05wrong", "\x05\x02\x01\x01", map[string]string{"alice": "secret"}, 1},
		{"SOCKS4", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "", nil, 1},
		{"HTTP", "CONNECT server:443 HTTP/1.1\r\n\r\n", "", nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, Settings{Protocol: "socks5", Users: c.users}, nil)
			dial := r.env.Dial
			r.env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if network == "tcp6" {
					return nil, syscall.ENETUNREACH
				}
				return dial(ctx, network, address)
			}
			conn := dialTCP(t, r.addr("1080"))
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Fatal(err)
			}
			wantText(t, conn, c.want)
			if c.status < 0 {
				_, _ = io.ReadFull(conn, make([]byte, 2)) // the port
				if strings.HasSuffix(c.send, "ahead") {
					wantText(t, conn, "ahead")
				}
				return
			}
			wantEOF(t, conn)
			if e := r.events.wait(t, trace.RelayRefused, 1); e.Status != c.status || e.Detail == "" {
				t.Errorf("event %v", e)
			}
		})
	}
}

func TestReplyFor(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{syscall.ECONNREFUSED, 5},
		{syscall.EHOSTUNREACH, 4},
		{syscall.ENETUNREACH, 3},
		{syscall.EPERM, 1},
		{&net.DNSError{Err: "no such host", Name: "nowhere", IsNotFound: true}, 4},
		{context.DeadlineExceeded, 6},
		{errors.New("something else"), 1},
	} {
		err := fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", c.err)})
		if got := replyFor(err); got != c.want {
			t.Errorf("%v is reply %d, want %d", c.err, got, c.want)
		}
	}
}

// TestWebSocketThroughBothProxies uses the client that the lab's own clients use.
func TestWebSocketThroughBothProxies(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		c, err := (&websocket.Upgrader{}).Upgrade(w, request, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, data) != nil {
				return
			}
		}
	}))
	defer web.Close()
	users := map[string]string{"alice": "secret"}
	for protocol, port := range map[string]string{"http": "3128", "socks5": "1080"} {
		t.Run(protocol, func(t *testing.T) {
			settings := Settings{Protocol: protocol, AllowConnect: []int{80}, Users: users}
			r := start(t, settings, nil)
			r.host("server:80", web.Listener.Addr().String())
			u, err := url.Parse(settings.URL("the-proxy", "alice"))
			if err != nil {
				t.Fatal(err)
			}
			u.Host = r.addr(port)
			dialer := websocket.Dialer{Proxy: http.ProxyURL(u)}
			c, _, err := dialer.Dial("ws://server/", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			for range 3 {
				if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				if _, data, err := c.ReadMessage(); err != nil || string(data) != "hello" {
					t.Fatalf("%q, %v", data, err)
				}
			}
		})
	}
}

func FuzzSOCKS5(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50rest"), false)
	f.Add([]byte("\x05\x02\x00\x02\x01\x05alice\x06secret\x05\x01\x00\x03\x06server\x01\xbb"), true)
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"), false)
	f.Fuzz(func(t *testing.T, data []byte, auth bool) {
		p := &proxy{settings: newSettings()}
		p.settings.Rules = []SOCKS5Rule{{Action: "deny", To: []string{"10.0.0.0/8", ".test", "server"}}, {Action: "allow"}}
		if auth {
			p.settings.Users = map[string]string{"alice": "secret"}
		}
		var out bytes.Buffer
		in := bytes.NewReader(data)
		request, err := p.negotiate(t.Context(), struct {
			io.Reader
			io.Writer
		}{in, &out})
		if request != nil {
			// What was asked for is what a reply may name.
			if !bytes.Contains(data, request.address) || len(p.socksReply(replySucceeded, request.address)) > 262 {
				t.Errorf("address % x", request.address)
			}
			_ = p.settings.denies(request.host, "80", func(string) ([]netip.Addr, error) { return nil, errors.New("unknown") })
		}
		if err != nil {
			return
		}
		if _, _, err := net.SplitHostPort(request.target()); err != nil {
			t.Errorf("target %q: %v", request.target(), err)
		}
		if auth && out.String() != "\x05\x02\x01\x00" || !auth && out.String() != "\x05\x00" {
			t.Errorf("answered %q", out.String())
		}
	})
}

// TestSOCKS5OverIPv6 goes where the kernel has IPv6, and says so in its reply.
func TestSOCKS5OverIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("there is no IPv6 here: %v", err)
	}
	defer func() { _ = l.Close() }()
	r := start(t, Settings{Protocol: "socks5"}, nil)
	conn := dialTCP(t, r.addr("1080"))
	port := l.Addr().(*net.TCPAddr).Port
	const loopback = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	if _, err := io.WriteString(conn, "\x05\x01\x00\x05\x01\x00\x04"+loopback+string([]byte{byte(port >> 8), byte(port)})); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	from := server.RemoteAddr().(*net.TCPAddr).Port
	wantText(t, conn, "\x05\x00\x05\x00\x00\x04"+loopback+string([]byte{byte(from >> 8), byte(from)}))
	if _, err := io.WriteString(server, "hello"); err != nil {
		t.Fatal(err)
	}
	wantText(t, conn, "hello")
}
