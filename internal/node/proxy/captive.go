package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/trace"
)

// maxLoggedIn is how many clients may be logged in: real portals run out of leases as well.
const maxLoggedIn = 4096

// captive is a captive portal: what stands before a network until somebody logs in. It is safe for
// concurrent use.
type captive struct {
	proxy *proxy
	login *url.URL
	// tls is what a client meets that wanted TLS with a server; nil if it does not.
	tls *tls.Config

	mu sync.Mutex
	in map[netip.Addr]bool
	// all are logged in.
	all bool
}

// newCaptive also registers the host's requests: captive.login and captive.logout, with
// {"client": ADDRESS or NAME}, or without it for all clients.
func newCaptive(p *proxy) (*captive, error) {
	c := &captive{proxy: p, login: p.settings.portal(p.env.Spec.Name), in: make(map[netip.Addr]bool)}
	if p.settings.CaptiveConnect == captiveConnectCertificate {
		certificate, err := ca.Issue(p.env.Spec.CA, []string{c.login.Hostname()}, nil)
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
		}
		c.tls = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	}
	p.env.Handle("captive.login", c.asked(true))
	p.env.Handle("captive.logout", c.asked(false))
	return c, nil
}

// asked answers the host.
func (c *captive) asked(in bool) func(context.Context, json.RawMessage) (any, error) {
	return func(_ context.Context, params json.RawMessage) (any, error) {
		var p struct {
			Client string `json:"client"`
		}
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, fmt.Errorf("captive portal: %w", err)
		}
		if p.Client == "" {
			c.setAll(in)
			return nil, nil
		}
		client, ok := c.proxy.env.Spec.Hosts[p.Client]
		if !ok {
			var err error
			if client, err = netip.ParseAddr(p.Client); err != nil {
				return nil, fmt.Errorf("captive portal: %q is neither an address nor a node", p.Client)
			}
		}
		return nil, c.set(client.Unmap(), in)
	}
}

func (c *captive) setAll(in bool) {
	c.mu.Lock()
	c.all, c.in = in, make(map[netip.Addr]bool)
	c.mu.Unlock()
	if in {
		c.proxy.env.Record(trace.Event{Type: trace.LoggedIn, Detail: "all clients"})
	}
}

// set logs a client in or out.
func (c *captive) set(client netip.Addr, in bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !in {
		delete(c.in, client)
		return nil
	}
	if len(c.in) >= maxLoggedIn && !c.in[client] {
		return errors.New("the captive portal has no room for another client")
	}
	c.in[client] = true
	c.proxy.env.Record(trace.Event{Type: trace.LoggedIn, Detail: client.String()})
	return nil
}

// passes says whether a client is logged in.
func (c *captive) passes(flow trace.Flow) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all || c.in[flow.Src.Addr()]
}

// admit answers a client that has not logged in, logs in one that does, and shows its own page
// to both. It is nil where a request may go on.
func (c *captive) admit(flow trace.Flow, r *request) *refusal {
	path, own := c.own(r)
	switch {
	case own && path == c.login.EscapedPath():
		if err := c.set(flow.Src.Addr(), true); err != nil {
			return captivated(http.StatusServiceUnavailable, "%v", err)
		}
		return c.page(http.StatusOK, "You are logged in.")
	case c.passes(flow) && !own:
		return nil
	case own:
		return c.page(http.StatusOK, "Log in to use this network.")
	case r.method == http.MethodConnect:
		return c.answerConnect(r)
	case c.proxy.settings.Captive == captivePage:
		return c.page(http.StatusOK, "Log in to use this network.")
	}
	no := captivated(http.StatusFound, "captive portal: log in at %s first", c.login)
	no.header.Set("Location", c.login.Scheme+"://"+c.login.Host+"/")
	no.header.Set("Cache-Control", "no-store")
	return no
}

// captivated is an answer of the portal's.
func captivated(status int, format string, args ...any) *refusal {
	no := refuse(status, format, args...)
	no.by, no.keep = "captive", true
	return no
}

// answerConnect answers a CONNECT before the login; nil where it is to end at the portal.
func (c *captive) answerConnect(r *request) *refusal {
	const reason = "captive portal: log in at %s first"
	switch c.proxy.settings.CaptiveConnect {
	case captiveConnectCertificate:
		if _, err := parseTarget(r.target); err != nil {
			return refuse(http.StatusBadRequest, "CONNECT %q: %v", r.target, err)
		}
		return nil
	case captiveConnectRedirect:
		no := captivated(http.StatusFound, reason, c.login)
		no.header.Set("Location", c.login.Scheme+"://"+c.login.Host+"/")
		return no
	case captiveConnectForbid:
		return captivated(http.StatusForbidden, reason, c.login)
	}
	no := c.page(http.StatusNetworkAuthenticationRequired, "Log in to use this network.")
	no.reason = fmt.Sprintf(reason, c.login)
	return no
}

// page is the portal's own: RFC 6585 section 6 wants a link to where one logs in.
func (c *captive) page(status int, text string) *refusal {
	no := captivated(status, "captive portal: %s", text)
	no.header.Set("Cache-Control", "no-store")
	link := html.EscapeString(c.login.String())
	no.page = "<!DOCTYPE html><title>" + html.EscapeString(c.proxy.env.Spec.Name) + "</title><p>" + html.EscapeString(text) +
		"</p><form action=\"" + link + "\"><button>Log in</button></form>\n"
	return no
}

// own says whether a request is for the portal itself, and the path of it. Before the login its host is the
// proxy's by all of its names, as a client may ask it directly.
func (c *captive) own(r *request) (path string, own bool) {
	if r.method == http.MethodConnect {
		return "", false
	}
	u, err := url.Parse(r.target)
	if err != nil {
		return "", false
	}
	if u.Host != "" {
		return u.EscapedPath(), strings.EqualFold(u.Host, c.login.Host)
	}
	host, _, err := net.SplitHostPort(r.get("Host"))
	if err != nil {
		host = r.get("Host")
	}
	if strings.EqualFold(host, c.login.Hostname()) || strings.EqualFold(host, c.proxy.env.Spec.Name) {
		return u.EscapedPath(), true
	}
	for _, i := range c.proxy.env.Spec.Interfaces {
		if i.Addr.Addr().String() == host {
			return u.EscapedPath(), true
		}
	}
	return "", false
}

// impersonate speaks TLS in the place of the server that a client wanted, with the portal's
// certificate, and redirects a client that does not mind.
func (c *captive) impersonate(ctx context.Context, h *httpClient, inner net.Conn) {
	const reason = "captive portal: TLS met the certificate of %s"
	h.env.Record(trace.Event{Type: trace.RelayRefused, Flow: &h.flow, By: "captive", Detail: fmt.Sprintf(reason, c.login.Hostname())})
	secure := tls.Server(inner, c.tls)
	shaking, cancel := context.WithTimeout(ctx, h.handshake)
	defer cancel()
	if secure.HandshakeContext(shaking) != nil {
		return // as it should
	}
	// What follows is asked of the portal, whoever is logged in by now.
	h.serveRequests(ctx, secure, false)
}
