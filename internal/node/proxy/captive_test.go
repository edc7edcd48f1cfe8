package proxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/trace"
)

func TestCaptivePortal(t *testing.T) {
	r, _ := forwarding(t, func(s *Settings) { s.Captive = captiveRedirect })
	const page, login = "GET http://the-proxy/ HTTP/1.1\r\nHost: the-proxy\r\n\r\n", "GET http://the-proxy/login HTTP/1.1\r\nHost: the-proxy\r\n\r\n"
	answers := r.exchange(t, getServer, page, "CONNECT server:443 HTTP/1.1\r\nHost: server\r\n\r\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1:3128\r\n\r\n", login, getServer, page)
	for i, want := range []int{302, 200, 511, 200, 200, 200, 200} {
		if answers[i].StatusCode != want {
			t.Errorf("answer %d is %s", i, answers[i].Status)
		}
	}
	if got := answers[0].Header.Get("Location"); got != "http://the-proxy/" {
		t.Errorf("redirected to %q", got)
	}
	if got := textOf(t, answers[2]); !strings.Contains(got, `action="http://the-proxy/login"`) {
		t.Errorf("no link to log in: %s", got)
	}
	if got := textOf(t, answers[5]); got != "plain" {
		t.Errorf("after the login: %q", got)
	}
	if e := r.events.wait(t, trace.RelayRefused, 1); e.Status != 302 || e.By != "captive" || !strings.Contains(e.Detail, "log in at http://the-proxy/login first") {
		t.Errorf("event %v", e)
	}
	if e := r.events.wait(t, trace.LoggedIn, 1); e.Detail != "127.0.0.1" {
		t.Errorf("event %v", e)
	}
	// The login is the address's, not the connection's, and the host can end it.
	if a := r.exchange(t, getServer)[0]; a.StatusCode != 200 {
		t.Errorf("on another connection: %s", a.Status)
	}
	r.serve(t, `{"id":"1","method":"captive.logout","params":{"client":"127.0.0.1"}}`+"\n")
	if a := r.exchange(t, getServer)[0]; a.StatusCode != 302 {
		t.Errorf("logged out: %s", a.Status)
	}
	r.serve(t, `{"id":"2","method":"captive.login","params":{}}`+"\n")
	if a := r.exchange(t, getServer)[0]; a.StatusCode != 200 {
		t.Errorf("logged in by the host: %s", a.Status)
	}
	r.serve(t, `{"id":"3","method":"captive.logout","params":{}}`+"\n")
	if a := r.exchange(t, getServer)[0]; a.StatusCode != 302 {
		t.Errorf("logged out by the host: %s", a.Status)
	}
}

func TestCaptivePageAndConnect(t *testing.T) {
	for connect, want := range map[string]int{captiveConnectRedirect: 302, captiveConnectForbid: 403, captiveConnectRequire: 511} {
		r, _ := forwarding(t, func(s *Settings) {
			s.Captive, s.CaptiveConnect, s.CaptiveLogin = captivePage, connect, "http://portal.test/in"
		})
		answers := r.exchange(t, getServer, "CONNECT server:443 HTTP/1.1\r\nHost: server\r\n\r\n", "GET http://portal.test/in HTTP/1.1\r\nHost: x\r\n\r\n", getServer)
		if got := textOf(t, answers[0]); answers[0].StatusCode != 200 || !strings.Contains(got, "Log in") {
			t.Errorf("%s: %s %s", connect, answers[0].Status, got)
		}
		if answers[1].StatusCode != want {
			t.Errorf("%s: CONNECT is answered with %s", connect, answers[1].Status)
		}
		if got := textOf(t, answers[3]); got != "plain" {
			t.Errorf("%s: after the login: %q", connect, got)
		}
	}
}

func TestCaptiveCertificate(t *testing.T) {
	authority, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := ca.Pool(authority)
	if err != nil {
		t.Fatal(err)
	}
	settings := *newSettings()
	settings.Protocol, settings.Captive, settings.CaptiveConnect = protocolHTTP, captiveRedirect, captiveConnectCertificate
	r := start(t, settings, authority)
	shake := func(name string) (*tls.Conn, error) {
		conn := dialTCP(t, r.addr("3128"))
		if a := askOn(t, conn, "CONNECT server:443 HTTP/1.1\r\nHost: server\r\n\r\n")[0]; a.StatusCode != 200 {
			t.Fatalf("CONNECT: %s", a.Status)
		}
		c := tls.Client(net.Conn(conn), &tls.Config{RootCAs: pool, ServerName: name})
		return c, c.HandshakeContext(t.Context())
	}
	if _, err := shake("server"); err == nil || !strings.Contains(err.Error(), "the-proxy") {
		t.Errorf("the certificate is accepted: %v", err)
	}
	if e := r.events.wait(t, trace.RelayRefused, 1); e.By != "captive" || e.Detail != "captive portal: TLS met the certificate of the-proxy" {
		t.Errorf("event %v", e)
	}
	c, err := shake("the-proxy") // as somebody who clicks the warning away
	if err != nil {
		t.Fatal(err)
	}
	a := askOn(t, c, "GET / HTTP/1.1\r\nHost: server\r\n\r\n")[0]
	if a.StatusCode != http.StatusFound {
		t.Errorf("inside: %s", a.Status)
	}
}
