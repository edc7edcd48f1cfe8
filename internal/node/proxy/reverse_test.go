package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// origin is a server behind a reverse proxy.
type origin struct {
	*httptest.Server
	requests chan *http.Request
	conns    chan *websocket.Conn
	// ended is why each connection ended.
	ended chan error
}

func newOrigin(t *testing.T, authority *topology.Authority) *origin {
	t.Helper()
	o := &origin{requests: make(chan *http.Request, 16), conns: make(chan *websocket.Conn, 16), ended: make(chan error, 16)}
	handler := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		o.requests <- request
		switch {
		case request.URL.Path == "/denied":
			http.Error(w, "not you", http.StatusForbidden)
			return
		case !websocket.IsWebSocketUpgrade(request):
			_, _ = io.WriteString(w, "plain")
			return
		}
		c, err := (&websocket.Upgrader{}).Upgrade(w, request, nil)
		if err != nil {
			return
		}
		o.conns <- c
		for {
			kind, data, err := c.ReadMessage()
			if err == nil {
				err = c.WriteMessage(kind, data)
			}
			if err != nil {
				_ = c.Close()
				o.ended <- err
				return
			}
		}
	})
	o.Server = httptest.NewUnstartedServer(handler)
	if authority != nil {
		certificate, err := ca.Issue(authority, []string{"server"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		o.StartTLS()
	} else {
		o.Start()
	}
	t.Cleanup(o.Close)
	return o
}

// rig is a reverse proxy with its origin, and a client's configuration.
type rig struct {
	*running
	origin *origin
	pool   *x509.CertPool
}

// reverseSettings are the defaults, changed.
func reverseSettings(changes ...func(*Settings)) Settings {
	s := newSettings()
	for _, change := range changes {
		change(s)
	}
	return *s
}

func newRig(t *testing.T, settings Settings, toxics ...topology.ToxicSpec) *rig {
	t.Helper()
	authority, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := ca.Pool(authority)
	if err != nil {
		t.Fatal(err)
	}
	settings.Protocol = "reverse"
	if settings.Upstream == nil {
		settings.Upstream = []string{"server"}
	}
	var o *origin
	if settings.UpstreamTLS {
		o = newOrigin(t, authority)
	} else {
		o = newOrigin(t, nil)
	}
	g := &rig{running: start(t, settings, authority, toxics...), origin: o, pool: pool}
	g.host("server:443", o.Listener.Addr().String())
	g.host("server:80", o.Listener.Addr().String())
	return g
}

// dial opens a WebSocket to the proxy and returns the raw TCP connection as well.
func (g *rig) dial(t *testing.T, scheme string) (*websocket.Conn, *net.TCPConn, error) {
	t.Helper()
	port := map[string]string{"wss": "443", "ws": "80"}[scheme]
	var raw *net.TCPConn
	d := websocket.Dialer{
		TLSClientConfig: &tls.Config{RootCAs: g.pool, ServerName: "the-proxy"},
		NetDial: func(string, string) (net.Conn, error) {
			c, err := net.Dial("tcp4", g.addr(port))
			if err == nil {
				raw = c.(*net.TCPConn)
			}
			return c, err
		},
	}
	c, response, err := d.Dial(scheme+"://the-proxy/chat?session=1", nil)
	if response != nil && err != nil {
		body, _ := io.ReadAll(response.Body)
		err = errors.New(response.Status + ": " + string(body))
	}
	if c != nil {
		t.Cleanup(func() { _ = c.Close() })
		_ = raw.SetReadDeadline(time.Now().Add(20 * time.Second))
	}
	return c, raw, err
}

func TestReverseCarriesWebSockets(t *testing.T) {
	for _, scheme := range []string{"wss", "ws"} {
		for name, upstreamTLS := range map[string]bool{"to wss": true, "to ws": false} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				g := newRig(t, reverseSettings(func(s *Settings) { s.UpstreamTLS = upstreamTLS }))
				c, raw, err := g.dial(t, scheme)
				if err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
						t.Fatal(err)
					}
					if _, data, err := c.ReadMessage(); err != nil || string(data) != "hello" {
						t.Fatalf("%q, %v", data, err)
					}
				}
				request := <-g.origin.requests
				for header, want := range map[string]string{
					"X-Forwarded-For": "127.0.0.1", "Via": "1.1 the-proxy", "X-Forwarded-Host": "the-proxy",
					"X-Forwarded-Proto": map[string]string{"wss": "https", "ws": "http"}[scheme],
				} {
					if got := request.Header.Get(header); got != want {
						t.Errorf("%s is %q, want %q", header, got, want)
					}
				}
				if request.Host != "the-proxy" || request.URL.RawQuery != "session=1" {
					t.Errorf("request to %q %q", request.Host, request.URL)
				}
				e := g.events.wait(t, trace.Relayed, 1)
				if e.Flow.Src.String() != raw.LocalAddr().String() || e.Next.Dst.String() != g.origin.Listener.Addr().String() {
					t.Errorf("event %v", e)
				}
				// The closing handshake and the FINs behind it pass as well.
				if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")); err != nil {
					t.Fatal(err)
				}
				if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1000) {
					t.Errorf("closed with %v", err)
				}
				_ = c.Close()
				// Whose FIN is first is a matter of the moment.
				if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "server" && e.By != "client" || e.Err != "" {
					t.Errorf("event %v", e)
				}
			})
		}
	}
}

func TestReverseCarriesTheEndsOn(t *testing.T) {
	g := newRig(t, reverseSettings())
	open := func(t *testing.T) (*websocket.Conn, *net.TCPConn, *net.TCPConn) {
		c, raw, err := g.dial(t, "wss")
		if err != nil {
			t.Fatal(err)
		}
		server := <-g.origin.conns
		return c, raw, server.NetConn().(*tls.Conn).NetConn().(*net.TCPConn)
	}
	t.Run("the server's RST", func(t *testing.T) {
		c, _, server := open(t)
		_ = server.SetLinger(0)
		_ = server.Close()
		if _, _, err := c.ReadMessage(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client saw %v, want a RST", err)
		}
		g.events.wait(t, trace.RelayClosed, 1)
	})
	t.Run("the server's FIN", func(t *testing.T) {
		c, _, server := open(t)
		_ = server.Close()
		if _, _, err := c.ReadMessage(); err == nil || errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client saw %v, want the end of the stream", err)
		}
		_ = c.Close()
		g.events.wait(t, trace.RelayClosed, 2) // or the next one would be taken for this
	})
	t.Run("the client's RST", func(t *testing.T) {
		_, raw, _ := open(t)
		_ = raw.SetLinger(0)
		_ = raw.Close()
		if e := g.events.wait(t, trace.RelayClosed, 3); e.By != "client" || e.Err == "" {
			t.Errorf("event %v", e)
		}
	})
	t.Run("a reset of the node", func(t *testing.T) {
		c, _, _ := open(t)
		reset(t, g.running)
		if _, _, err := c.ReadMessage(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client saw %v, want a RST", err)
		}
	})
}

// reset asks the node for it as the host does.
func reset(t *testing.T, r *running) {
	t.Helper()
	request := `{"id":"1","method":"toxic.add","params":{"type":"reset"}}` + "\n"
	r.serve(t, request)
	r.events.wait(t, trace.ToxicAdded, 1)
}

func TestReverseToxicsActOnTheClientsConnection(t *testing.T) {
	g := newRig(t, reverseSettings(),
		topology.ToxicSpec{Type: "latency", Toxicity: 1, Attributes: json.RawMessage(`{"latency": 20000000}`)})
	start := time.Now()
	if _, _, err := g.dial(t, "wss"); err != nil {
		t.Fatal(err)
	}
	// The TLS handshake and the Upgrade are a round trip each.
	if d := time.Since(start); d < 40*time.Millisecond {
		t.Errorf("the handshakes took %s under a latency of 20 ms", d)
	}
}

func TestReverseIdleTimeout(t *testing.T) {
	g := newRig(t, reverseSettings(func(s *Settings) { s.IdleTimeout = 100 * time.Millisecond }))
	c, _, err := g.dial(t, "wss")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); err == nil || errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want the end of the stream", err)
	}
	_ = c.Close()
	if e := g.events.wait(t, trace.RelayClosed, 1); e.By != "idle" {
		t.Errorf("event %v", e)
	}
}

func TestReverseAnswersForAnUpstreamThatIsAway(t *testing.T) {
	g := newRig(t, reverseSettings())
	g.host("server:443", refusedAddr(t))
	if _, _, err := g.dial(t, "wss"); err == nil || !strings.HasPrefix(err.Error(), "502 Bad Gateway: cannot reach server: ") {
		t.Errorf("got %v", err)
	}
	if e := g.events.wait(t, trace.RelayRefused, 1); e.Status != 502 || e.Next != nil {
		t.Errorf("event %v", e)
	}
}

func TestReversePassesOtherAnswersOn(t *testing.T) {
	g := newRig(t, reverseSettings())
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: g.pool, ServerName: "the-proxy"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, g.addr("443"))
		},
	}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		path, upgrade, want string
		status              int
	}{
		{"/", "", "plain", 200},
		{"/denied", "", "not you\n", 403},
		{"/denied", "websocket", "not you\n", 403},
		{"/", "", "plain", 200},
	} {
		request, err := http.NewRequest("GET", "https://the-proxy"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Forwarded-For", "192.0.2.1")
		if c.upgrade != "" {
			request.Header.Set("Upgrade", c.upgrade)
			request.Header.Set("Connection", "upgrade")
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || string(body) != c.want || response.StatusCode != c.status || response.Header.Get("Via") != "1.1 the-proxy" {
			t.Errorf("%s: %d %q %v %v", c.path, response.StatusCode, body, response.Header, err)
		}
		if got := (<-g.origin.requests).Header.Get("X-Forwarded-For"); got != "192.0.2.1, 127.0.0.1" {
			t.Errorf("X-Forwarded-For is %q", got)
		}
	}
}
