package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// interception is an interceptor in front of an origin at server:443, and a client of it.
type interception struct {
	*running
	origin *origin
	pool   *x509.CertPool
}

// intercepting starts one; the origin's certificate is of the lab's authority unless another is given.
func intercepting(t *testing.T, other *topology.Authority, change func(*Settings)) *interception {
	t.Helper()
	authority, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := ca.Pool(authority)
	if err != nil {
		t.Fatal(err)
	}
	if other == nil {
		other = authority
	}
	settings := *newSettings()
	settings.Protocol = protocolIntercept
	if change != nil {
		change(&settings)
	}
	i := &interception{origin: newOrigin(t, other), pool: pool, running: start(t, settings, authority)}
	i.only("server:443", i.origin.Listener.Addr().String())
	i.host("server:80", i.origin.Listener.Addr().String())
	return i
}

// tls opens a tunnel and speaks TLS in it.
func (i *interception) tls(t *testing.T) (*tls.Conn, error) {
	t.Helper()
	conn := dialTCP(t, i.addr("3128"))
	if a := askOn(t, conn, "CONNECT server:443 HTTP/1.1\r\nHost: server\r\n\r\n")[0]; a.StatusCode != 200 {
		t.Fatalf("CONNECT: %s", a.Status)
	}
	c := tls.Client(net.Conn(conn), &tls.Config{RootCAs: i.pool, ServerName: "server"})
	return c, c.HandshakeContext(t.Context())
}

func TestInterceptForwards(t *testing.T) {
	i := intercepting(t, nil, func(s *Settings) { s.Issuer = "ACME Web Security" })
	c, err := i.tls(t)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ConnectionState().PeerCertificates[0].Issuer.CommonName; got != "ACME Web Security" {
		t.Errorf("the certificate is of %q", got)
	}
	const get = "GET / HTTP/1.1\r\nHost: server\r\n\r\n"
	for n, a := range askOn(t, c, get, get) {
		if got := textOf(t, a); got != "plain" || a.Header.Get("Via") != "1.1 the-proxy" {
			t.Errorf("answer %d: %q %v", n, got, a.Header)
		}
		if asked := <-i.origin.requests; asked.Header.Get("X-Forwarded-For") != "127.0.0.1" || asked.Host != "server" {
			t.Errorf("the server got %v", asked)
		}
	}
	if e := i.events.wait(t, trace.Intercepted, 1); e.Detail != "ACME Web Security" || e.By != "server" || e.Err != "" {
		t.Errorf("event %v", e)
	}
	i.events.wait(t, trace.Relayed, 2) // a connection for each request
}

func TestInterceptedWebSocket(t *testing.T) {
	for _, inside := range []string{pass, strip} {
		t.Run(inside, func(t *testing.T) {
			i := intercepting(t, nil, func(s *Settings) { s.UpgradeInside = inside })
			d := websocket.Dialer{
				TLSClientConfig: &tls.Config{RootCAs: i.pool},
				NetDialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
					conn := dialTCP(t, i.addr("3128"))
					if a := askOn(t, conn, "CONNECT "+address+" HTTP/1.1\r\nHost: server\r\n\r\n")[0]; a.StatusCode != 200 {
						return nil, errors.New(a.Status)
					}
					return conn, nil
				},
			}
			ws, answer, err := d.Dial("wss://server/chat", nil)
			if inside == strip {
				if err == nil || answer == nil || answer.StatusCode != http.StatusOK {
					t.Fatalf("%v, %v", err, answer)
				}
				if e := i.events.wait(t, trace.UpgradeStripped, 1); e.Status != 200 {
					t.Errorf("event %v", e)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ws.Close() }()
			for range 3 {
				if err := ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				if _, data, err := ws.ReadMessage(); err != nil || string(data) != "hello" {
					t.Fatalf("%q, %v", data, err)
				}
			}
			if err := ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")); err != nil {
				t.Fatal(err)
			}
			if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 1000) {
				t.Errorf("closed with %v", err)
			}
		})
	}
}

func TestUntrustedInterceptor(t *testing.T) {
	i := intercepting(t, nil, func(s *Settings) { s.Trusted = false })
	_, err := i.tls(t)
	if unknown := new(x509.UnknownAuthorityError); !errors.As(err, unknown) {
		t.Errorf("TLS ended with %v", err)
	}
	if e := i.events.wait(t, trace.Intercepted, 1); e.Detail != "the-proxy interception CA" || !strings.Contains(e.Err, "bad certificate") {
		t.Errorf("event %v", e)
	}
}

func TestExemptFromInterception(t *testing.T) {
	for _, exempt := range []string{"server", "SERVER", "*.test"} {
		i := intercepting(t, nil, func(s *Settings) { s.Exempt = []string{exempt} })
		c, err := i.tls(t)
		if err != nil {
			t.Fatal(err)
		}
		issuer := c.ConnectionState().PeerCertificates[0].Issuer.CommonName
		if intercepted := issuer != "wslab lab authority"; intercepted != (exempt == "*.test") {
			t.Errorf("exempt %s: the certificate is of %q", exempt, issuer)
		}
	}
	s := InterceptSettings{Exempt: []string{"*.bank.test", "exact.test"}}
	for name, want := range map[string]bool{"www.bank.test": true, "a.b.bank.test.": true, "bank.test": false, "xbank.test": false, "exact.test": true, "www.exact.test": false} {
		if s.exempts(name) != want {
			t.Errorf("%s: exempt is %t", name, !want)
		}
	}
}

func TestExemptByTheHello(t *testing.T) {
	i := intercepting(t, nil, func(s *Settings) { s.Exempt = []string{"server"} })
	i.host("198.51.100.7:443", i.origin.Listener.Addr().String())
	conn := dialTCP(t, i.addr("3128"))
	askOn(t, conn, "CONNECT 198.51.100.7:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	c := tls.Client(net.Conn(conn), &tls.Config{RootCAs: i.pool, ServerName: "server"})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.ConnectionState().PeerCertificates[0].Issuer.CommonName; got != "wslab lab authority" {
		t.Errorf("the certificate is of %q", got)
	}
}

func TestInterceptorAndABadServer(t *testing.T) {
	stranger, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{badOriginRefuse, badOriginUntrusted, badOriginIgnore} {
		t.Run(what, func(t *testing.T) {
			i := intercepting(t, stranger, func(s *Settings) { s.BadOrigin = what })
			c, err := i.tls(t)
			if what == badOriginUntrusted {
				if err == nil {
					t.Error("the client trusts it")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{badOriginRefuse: 502, badOriginIgnore: 200}[what]
			const get = "GET / HTTP/1.1\r\nHost: server\r\n\r\n"
			if a := askOn(t, c, get)[0]; a.StatusCode != want {
				t.Errorf("answer %s", a.Status)
			}
			if what == badOriginRefuse {
				if e := i.events.wait(t, trace.RelayRefused, 1); e.By != "bad_origin" || !strings.Contains(e.Detail, "is not trusted") {
					t.Errorf("event %v", e)
				}
			}
		})
	}
}

func TestInterceptorTunnelsWhatIsNoTLS(t *testing.T) {
	i := intercepting(t, nil, nil)
	target, _ := echoServer(t)
	i.host("server:443", target)
	conn := dialTCP(t, i.addr("3128"))
	askOn(t, conn, "CONNECT server:443 HTTP/1.1\r\nHost: server\r\n\r\n")
	wantEcho(t, conn, "SSH-2.0-test\r\n")
}

// FuzzHello reads the first message of TLS: whatever it is, what was read can be sent on.
func FuzzHello(f *testing.F) {
	client, server := net.Pipe()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "server.test"}).Handshake() // it gets no answer
	}()
	hello := make([]byte, 4096)
	n, err := server.Read(hello)
	if err != nil {
		f.Fatal(err)
	}
	_, _ = server.Close(), client.Close()
	f.Add(hello[:n])
	f.Add(hello[:n/2])
	f.Add([]byte("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		hello, raw, err := peekHello(t.Context(), &overheard{Conn: &bridgeEnd{}, from: bytes.NewReader(data)})
		if !bytes.HasPrefix(data, raw) {
			t.Errorf("%x was read of %x", raw, data)
		}
		if len(raw) > 0 && raw[0] == tlsRecord && (hello == nil) != (err != nil) {
			t.Errorf("hello %v, %v", hello, err)
		}
		if len(data) > 0 && data[0] != tlsRecord && (len(raw) != 1 || hello != nil) {
			t.Errorf("what is no TLS is read as it")
		}
		_, _ = io.Discard.Write(raw)
	})
}
