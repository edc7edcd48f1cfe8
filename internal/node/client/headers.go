package client

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/wslab/wslab/topology"
)

// HeaderSettings are what a client's handshakes say beside what RFC 6455 asks for: what a
// browser would add by itself, and a page cannot change.
type HeaderSettings struct {
	Origin  string            `json:"origin,omitempty" doc:"Origin of the page that connects, such as https://app.example, as a browser sends it; without it there is none, as of a client that is no browser."`
	Headers map[string]string `json:"headers,omitempty" doc:"Further headers of its handshakes, such as Cookie."`
}

// header is what goes into a handshake.
func (s HeaderSettings) header() http.Header {
	h := make(http.Header)
	for name, value := range s.Headers {
		h.Set(name, value)
	}
	if s.Origin != "" {
		h.Set("Origin", s.Origin)
	}
	return h
}

// taken are the headers that a handshake has of itself.
func taken() []string {
	return []string{
		"Host", "Upgrade", "Connection", "Origin", "Sec-Websocket-Key", "Sec-Websocket-Version",
		"Sec-Websocket-Extensions", "Sec-Websocket-Protocol", "Content-Length", "Transfer-Encoding",
	}
}

// checkHeaders refuses what cannot stand in a header.
func checkHeaders(c *topology.NodeCheck, s HeaderSettings) {
	if s.Origin != "" && !httpguts.ValidHeaderFieldValue(s.Origin) {
		c.Problemf("origin", "", "%q cannot be the value of a header", s.Origin)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		key := "headers." + name
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			c.Problemf("headers", "", "%q cannot be the name of a header", name)
		case canonical == "Origin":
			c.Problemf(key, "write origin: "+s.Headers[name], "Origin has a key of its own")
		case slices.Contains(taken(), canonical):
			c.Problemf(key, "", "%s belongs to the handshake itself", name)
		case !httpguts.ValidHeaderFieldValue(s.Headers[name]) || strings.TrimSpace(s.Headers[name]) == "":
			c.Problemf(key, "", "%q cannot be the value of a header", s.Headers[name])
		}
	}
}
