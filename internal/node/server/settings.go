package server

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/topology"
)

// Settings of a server in a lab file.
type Settings struct {
	HTTPPort  int `json:"http_port" doc:"Port for ws and http; 0 is off." min:"0" max:"65535"`
	HTTPSPort int `json:"https_port" doc:"Port for wss and https, with a certificate of the lab's own authority; 0 is off." min:"0" max:"65535"`

	HandshakeSettings
	SecuritySettings
	ConnectionSettings
}

// HandshakeSettings are the keys of the opening handshake.
type HandshakeSettings struct {
	Subprotocols   []string      `json:"subprotocols" doc:"Subprotocols that it speaks, the preferred one first; the first that the client has offered as well is taken."`
	OnNoCommon     string        `json:"on_no_common" doc:"What becomes of a client that offers subprotocols of which the server speaks none: accept goes on without one, as RFC 6455 has it; refuse answers 400." enum:"accept,refuse"`
	Compression    bool          `json:"compression" doc:"Whether it agrees to permessage-deflate (RFC 7692), without context takeover either way."`
	AcceptDelay    time.Duration `json:"accept_delay" doc:"How long a TCP connection waits until the server looks at it: the kernel has accepted it, but neither TLS nor HTTP is answered." min:"0s"`
	HandshakeDelay time.Duration `json:"handshake_delay" doc:"How long the answer to a handshake takes." min:"0s"`
}

// SecuritySettings are the keys that decide whom the server lets in.
type SecuritySettings struct {
	Origins  []string          `json:"origins,omitempty" doc:"Origins whose pages may connect: https://app.example exactly, *.example for every host under it, https://*.example, or null; others are answered with 403. Without it, any. A handshake without Origin passes: it comes from no browser."`
	Sessions map[string]string `json:"sessions,omitempty" doc:"Users that are logged in, each with the value of its cookie wslab_session: a handshake without one of them is answered with 403. Without it, nobody has to log in."`
	CSRF     string            `json:"csrf" doc:"Token that a handshake has to bring as the query parameter csrf_token or as the subprotocol csrf.TOKEN, else it is answered with 403: session, the one that the server's page shows to the session (in <meta name=csrf-token>); double-submit, the value of the cookie csrf_token, which a page of another origin cannot read." enum:"off,session,double-submit"`
}

// ConnectionSettings are the keys of open connections.
type ConnectionSettings struct {
	MaxMessage int    `json:"max_message" doc:"Bytes that a message may have, all its frames together and decompressed; a longer one ends the connection with 1009." min:"1" max:"67108864"`
	MaxFrame   int    `json:"max_frame" doc:"Bytes of payload that a frame may have; a longer one ends the connection with 1009. 0 is no limit beside max_message." min:"0"`
	OnRestart  string `json:"on_restart,omitempty" doc:"What the clients see when the server is restarted or stopped: a FIN, a RST, or a close frame with that code; without it what the kernel does with the sockets of a process that ends." enum:"fin,reset,1000,1001,1008,1011,1012,1013"`
}

// What csrf and on_no_common can be.
const (
	csrfOff          = "off"
	csrfSession      = "session"
	csrfDoubleSubmit = "double-submit"

	refuseNoCommon = "refuse"
)

// defaultMaxMessage bounds a message where the lab file says nothing.
const defaultMaxMessage = 1 << 20

func newSettings() *Settings {
	return &Settings{
		HTTPPort: 80, HTTPSPort: 443,
		HandshakeSettings:  HandshakeSettings{Subprotocols: []string{Subprotocol}, OnNoCommon: "accept"},
		SecuritySettings:   SecuritySettings{CSRF: csrfOff},
		ConnectionSettings: ConnectionSettings{MaxMessage: defaultMaxMessage},
	}
}

func check(c *topology.NodeCheck) {
	s := c.Node.Settings.(*Settings)
	switch {
	case s.HTTPPort == 0 && s.HTTPSPort == 0:
		c.Problemf("", "leave one of them on", "server %s has neither an http_port nor an https_port", c.Node.Name)
	case s.HTTPPort == s.HTTPSPort:
		c.Problemf("https_port", "", "http_port and https_port of server %s are the same", c.Node.Name)
	}
	for i, name := range s.Subprotocols {
		key := fmt.Sprintf("subprotocols[%d]", i)
		switch {
		case !isToken(name):
			c.Problemf(key, "a name has letters, digits, dots and hyphens", "%q cannot be a subprotocol", name)
		case slices.Contains(s.Subprotocols[:i], name):
			c.Problemf(key, "", "%s is there twice", name)
		}
	}
	for i, text := range s.Origins {
		if _, err := parseOrigin(text); err != nil {
			c.Problemf(fmt.Sprintf("origins[%d]", i), "such as https://app.example, *.example or https://*.example", "%q %v", text, err)
		}
	}
	checkSessions(c, s)
}

func checkSessions(c *topology.NodeCheck, s *Settings) {
	users := make(map[string]string)
	for _, user := range sortedKeys(s.Sessions) {
		id := s.Sessions[user]
		switch {
		case !isToken(id):
			c.Problemf("sessions", "use letters, digits and hyphens", "%q, the session of %s, cannot be the value of a cookie", id, user)
		case users[id] != "":
			c.Problemf("sessions", "", "%s and %s have the same session", users[id], user)
		}
		users[id] = user
	}
	if s.CSRF == csrfSession && len(s.Sessions) == 0 {
		c.Problemf("csrf", "give sessions, or write double-submit", "csrf: session means nothing without sessions")
	}
}

// isToken says whether a text is one of RFC 9110, section 5.6.2, which both subprotocols
// and what is put into cookies here have to be.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// origin is an entry of `origins`, or the Origin of a request.
type origin struct {
	// scheme is "" for any.
	scheme, host, port string
	// under says that hosts under it are meant, and not itself.
	under bool
}

// parseOrigin reads an entry of the list.
func parseOrigin(text string) (origin, error) {
	if text == "null" {
		return origin{host: "null"}, nil
	}
	var o origin
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", text
	}
	rest, o.under = strings.CutPrefix(rest, "*.")
	if scheme == "" && (ok || !o.under) {
		return o, fmt.Errorf("is no origin")
	}
	at := scheme
	if at == "" {
		at = "any"
	}
	u, err := url.Parse(at + "://" + rest)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.Contains(rest, "*") {
		return o, fmt.Errorf("is no origin")
	}
	o.scheme, o.host, o.port = strings.ToLower(scheme), strings.ToLower(u.Hostname()), u.Port()
	if o.port == defaultPort(o.scheme) {
		o.port = ""
	}
	return o, nil
}

// defaultPort of a scheme; "" where there is none.
func defaultPort(scheme string) string {
	return map[string]string{"http": "80", "https": "443"}[scheme]
}

// allows says whether the entry covers an origin of a request.
func (o origin) allows(of origin) bool {
	switch {
	case of.under:
		return false
	case o.under && !strings.HasSuffix(of.host, "."+o.host):
		return false
	case !o.under && of.host != o.host:
		return false
	}
	return o.scheme == "" || o.scheme == of.scheme && o.port == of.port
}

// originAllowed says whether pages of an origin may connect.
func originAllowed(list []string, text string) bool {
	of, err := parseOrigin(text)
	return err == nil && slices.ContainsFunc(list, func(entry string) bool {
		o, err := parseOrigin(entry)
		return err == nil && o.allows(of)
	})
}
