package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reverseCase is a client at a reverse proxy, and what the server behind it does.
type reverseCase struct {
	name string
	// request of the client; empty is an Upgrade to the path.
	request, path string
	// after is what the client does once it is answered with 101.
	after func(*net.TCPConn)
	// config of the proxy.
	config peerConfig
	// stop is what is done to the proxy after the 101.
	stop string
}

// peerConfig is what the proxies are told, each in its own words.
type peerConfig struct {
	strip, down bool
	// idle is the timeout of a quiet connection and of an answer.
	idle time.Duration
}

const (
	serverClose = "\x88\x02\x03\xe8"
	graceful    = "graceful"
)

func upgradeTo(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: lab.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// reverseCases are played against all three.
func reverseCases() []reverseCase {
	send := func(text string, pause time.Duration, n int) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			for range n {
				_, _ = io.WriteString(c, text) // its end is read
				time.Sleep(pause)
			}
		}
	}
	second := peerConfig{idle: time.Second}
	return []reverseCase{
		{name: "101", path: "/echo", after: send(frame(text, "hello"), 0, 1)},
		{name: "Upgrade stripped", path: "/426", config: peerConfig{strip: true}},
		{name: "426 of the server", path: "/426"},
		{name: "403 of the server", path: "/403"},
		{name: "plain request", request: "GET /403 HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n"},
		{name: "nobody listens upstream", path: "/echo", config: peerConfig{down: true}},
		{name: "the server closes before it answers", path: "/close"},
		{name: "the server resets before it answers", path: "/reset"},
		{name: "the server does not answer", path: "/silent", config: second},
		{name: "the server answers no HTTP", path: "/garbage"},
		{name: "idle", path: "/echo", config: second},
		{name: "idle but for the client", path: "/sink", config: second, after: send(frame(ping, ""), 300*time.Millisecond, 6)},
		{name: "idle but for the server", path: "/push", config: second},
		{name: "close frame of the server", path: "/bye"},
		{name: "close frame of the client", path: "/answer", after: send(frame(bye, "\x03\xe8"), 0, 1)},
		{name: "FIN of the server without a close frame", path: "/fin"},
		{name: "RST of the server", path: "/rst"},
		{name: "FIN of the client", path: "/echo", after: func(c *net.TCPConn) { _ = c.CloseWrite() }},
		{name: "no HTTP", request: "hello\r\n\r\n"},
		{name: "unknown HTTP version", request: "GET / HTTP/3.7\r\nHost: lab.test\r\n\r\n"},
		{name: "no Host", request: "GET /403 HTTP/1.1\r\nConnection: close\r\n\r\n"},
		{name: "URI of 70000 bytes", request: "GET /" + strings.Repeat("x", 70000) + " HTTP/1.1\r\nHost: lab.test\r\n\r\n"},
		{name: "header of 70000 bytes", request: "GET / HTTP/1.1\r\nHost: lab.test\r\nX-Long: " + strings.Repeat("x", 70000) + "\r\n\r\n"},
		{name: "stopped gracefully, with a grace of a second", path: "/echo", stop: graceful},
	}
}

// reverseDifference is what a proxy does where wslab's does not do the same, and why.
type reverseDifference struct {
	peer, wslab, why string
}

// reverseDifferences by peer and case.
func reverseDifferences() map[string]map[string]reverseDifference {
	const (
		upgraded = "client: 101 websocket upgrade s3pPLMBiTxaQ9kYGzzhZRbK+xOo= "
		heads    = "the library that reads heads has one limit for all of them, and RFC 6585's status for it"
		resets   = "HAProxy closes its side to the server with a RST (SO_LINGER 0) when a timeout strikes; the client sees the same"
	)
	asked := func(path string) string {
		return "\nserver: GET " + path + " HTTP/1.1 Upgrade=websocket Connection=upgrade"
	}
	return map[string]map[string]reverseDifference{
		"nginx": {
			"the server answers no HTTP": {`client: malformed HTTP status code "this"` + asked("/garbage"), "client: 502" + asked("/garbage"),
				"nginx passes it on as an answer of HTTP/0.9"},
			"URI of 70000 bytes":    {"client: 414\nserver: ", "client: 431\nserver: ", heads},
			"header of 70000 bytes": {"client: 400\nserver: ", "client: 431\nserver: ", heads},
		},
		"haproxy": {
			"URI of 70000 bytes":    {"client: 400\nserver: ", "client: 431\nserver: ", heads},
			"header of 70000 bytes": {"client: 400\nserver: ", "client: 431\nserver: ", heads},
			"no Host": {"client: 403 the server says 403\nserver: GET /403 HTTP/1.1 Upgrade= Connection=", "client: 400\nserver: ",
				"HAProxy leaves it to the server; RFC 9112 section 3.2 asks for 400"},
			"plain request": {"client: 403 the server says 403\nserver: GET /403 HTTP/1.1 Upgrade= Connection=", "client: 403 the server says 403\nserver: GET /403 HTTP/1.1 Upgrade= Connection=close",
				"HAProxy keeps its connections to servers; in a lab each belongs to one client, so that the trace can tell whose it is"},
			"unknown HTTP version": {"client: 502\nserver: GET / HTTP/1.1 Upgrade= Connection= 0 bytes RST", "client: 505\nserver: ",
				"HAProxy takes every version for its own"},
			"idle":                       {upgraded + " FIN" + asked("/echo") + " 0 bytes RST", upgraded + " FIN" + asked("/echo") + " 0 bytes FIN", resets},
			"idle but for the client":    {upgraded + " FIN" + asked("/sink") + " 36 bytes RST", upgraded + " FIN" + asked("/sink") + " 36 bytes FIN", resets},
			"idle but for the server":    {upgraded + "890089008900890089008900 FIN" + asked("/push") + " 0 bytes RST", upgraded + "890089008900890089008900 FIN" + asked("/push") + " 0 bytes FIN", resets},
			"the server does not answer": {"client: 504" + asked("/silent") + " RST", "client: 504" + asked("/silent") + " FIN", resets},
		},
	}
}

func TestReverseAsNginx(t *testing.T)   { compareReverse(t, "nginx", startNginx) }
func TestReverseAsHAProxy(t *testing.T) { compareReverse(t, "haproxy", startHAProxy) }

// peer is a reverse proxy that runs.
type peer struct {
	addr string
	// stop ends it: gracefully with a grace of a second, or at once.
	stop func(how string)
}

func compareReverse(t *testing.T, name string, startPeer func(*testing.T, string, peerConfig) peer) {
	program := requirePeer(t, name, map[string]string{"nginx": "nginx-light", "haproxy": "haproxy"}[name])
	_ = program
	for _, c := range reverseCases() {
		if name == "haproxy" && c.config.strip {
			continue // it has no such mistake to make
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			theirs := playReverse(t, c, startPeer)
			ours := playReverse(t, c, func(t *testing.T, upstream string, config peerConfig) peer {
				return startOurs(t, name, upstream, config)
			})
			want, differs := reverseDifferences()[name][c.name]
			if !differs {
				want = reverseDifference{peer: theirs, wslab: theirs}
			}
			if d := cmp.Diff(want.peer, theirs); d != "" {
				t.Errorf("%s is not what the table says (-table +%s):\n%s", name, name, d)
			}
			if d := cmp.Diff(want.wslab, ours); d != "" {
				t.Errorf("-wanted +wslab:\n%s", d)
			}
		})
	}
}

// playReverse returns what the client and the server see.
func playReverse(t *testing.T, c reverseCase, startPeer func(*testing.T, string, peerConfig) peer) string {
	t.Helper()
	server := startScripted(t)
	upstream := server.addr
	if c.config.down {
		upstream = refusedAddr(t)
	}
	p := startPeer(t, upstream, c.config)
	conn := dialTCP(t, p.addr)
	request := c.request
	if request == "" {
		request = upgradeTo(c.path)
	}
	go func() { _, _ = io.WriteString(conn, request) }() // it may be refused half way
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return "client: " + endOf(err) + server.seen(c)
	}
	// A reason phrase is nobody's business (RFC 9112 section 4).
	seen := fmt.Sprintf("client: %d", response.StatusCode)
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(response.Body)
		if strings.HasPrefix(string(body), "the server says") {
			seen += " " + string(body)
		}
		return seen + server.seen(c)
	}
	response.Header.Set("Connection", strings.ToLower(response.Header.Get("Connection"))) // a token
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Accept"} {
		seen += " " + response.Header.Get(name)
	}
	if c.after != nil {
		c.after(conn)
	}
	if c.stop != "" {
		p.stop(c.stop)
	}
	if c.name == "101" {
		b := make([]byte, 11)
		n, _ := io.ReadFull(in, b)
		_ = conn.Close()
		return seen + fmt.Sprintf(" %x", b[:n]) + server.seen(c)
	}
	_ = conn.SetReadDeadline(time.Now().Add(4 * time.Second))
	rest, err := io.ReadAll(in)
	if err == nil {
		err = io.EOF
	}
	seen += fmt.Sprintf(" %x %s", slices.Compact(rest), endOf(err))
	_ = conn.Close()
	return seen + server.seen(c)
}

func endOf(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "FIN"
	case errors.Is(err, syscall.ECONNRESET):
		return "RST"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "..."
	}
	return err.Error()
}

// scripted is a server that does what the path of a request says.
type scripted struct {
	addr string
	mu   sync.Mutex
	log  []string
	idle chan struct{} // closed and replaced when a connection has ended
	open int
}

func startScripted(t *testing.T) *scripted {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{addr: l.Addr().String(), idle: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.count(1)
			serving.Go(func() {
				defer s.count(-1)
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				s.serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return s
}

func (s *scripted) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
	if s.open == 0 {
		close(s.idle)
		s.idle = make(chan struct{})
	}
}

func (s *scripted) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// seen returns what the server has seen, once its connections have ended.
func (s *scripted) seen(c reverseCase) string {
	timeout := time.After(10 * time.Second)
	for {
		s.mu.Lock()
		open, idle, text := s.open, s.idle, strings.Join(s.log, " ")
		s.mu.Unlock()
		if open == 0 {
			return "\nserver: " + text
		}
		select {
		case <-idle:
		case <-timeout:
			return "\nserver: " + text + " ..."
		}
	}
}

func (s *scripted) serve(c *net.TCPConn) {
	in := bufio.NewReader(c)
	request, err := http.ReadRequest(in)
	if err != nil {
		return // a look whether the port is open
	}
	upgrade := request.Header.Get("Upgrade")
	connection := strings.ToLower(request.Header.Get("Connection"))
	if request.Close {
		connection = "close"
	}
	s.say("%s %s %s Upgrade=%s Connection=%s", request.Method, request.URL.Path, request.Proto, upgrade, connection)
	answer := func(status, body string) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
	}
	switch request.URL.Path {
	case "/426":
		answer("426 Upgrade Required", "the server says 426")
		return
	case "/403":
		answer("403 Forbidden", "the server says 403")
		return
	case "/close":
		return
	case "/reset":
		_ = c.SetLinger(0)
		return
	case "/garbage":
		_, _ = io.WriteString(c, "hello, this is no HTTP at all\r\n\r\n")
		return
	case "/silent":
		_, err := in.ReadByte()
		s.say("%s", endOf(err))
		return
	}
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	switch request.URL.Path {
	case "/answer":
		n, _ := io.ReadFull(in, make([]byte, 8))
		_, _ = io.WriteString(c, serverClose)
		s.say("%d bytes", n)
		return
	case "/bye":
		_, _ = io.WriteString(c, serverClose)
		_ = c.CloseWrite()
	case "/fin":
		_ = c.CloseWrite()
	case "/rst":
		time.Sleep(100 * time.Millisecond) // behind the 101
		_ = c.SetLinger(0)
		return
	case "/push":
		for range 6 {
			_, _ = io.WriteString(c, "\x89\x00")
			time.Sleep(300 * time.Millisecond)
		}
	case "/echo":
		n, err := io.Copy(c, in)
		if err == nil {
			err = io.EOF
		}
		s.say("%d bytes %s", n, endOf(err))
		return
	}
	n, err := io.Copy(io.Discard, in)
	if err == nil {
		err = io.EOF
	}
	s.say("%d bytes %s", n, endOf(err))
}

func startOurs(t *testing.T, as, upstream string, config peerConfig) peer {
	t.Helper()
	r := start(t, reverseSettings(func(s *Settings) {
		s.Protocol, s.Upstream, s.UpstreamTLS, s.ClientTLS = "reverse", []string{"server"}, false, false
		s.IdleTimeout, s.AnswerTimeout = config.idle, config.idle
		s.OnReset = endFIN
		if config.strip {
			s.Upgrade = strip
		}
		if as == "haproxy" {
			s.DownStatus = 503
		}
	}), nil)
	r.host("server:80", upstream)
	return peer{r.addr("80"), func(string) { r.serve(t, `{"id":"1","method":"drain","params":{"grace":1000000000}}`+"\n") }}
}

// freePort returns a port of loopback that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(refusedAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func writeConfig(t *testing.T, content string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func seconds(d time.Duration) string {
	if d == 0 {
		d = time.Minute
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}

func startNginx(t *testing.T, upstream string, config peerConfig) peer {
	t.Helper()
	port := freePort(t)
	lines := "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
	if config.strip {
		lines = ""
	}
	dir := t.TempDir()
	_, path := writeConfig(t, fmt.Sprintf(`
daemon off;
pid %[1]s/pid;
error_log stderr;
worker_shutdown_timeout 1s;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	map $http_upgrade $connection_upgrade { default upgrade; '' close; }
	server {
		listen 127.0.0.1:%[2]s;
		location / {
			proxy_pass http://%[3]s;
			proxy_connect_timeout 2s; proxy_read_timeout %[4]s; proxy_send_timeout %[4]s;
			%[5]s
		}
	}
}
`, dir, port, upstream, seconds(config.idle), lines))
	return startPeerProcess(t, port, syscall.SIGQUIT, "nginx", "-p", dir, "-c", path)
}

func startHAProxy(t *testing.T, upstream string, config peerConfig) peer {
	t.Helper()
	port := freePort(t)
	_, path := writeConfig(t, fmt.Sprintf(`
global
	hard-stop-after 1s
	log stderr format raw daemon
defaults
	mode http
	timeout connect 2s
	timeout client 60s
	timeout server %[3]s
	timeout tunnel %[3]s
frontend lab
	bind 127.0.0.1:%[1]s
	default_backend servers
backend servers
	retries 0
	server one %[2]s
`, port, upstream, seconds(config.idle)))
	return startPeerProcess(t, port, syscall.SIGUSR1, "haproxy", "-db", "-f", path)
}

// startPeerProcess runs a proxy in the foreground until the test ends.
func startPeerProcess(t *testing.T, port string, soft syscall.Signal, name string, args ...string) peer {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("it has no signals")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name)
	}
	cmd := exec.Command(path, args...)
	ordinary(cmd)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", name, log.String())
		}
	})
	addr := net.JoinHostPort("127.0.0.1", port)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp4", addr)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen: %v", name, err)
		}
	}
	return peer{addr, func(string) { _ = cmd.Process.Signal(soft) }}
}
