package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/trace"
)

// forwarding is an HTTP proxy in front of an origin at server:80.
func forwarding(t *testing.T, change func(*Settings)) (*running, *origin) {
	t.Helper()
	settings := *newSettings()
	settings.Protocol = protocolHTTP
	if change != nil {
		change(&settings)
	}
	o := newOrigin(t, nil)
	r := start(t, settings, nil)
	r.only("server:80", o.Listener.Addr().String())
	return r, o
}

// exchange sends requests on a connection of its own and returns the answers, as they came.
func (r *running) exchange(t *testing.T, requests ...string) []*http.Response {
	t.Helper()
	c := dialTCP(t, r.addr("3128"))
	return askOn(t, c, requests...)
}

func askOn(t *testing.T, c net.Conn, requests ...string) []*http.Response {
	t.Helper()
	in := bufio.NewReader(c)
	var answers []*http.Response
	for _, request := range requests {
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		method, _, _ := strings.Cut(request, " ")
		answer, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		if method == http.MethodConnect && answer.StatusCode == http.StatusOK {
			answers = append(answers, answer) // what follows is the tunnel
			continue
		}
		content, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		answer.Body = io.NopCloser(strings.NewReader(string(content)))
		answers = append(answers, answer)
	}
	return answers
}

func textOf(t *testing.T, answer *http.Response) string {
	t.Helper()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

const getServer = "GET http://server/ HTTP/1.1\r\nHost: server\r\n\r\n"

const upgradeServer = "GET http://server/chat HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

func TestForwardChangesHeaders(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Settings)
		asked  map[string]string // what the server gets
		answer map[string]string // what the client gets
	}{
		{"as it is", nil, map[string]string{"Via": "1.1 the-proxy", "X-Forwarded-For": "127.0.0.1"}, map[string]string{"Via": "1.1 the-proxy"}},
		{"anonymous", func(s *Settings) { s.AddVia, s.AddForwardedFor = false, false },
			map[string]string{"Via": "", "X-Forwarded-For": ""}, map[string]string{"Via": ""}},
		{"changed", func(s *Settings) {
			s.RequestHeaders = HeaderChanges{Remove: []string{"user-agent"}, Set: map[string]string{"X-Company": "ACME"}, Add: map[string]string{"X-Forwarded-For": "unknown"}}
			s.ResponseHeaders = HeaderChanges{Set: map[string]string{"Content-Type": "text/x-scanned"}}
		}, map[string]string{"User-Agent": "", "X-Company": "ACME", "X-Forwarded-For": "127.0.0.1,unknown"}, map[string]string{"Content-Type": "text/x-scanned"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, o := forwarding(t, c.change)
			answer := r.exchange(t, "GET http://server/ HTTP/1.1\r\nHost: server\r\nUser-Agent: test\r\n\r\n")[0]
			if got := textOf(t, answer); got != "plain" {
				t.Errorf("answer %q", got)
			}
			asked := <-o.requests
			for name, want := range c.asked {
				if got := strings.Join(asked.Header.Values(name), ","); got != want {
					t.Errorf("the server got %s %q, want %q", name, got, want)
				}
			}
			for name, want := range c.answer {
				if got := strings.Join(answer.Header.Values(name), ","); got != want {
					t.Errorf("the client got %s %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestUpgradeIsStripped(t *testing.T) {
	r, o := forwarding(t, nil)
	answer := r.exchange(t, upgradeServer)[0]
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Upgrade") != "" {
		t.Errorf("answer %v", answer)
	}
	asked := <-o.requests
	if asked.Header.Get("Upgrade") != "" || asked.Header.Get("Connection") != "close" || asked.Header.Get("Sec-WebSocket-Key") == "" {
		t.Errorf("the server got %v", asked.Header)
	}
	if e := r.events.wait(t, trace.UpgradeStripped, 1); e.Status != 200 || e.Flow == nil {
		t.Errorf("event %v", e)
	}
}

func TestUpgradePasses(t *testing.T) {
	for _, end := range []string{tunnelEndCarry, tunnelEndClose} {
		t.Run(end, func(t *testing.T) {
			r, o := forwarding(t, func(s *Settings) { s.Upgrade, s.TunnelEnd = pass, end })
			conn := dialTCP(t, r.addr("3128"))
			answer := askOn(t, conn, upgradeServer)[0]
			if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != "websocket" || answer.Header.Get("Via") != "1.1 the-proxy" {
				t.Fatalf("answer %v", answer)
			}
			server := <-o.conns
			if err := server.WriteMessage(websocket.TextMessage, []byte("hi")); err != nil {
				t.Fatal(err)
			}
			wantText(t, conn, "\x81\x02hi")
			raw := server.NetConn().(*net.TCPConn)
			_ = raw.SetLinger(0)
			_ = raw.Close()
			if end == tunnelEndCarry {
				wantReset(t, conn)
			} else {
				wantEOF(t, conn)
			}
			if e := r.events.wait(t, trace.RelayClosed, 1); e.By != "server" {
				t.Errorf("event %v", e)
			}
		})
	}
}

func TestUpgradedTunnelIsIdle(t *testing.T) {
	r, _ := forwarding(t, func(s *Settings) { s.Upgrade, s.ReadTimeout = pass, 100*time.Millisecond })
	conn := dialTCP(t, r.addr("3128"))
	askOn(t, conn, upgradeServer)
	wantEOF(t, conn)
	if e := r.events.wait(t, trace.RelayClosed, 1); e.By != "idle" {
		t.Errorf("event %v", e)
	}
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	r, _ := forwarding(t, func(s *Settings) { s.ReadTimeout = 50 * time.Millisecond })
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	r.host("silent:80", silent.Addr().String())
	answers := r.exchange(t, "GET http://silent/ HTTP/1.1\r\nHost: silent\r\n\r\n", "GET http://nowhere/ HTTP/1.1\r\nHost: nowhere\r\n\r\n", getServer)
	for i, want := range []int{504, 502, 200} {
		if answers[i].StatusCode != want {
			t.Errorf("answer %d is %s", i, answers[i].Status)
		}
	}
	if e := r.events.wait(t, trace.RelayRefused, 1); e.Status != 504 || e.By != "read_timeout" || e.Detail != "silent:80 did not answer in time" {
		t.Errorf("event %v", e)
	}
}

// A client that goes while the server thinks takes the server's connection with it.
func TestClientLeavesWhileWaiting(t *testing.T) {
	r, _ := forwarding(t, nil)
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	r.host("silent:80", silent.Addr().String())
	c := dialTCP(t, r.addr("3128"))
	if _, err := io.WriteString(c, "GET http://silent/ HTTP/1.1\r\nHost: silent\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	server, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	r.events.wait(t, trace.Relayed, 1)
	_ = c.Close()
	_ = server.SetReadDeadline(time.Now().Add(20 * time.Second))
	wantEOF(t, server)
	if e := r.events.wait(t, trace.RelayClosed, 1); e.By != "client" {
		t.Errorf("event %v", e)
	}
}

func TestRequestBodies(t *testing.T) {
	r, _ := forwarding(t, nil)
	bodies := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/early" {
			http.Error(w, "too much", http.StatusRequestEntityTooLarge)
			return
		}
		content, err := io.ReadAll(request.Body)
		_, _ = fmt.Fprintf(w, "%s %d %v", content, request.ContentLength, err)
	}))
	defer bodies.Close()
	r.host("bodies:80", bodies.Listener.Addr().String())
	answers := r.exchange(t,
		"POST http://bodies/ HTTP/1.1\r\nHost: bodies\r\nContent-Length: 3\r\n\r\nabc",
		"POST http://bodies/ HTTP/1.1\r\nHost: bodies\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
		"POST http://bodies/ HTTP/1.1\r\nHost: bodies\r\n\r\n",
		"POST http://bodies/early HTTP/1.1\r\nHost: bodies\r\nContent-Length: 1000000\r\n\r\nabc")
	var got []string
	for _, a := range answers {
		got = append(got, textOf(t, a))
	}
	if d := cmp.Diff([]string{"abc 3 <nil>", "abc -1 <nil>", " 0 <nil>", "too much\n"}, got); d != "" {
		t.Error(d)
	}
	if !answers[3].Close {
		t.Error("the connection goes on in the middle of a body")
	}
}

func TestToxicsReachForwardedRequests(t *testing.T) {
	r, _ := forwarding(t, nil)
	c := dialTCP(t, r.addr("3128"))
	askOn(t, c, getServer)
	r.serve(t, `{"id":"1","method":"reset"}`+"\n")
	wantReset(t, c)
	if e := r.events.wait(t, trace.RelayClosed, 1); e.Detail != "reset" {
		t.Errorf("event %v", e)
	}
}

func TestMaxConnections(t *testing.T) {
	for _, onFull := range []string{fullRefuse, fullQueue, fullClose} {
		t.Run(onFull, func(t *testing.T) {
			r, _ := forwarding(t, func(s *Settings) { s.MaxConnections, s.OnFull = 1, onFull })
			first := dialTCP(t, r.addr("3128"))
			askOn(t, first, getServer)
			second := dialTCP(t, r.addr("3128"))
			if _, err := io.WriteString(second, getServer); err != nil {
				t.Fatal(err)
			}
			switch onFull {
			case fullRefuse:
				wantText(t, second, "HTTP/1.1 503 Service Unavailable\r\n")
			case fullClose:
				// What the proxy has not read makes a RST of its close.
				if n, err := second.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("read %d, %v", n, err)
				}
			case fullQueue:
				r.events.wait(t, trace.RelayQueued, 1)
				_ = first.Close()
				wantText(t, second, "HTTP/1.1 200 OK\r\n")
				return
			}
			if e := r.events.wait(t, trace.RelayRefused, 1); e.By != "max_connections" || e.Flow.Src.String() != second.LocalAddr().String() {
				t.Errorf("event %v", e)
			}
			_ = first.Close()
			r.events.wait(t, trace.RelayClosed, 1)
			for end := time.Now().Add(10 * time.Second); ; { // the place is free a moment later
				c := dialTCP(t, r.addr("3128"))
				_, _ = io.WriteString(c, getServer)
				b := make([]byte, 12)
				if _, err := io.ReadFull(c, b); err == nil && string(b) == "HTTP/1.1 200" {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the proxy stays full")
				}
			}
		})
	}
}

// curl runs curl through the proxy.
func (r *running) curl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("WSLAB_REQUIRE_PEERS") != "" {
			t.Fatal("there is no curl, and WSLAB_REQUIRE_PEERS is set")
		}
		t.Skip("there is no curl")
	}
	cmd := exec.Command(path, append([]string{"-sS", "--max-time", "20", "--noproxy", "", "-x", "http://" + r.addr("3128")}, args...)...)
	cmd.Env = []string{"HOME=/nonexistent"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestNTLMWithCurl(t *testing.T) {
	r, o := forwarding(t, func(s *Settings) { s.Auth, s.Users = authNTLM, map[string]string{"alice": "secret"} })
	out, err := r.curl(t, "--proxy-ntlm", "-U", "alice:secret", "http://server/", "http://server/")
	if err != nil || out != "plainplain" {
		t.Errorf("curl: %v: %s", err, out)
	}
	for range 2 {
		if asked := <-o.requests; asked.Header.Get("Proxy-Authorization") != "" {
			t.Errorf("the server got %v", asked.Header)
		}
	}
	if e := r.events.wait(t, trace.RelayRefused, 1); e.Status != 407 || e.By != "auth" || e.Detail != "NTLM: a challenge was sent, to be answered on this connection" {
		t.Errorf("event %v", e)
	}
	out, err = r.curl(t, "-o", "/dev/null", "-w", "%{http_code}", "--proxy-ntlm", "-U", "alice:wrong", "http://server/")
	if err != nil || out != "407" {
		t.Errorf("curl with a wrong password: %v: %s", err, out)
	}
	out, err = r.curl(t, "-o", "/dev/null", "-w", "%{http_code}", "-U", "alice:secret", "http://server/")
	if err != nil || out != "407" {
		t.Errorf("curl with Basic: %v: %s", err, out)
	}
}
