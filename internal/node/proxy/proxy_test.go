package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// running is a proxy that runs on loopback addresses.
type running struct {
	t      *testing.T
	env    *node.Env
	server *control.Server
	events *events
	// addr of each listener by the port that the proxy asked for.
	addrs map[string]string
	// hosts maps what is dialled to where it is.
	mu    sync.Mutex
	hosts map[string]string
	// stop ends the proxy, as SIGTERM does, and waits for it.
	stop func()
	// alone: there is nothing but hosts.
	alone bool
}

// events are what the node has recorded.
type events struct {
	mu    sync.Mutex
	lines bytes.Buffer
	all   []trace.Event
	more  chan struct{}
}

func (e *events) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines.Write(b)
	for {
		line, err := e.lines.ReadBytes('\n')
		if err != nil {
			e.lines.Write(line)
			break
		}
		if ev, ok := control.ParseEvent(line); ok {
			e.all = append(e.all, ev)
		}
	}
	close(e.more)
	e.more = make(chan struct{})
	return len(b), nil
}

// wait returns the nth event of a type, from 1.
func (e *events) wait(t *testing.T, typ trace.Type, n int) trace.Event {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		e.mu.Lock()
		seen, more := 0, e.more
		for _, ev := range e.all {
			if ev.Type == typ {
				if seen++; seen == n {
					e.mu.Unlock()
					return ev
				}
			}
		}
		e.mu.Unlock()
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no %s", typ)
		}
	}
}

// start runs a proxy until the test ends.
func start(t *testing.T, settings Settings, authority *topology.Authority, toxics ...topology.ToxicSpec) *running {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, events: &events{more: make(chan struct{})}, addrs: make(map[string]string), hosts: make(map[string]string)}
	ready := make(chan struct{})
	spec := topology.NodeSpec{
		Name: "the-proxy", Speed: 1, Settings: raw, CA: authority, Toxics: toxics,
		Interfaces: []topology.Interface{{Network: "lan", Addr: netip.MustParsePrefix("127.0.0.1/8")}},
	}
	r.server = control.NewServer(r.events)
	r.env = node.NewEnv(spec, r.server, sync.OnceFunc(func() { close(ready) }))
	listen, dial := r.env.Listen, r.env.Dial
	r.env.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		l, err := listen(ctx, network, "127.0.0.1:0")
		if err == nil {
			r.mu.Lock()
			r.addrs[address] = l.Addr().String()
			r.mu.Unlock()
		}
		return l, err
	}
	r.env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		r.mu.Lock()
		to, ok := r.hosts[address]
		alone := r.alone
		r.mu.Unlock()
		if alone && !ok {
			return nil, syscall.ECONNREFUSED
		}
		if ok {
			address = to
		}
		return dial(ctx, network, address)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Kind().Run(ctx, r.env) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	select {
	case <-ready:
	case err := <-done:
		done <- err
		t.Fatalf("run: %v", err)
	}
	return r
}

// serve gives the node requests, as lines, and waits for them to be answered.
func (r *running) serve(t *testing.T, lines string) {
	t.Helper()
	r.server.Serve(t.Context(), strings.NewReader(lines))
}

// host makes the proxy find address at to.
func (r *running) host(address, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts[address] = to
}

// only makes the proxy find nothing but that address.
func (r *running) only(address, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts[address] = to
	r.alone = true
}

func (r *running) addr(port string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addrs[":"+port]
}

// echoServer echoes every connection and hands it to the test as well.
func echoServer(t *testing.T) (addr string, conns chan *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns = make(chan *net.TCPConn, 16)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c.(*net.TCPConn)
			serving.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.(*net.TCPConn).CloseWrite()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		for {
			select {
			case c := <-conns:
				_ = c.Close()
				continue
			default:
			}
			break
		}
		serving.Wait()
	})
	return l.Addr().String(), conns
}

// take receives a connection, which the test closes at its end.
func take(t *testing.T, conns chan *net.TCPConn) *net.TCPConn {
	t.Helper()
	select {
	case c := <-conns:
		t.Cleanup(func() { _ = c.Close() })
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("nobody has connected")
		return nil
	}
}

// refusedAddr is an address that nobody listens at.
func refusedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func dialTCP(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

func wantEcho(t *testing.T, c io.ReadWriter, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, text)
}

func wantText(t *testing.T, c io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

func wantReset(t *testing.T, c io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read ended with %v, want a RST", err)
	}
}

func wantEOF(t *testing.T, c io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("read ended with %v, want the end of the stream", err)
	}
}

func TestConnectAnswers(t *testing.T) {
	target, _ := echoServer(t)
	users := map[string]string{"alice": "secret", "nobody": ""}
	r := start(t, Settings{Protocol: "http", AllowConnect: []int{443, 444, 445}, Users: users}, nil)
	r.host("server:443", target)
	r.host("server:444", refusedAddr(t))
	dial := r.env.Dial
	r.env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "server:445" {
			return nil, context.DeadlineExceeded
		}
		return dial(ctx, network, address)
	}
	const auth = "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n"
	n := 0
	for _, c := range []struct {
		name, request, want, detail string
		status                      int
	}{
		{"right", "CONNECT server:443 HTTP/1.1\r\nHost: server:443\r\n" + auth + "\r\n", "HTTP/1.1 200 Connection established\r\n\r\n", "", 0},
		{"no credentials", "CONNECT server:443 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 407 Proxy Authentication Required", "no credentials were sent", 407},
		{"wrong password", "CONNECT server:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic YWxpY2U6d3Jvbmc=\r\n\r\n", "HTTP/1.1 407", `wrong name or password for user "alice"`, 407},
		{"unknown user", "CONNECT server:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic Ym9iOg==\r\n\r\n", "HTTP/1.1 407", `wrong name or password for user "bob"`, 407},
		{"other scheme", "CONNECT server:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: NTLM abc\r\n\r\n", "HTTP/1.1 407", "only Basic authentication is understood", 407},
		{"port", "CONNECT server:8443 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", "HTTP/1.1 403 Forbidden", "CONNECT to port 8443 is not allowed", 403},
		{"refused", "CONNECT server:444 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", "HTTP/1.1 502 Bad Gateway", "cannot reach server:444", 502},
		{"timeout", "CONNECT server:445 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", "HTTP/1.1 504 Gateway Timeout", "cannot reach server:445", 504},
		{"forwarded scheme", "GET https://server/ HTTP/1.1\r\nHost: server\r\n" + auth + "\r\n", "HTTP/1.1 501 Not Implemented", "https is not forwarded", 501},
		{"origin form", "GET / HTTP/1.1\r\nHost: server\r\n" + auth + "\r\n", "HTTP/1.1 400 Bad Request", "asked with the whole URL", 400},
		{"no port", "CONNECT server HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", "HTTP/1.1 400 Bad Request", "HOST:PORT", 400},
		{"port 0", "CONNECT server:0 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", "HTTP/1.1 400", `"0" is not a port`, 400},
		{"no HTTP", "\x16\x03\x01\x02\x00\r\n\r\n", "HTTP/1.1 400", "this is no HTTP request", 400},
		{"long header", "CONNECT server:443 HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large", "longer than", 431},
		{"endless line", "CONNECT " + strings.Repeat("x", 65<<10), "HTTP/1.1 414 URI Too Long", "longer than", 414},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dialTCP(t, r.addr("3128"))
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			wantText(t, conn, c.want)
			if c.status == 0 {
				wantEcho(t, conn, "through")
				return
			}
			_ = conn.CloseWrite() // some refusals leave the connection open
			rest, err := io.ReadAll(conn)
			if err != nil {
				t.Errorf("the answer ends with %v", err)
			}
			if !strings.Contains(string(rest), c.detail) {
				t.Errorf("the answer does not say %q: %s", c.detail, rest)
			}
			if c.status == 407 && !strings.Contains(string(rest), `Proxy-Authenticate: Basic realm="the-proxy"`) {
				t.Errorf("no challenge: %s", rest)
			}
			n++
			e := r.events.wait(t, trace.RelayRefused, n)
			if e.Status != c.status || !strings.Contains(e.Detail, c.detail) || e.Flow.Src.String() != conn.LocalAddr().String() {
				t.Errorf("event %v", e)
			}
		})
	}
}

func TestConnectKeepsWhatWasSentAhead(t *testing.T) {
	target, _ := echoServer(t)
	r := start(t, Settings{Protocol: "http", AllowConnect: []int{443}}, nil)
	r.host("server:443", target)
	c := dialTCP(t, r.addr("3128"))
	if _, err := io.WriteString(c, "CONNECT server:443 HTTP/1.1\r\nHost: x\r\n\r\nahead"); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, "HTTP/1.1 200 Connection established\r\n\r\nahead")
	opened := r.events.wait(t, trace.Relayed, 1)
	if opened.Flow.Src.String() != c.LocalAddr().String() || opened.Flow.Dst.String() != c.RemoteAddr().String() || opened.Next.Dst.String() != target {
		t.Errorf("event %v", opened)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantEOF(t, c)
	closed := r.events.wait(t, trace.RelayClosed, 1)
	if closed.By != "client" || closed.Count != 10 || closed.Err != "" {
		t.Errorf("event %v", closed)
	}
}

func TestSlowHeaderIsCutOff(t *testing.T) {
	r := start(t, Settings{Protocol: "http"}, nil)
	p, err := newHTTPProxy(&proxy{env: r.env, settings: newSettings(), handshake: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- accept(ctx, l, p.serve) }()
	c := dialTCP(t, l.Addr().String())
	if _, err := io.WriteString(c, "CONNECT serv"); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, "HTTP/1.1 408 Request Timeout")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestEndsAreCarriedOn(t *testing.T) {
	target, conns := echoServer(t)
	r := start(t, Settings{Protocol: "http", AllowConnect: []int{443}}, nil)
	r.host("server:443", target)
	open := func(t *testing.T) (client, server *net.TCPConn) {
		client = dialTCP(t, r.addr("3128"))
		if _, err := io.WriteString(client, "CONNECT server:443 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		wantText(t, client, "HTTP/1.1 200 Connection established\r\n\r\n")
		return client, take(t, conns)
	}
	t.Run("the server's RST", func(t *testing.T) {
		client, server := open(t)
		_ = server.SetLinger(0)
		_ = server.Close()
		wantReset(t, client)
		if e := r.events.wait(t, trace.RelayClosed, 1); e.By != "server" || e.Err == "" {
			t.Errorf("event %v", e)
		}
	})
	t.Run("the server's FIN", func(t *testing.T) {
		client, server := open(t)
		_ = server.CloseWrite()
		wantEOF(t, client)
		_ = client.Close()
		if e := r.events.wait(t, trace.RelayClosed, 2); e.By != "server" || e.Err != "" {
			t.Errorf("event %v", e)
		}
	})
	t.Run("the client's RST", func(t *testing.T) {
		client, _ := open(t)
		_ = client.SetLinger(0)
		_ = client.Close()
		if e := r.events.wait(t, trace.RelayClosed, 3); e.By != "client" || e.Err == "" {
			t.Errorf("event %v", e)
		}
	})
}

func TestIdleTimeoutOfTheProxy(t *testing.T) {
	target, _ := echoServer(t)
	r := start(t, Settings{Protocol: "http", AllowConnect: []int{443}, IdleTimeout: 50 * time.Millisecond}, nil)
	r.host("server:443", target)
	c := dialTCP(t, r.addr("3128"))
	if _, err := io.WriteString(c, "CONNECT server:443 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	wantEOF(t, c)
	if e := r.events.wait(t, trace.RelayClosed, 1); e.By != "idle" {
		t.Errorf("event %v", e)
	}
}

func TestResetToxicAtAProxy(t *testing.T) {
	target, conns := echoServer(t)
	r := start(t, Settings{Protocol: "http", AllowConnect: []int{443}}, nil,
		topology.ToxicSpec{Type: "reset", Toxicity: 1, Attributes: json.RawMessage(`{"after": 50000000}`)})
	r.host("server:443", target)
	c := dialTCP(t, r.addr("3128"))
	if _, err := io.WriteString(c, "CONNECT server:443 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	server := take(t, conns)
	wantReset(t, c)
	_ = server
	if e := r.events.wait(t, trace.ToxicFired, 1); e.Detail != "reset" || e.Next == nil {
		t.Errorf("event %v", e)
	}
	if e := r.events.wait(t, trace.RelayClosed, 1); e.By != "toxic" || e.Detail != "reset" {
		t.Errorf("event %v", e)
	}
}
