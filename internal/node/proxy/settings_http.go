package proxy

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/wslab/wslab/topology"
)

// HTTPSettings are the keys of proxies that are asked with HTTP where to go.
type HTTPSettings struct {
	Auth              string        `json:"auth" doc:"How it asks for one of its users (protocols http and intercept): basic with each request; ntlm and negotiate once for each connection, in three messages on it. Inside Negotiate it understands NTLM, not Kerberos." enum:"basic,ntlm,negotiate"`
	AddVia            bool          `json:"add_via" doc:"Whether it adds Via to what it forwards (protocols http and intercept)."`
	AddForwardedFor   bool          `json:"add_forwarded_for" doc:"Whether it adds X-Forwarded-For to the requests that it forwards (protocols http and intercept)."`
	RequestHeaders    HeaderChanges `json:"request_headers" doc:"Changes to the headers of requests that it forwards (protocols http and intercept), made last."`
	ResponseHeaders   HeaderChanges `json:"response_headers" doc:"Changes to the headers of responses that it forwards (protocols http and intercept), made last."`
	CacheEntries      int           `json:"cache_entries" doc:"How many responses it keeps in its cache (RFC 9111; protocols http and intercept); 0 is no cache. It keeps what a response says the lifetime of, and goes by lab time." min:"0" max:"100000"`
	CacheBytes        int           `json:"cache_bytes" doc:"How many bytes of responses it keeps at most (protocols http and intercept)." min:"1024" max:"268435456"`
	CacheHeader       string        `json:"cache_header" doc:"How it says what its cache did (protocols http and intercept): X-Cache as Squid up to 5, Cache-Status (RFC 9211) as Squid from 6 on, or not." enum:"x-cache,cache-status,none"`
	ReadTimeout       time.Duration `json:"read_timeout" doc:"How long it waits for bytes (protocols http and intercept): a tunnel on which neither side sends for so long is closed, a server that does not answer in that time is one of 504. 0 waits for ever; Squid's read_timeout is 15m." min:"0s"`
	UnreachableStatus int           `json:"unreachable_status" doc:"Status for a server that cannot be reached (protocols http and intercept); 0 is 502, or 504 where no answer came in time. Squid answers 503." min:"0" max:"599"`
	TunnelEnd         string        `json:"tunnel_end" doc:"How the end of one side of a tunnel reaches the other (protocols http and intercept): carry passes a half-close and a RST on as they are; close ends both sides with a FIN at the first of either, as Squid." enum:"carry,close"`
	MaxConnections    int           `json:"max_connections" doc:"How many clients it serves at once (protocols http and intercept); 0 is no limit." min:"0" max:"65535"`
	OnFull            string        `json:"on_full" doc:"What happens to one client more than max_connections (protocols http and intercept): refuse answers 503, queue lets it wait, close closes without an answer." enum:"refuse,queue,close"`
	Captive           string        `json:"captive" doc:"A captive portal (protocols http and intercept): until somebody has logged in from a client's address, cleartext requests are answered with a redirect to the portal (302), or with its page (200)." enum:"off,redirect,page"`
	CaptiveConnect    string        `json:"captive_connect" doc:"What CONNECT is answered with before the login (protocols http and intercept): redirect is 302, forbid 403, require 511 (RFC 6585 section 6); certificate tunnels to the portal itself, so that TLS meets a certificate of another name." enum:"redirect,forbid,require,certificate"`
	CaptiveLogin      string        `json:"captive_login" doc:"The URL whose request logs a client in (protocols http and intercept); without it http://NODE/login. The proxy answers for its host."`
}

// HeaderChanges are changes to the header of a message, made in this order.
type HeaderChanges struct {
	Remove []string          `json:"remove,omitempty" doc:"Fields to take out."`
	Set    map[string]string `json:"set,omitempty" doc:"Fields to give this value, and no other."`
	Add    map[string]string `json:"add,omitempty" doc:"Fields to add, beside those of the same name."`
}

// Values of the keys.
const (
	authBasic     = "basic"
	authNTLM      = "ntlm"
	authNegotiate = "negotiate"

	cacheHeaderX      = "x-cache"
	cacheHeaderStatus = "cache-status"

	tunnelEndCarry = "carry"
	tunnelEndClose = "close"

	fullRefuse = "refuse"
	fullQueue  = "queue"
	fullClose  = "close"

	captiveOff      = "off"
	captiveRedirect = "redirect"
	captivePage     = "page"

	captiveConnectRedirect    = "redirect"
	captiveConnectForbid      = "forbid"
	captiveConnectRequire     = "require"
	captiveConnectCertificate = "certificate"
)

func newHTTPSettings() HTTPSettings {
	return HTTPSettings{
		Auth:            authBasic,
		AddVia:          true,
		AddForwardedFor: true,
		CacheBytes:      8 << 20,
		CacheHeader:     cacheHeaderX,
		TunnelEnd:       tunnelEndCarry,
		OnFull:          fullRefuse,
		Captive:         captiveOff,
		CaptiveConnect:  captiveConnectRequire,
	}
}

// portal is the URL whose request logs a client in.
func (s *HTTPSettings) portal(node string) *url.URL {
	if u, err := url.Parse(s.CaptiveLogin); err == nil && u.Host != "" {
		return u
	}
	return &url.URL{Scheme: "http", Host: node, Path: "/login"}
}

// tunnelIdle is how long a tunnel may be silent; 0 is for ever.
func (s *Settings) tunnelIdle() time.Duration {
	if s.IdleTimeout == 0 || s.ReadTimeout == 0 {
		return max(s.IdleTimeout, s.ReadTimeout)
	}
	return min(s.IdleTimeout, s.ReadTimeout)
}

// checkHTTP reports what is wrong with an HTTP proxy beyond its single keys.
func checkHTTP(c *topology.NodeCheck, s *Settings) {
	if s.Auth != authBasic && len(s.Users) == 0 {
		c.Problemf("auth", "give it users: { NAME: PASSWORD }", "%s asks for a user and knows none", c.Node.Name)
	}
	if s.UnreachableStatus != 0 && s.UnreachableStatus < 500 {
		c.Problemf("unreachable_status", "such as 502, 503 or 504", "%d does not say that the server cannot be reached", s.UnreachableStatus)
	}
	for _, only := range []struct {
		key, of string
		on      bool
	}{
		{"on_full", "max_connections", s.MaxConnections > 0},
		{"cache_bytes", "cache_entries", s.CacheEntries > 0},
		{"cache_header", "cache_entries", s.CacheEntries > 0},
		{"captive_connect", "captive", s.Captive != captiveOff},
		{"captive_login", "captive", s.Captive != captiveOff},
	} {
		if c.InFile(only.key) && !only.on {
			c.Problemf(only.key, "add "+only.of, "%s means nothing without %s", only.key, only.of)
		}
	}
	if s.CaptiveLogin != "" {
		if u, err := url.Parse(s.CaptiveLogin); err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil {
			c.Problemf("captive_login", "such as http://portal/login", "%q is no URL that a client asks for in cleartext", s.CaptiveLogin)
		}
	}
	s.RequestHeaders.check(c, "request_headers")
	s.ResponseHeaders.check(c, "response_headers")
}

// check reports what would make a message that nobody can read.
func (h *HeaderChanges) check(c *topology.NodeCheck, key string) {
	names := slices.Concat(h.Remove, slices.Sorted(maps.Keys(h.Set)), slices.Sorted(maps.Keys(h.Add)))
	for _, name := range names {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			c.Problemf(key, "", "%q is no name of a header field", name)
		case containsFold([]string{"Content-Length", "Transfer-Encoding", "Connection"}, name):
			c.Problemf(key, "", "%s delimits messages; a proxy that changes it breaks them", name)
		}
	}
	for _, values := range []map[string]string{h.Set, h.Add} {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if !httpguts.ValidHeaderFieldValue(values[name]) {
				c.Problemf(key, "", "the value of %s holds control characters", name)
			}
		}
	}
}

// apply changes a head.
func (h *HeaderChanges) apply(to *head) {
	to.del(h.Remove...)
	for _, name := range slices.Sorted(maps.Keys(h.Set)) {
		to.set(name, h.Set[name])
	}
	for _, name := range slices.Sorted(maps.Keys(h.Add)) {
		to.add(name, h.Add[name])
	}
}
