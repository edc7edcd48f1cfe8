package proxy

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/wslab/wslab/topology"
)

// The protocols that a proxy speaks.
const (
	protocolHTTP    = "http"
	protocolSOCKS5  = "socks5"
	protocolReverse = "reverse"
)

// cleartextPort is where a reverse proxy takes ws and http besides its own port.
const cleartextPort = 80

// Settings of a proxy in a lab file.
type Settings struct {
	Protocol     string            `json:"protocol" doc:"What the proxy speaks: http (CONNECT), socks5, or reverse (it stands in for the server)." enum:"http,socks5,reverse" required:"true"`
	Port         int               `json:"port" doc:"Port that it listens on; 0 is the protocol's own: 3128 for http, 1080 for socks5, 443 for reverse, which takes ws on 80 besides." min:"0" max:"65535"`
	AllowConnect []int             `json:"allow_connect" doc:"Ports that CONNECT may go to (protocol http); others are answered with 403." min:"1" max:"65535"`
	Users        map[string]string `json:"users" doc:"Passwords of the users that it knows (protocols http and socks5); without any it asks nobody."`
	Upstream     string            `json:"upstream" doc:"The server that it stands in front of (protocol reverse)."`
	UpstreamTLS  bool              `json:"upstream_tls" doc:"Whether it speaks TLS to its upstream (protocol reverse)."`
	IdleTimeout  time.Duration     `json:"idle_timeout" doc:"Closes a connection after this much silence in both directions; 0 never does. TCP keepalive does not count." min:"0s"`
}

func newSettings() *Settings {
	return &Settings{AllowConnect: []int{443}, UpstreamTLS: true}
}

// PassageUsers returns the names of the users that the proxy knows, in order.
func (s *Settings) PassageUsers() []string { return slices.Sorted(maps.Keys(s.Users)) }

// ListenPort is the port that the proxy listens on.
func (s *Settings) ListenPort() int {
	if s.Port != 0 {
		return s.Port
	}
	switch s.Protocol {
	case protocolHTTP:
		return 3128
	case protocolSOCKS5:
		return 1080
	default:
		return 443
	}
}

// Reverse says whether the proxy stands in for the server, so that clients connect to
// it and not through it.
func (s *Settings) Reverse() bool { return s.Protocol == protocolReverse }

// URL is how a client writes the proxy down, as in "http://alice:secret@http-proxy:3128";
// node is the proxy's name, user may be empty. For a reverse proxy it is the URL that
// clients connect to instead of the server's, as in "wss://app-proxy/".
func (s *Settings) URL(node, user string) string {
	u := url.URL{Scheme: s.Protocol, Host: net.JoinHostPort(node, strconv.Itoa(s.ListenPort()))}
	if s.Reverse() {
		u.Scheme, u.Path = "wss", "/"
		if s.ListenPort() == 443 {
			u.Host = node
		}
		return u.String()
	}
	if user != "" {
		u.User = url.UserPassword(user, s.Users[user])
	}
	return u.String()
}

// belongs says which protocols a key is for; keys that are not there are for all.
var belongs = map[string][]string{
	"allow_connect": {protocolHTTP},
	"users":         {protocolHTTP, protocolSOCKS5},
	"upstream":      {protocolReverse},
	"upstream_tls":  {protocolReverse},
}

// check reports what is wrong with a proxy beyond its single keys.
func check(c *topology.NodeCheck) {
	s := c.Node.Settings.(*Settings)
	if !slices.Contains([]string{protocolHTTP, protocolSOCKS5, protocolReverse}, s.Protocol) {
		return // reported by the key itself
	}
	for _, key := range slices.Sorted(maps.Keys(belongs)) {
		if c.InFile(key) && !slices.Contains(belongs[key], s.Protocol) {
			c.Problemf(key, "", "%s is not for a proxy of protocol %s", key, s.Protocol)
		}
	}
	checkUsers(c, s)
	if !s.Reverse() {
		return
	}
	if s.Port == cleartextPort {
		c.Problemf("port", "", "port %d is where a reverse proxy takes ws; give another for wss", cleartextPort)
	}
	checkUpstream(c, s)
}

// checkUsers refuses what the protocols cannot carry: RFC 7617 section 2 has no colon
// in a name, RFC 1929 section 2 has names and passwords of 1 to 255 bytes.
func checkUsers(c *topology.NodeCheck, s *Settings) {
	for _, name := range s.PassageUsers() {
		password := s.Users[name]
		switch {
		case s.Protocol == protocolHTTP && slices.Contains([]byte(name), ':'):
			c.Problemf("users", "", "user %q has a colon in its name, which Basic authentication cannot carry", name)
		case s.Protocol == protocolSOCKS5 && (len(name) == 0 || len(name) > 255 || len(password) == 0 || len(password) > 255):
			c.Problemf("users", "", "user %q: SOCKS5 carries names and passwords of 1 to 255 bytes", name)
		}
	}
}

func checkUpstream(c *topology.NodeCheck, s *Settings) {
	var servers []string
	for _, n := range c.Lab.Nodes {
		if n.Kind != nil && n.Kind.Target {
			servers = append(servers, n.Name)
		}
	}
	upstream, ok := c.Lab.Node(s.Upstream)
	switch {
	case s.Upstream == "":
		c.Problemf("", c.Suggest("", servers), "a reverse proxy needs an upstream")
	case !ok:
		c.Problemf("upstream", c.Suggest(s.Upstream, servers), "there is no node %q", s.Upstream)
	case upstream.Kind == nil:
		// its own kind is reported
	case !upstream.Kind.Target:
		c.Problemf("upstream", c.Suggest(s.Upstream, servers), "%s is a %s, not a server", s.Upstream, upstream.Kind.Name)
	case !c.Reaches(c.Node.Name, s.Upstream):
		c.Problemf("upstream", "put both on one network, or a node that routes between them", "%s has no way to %s", c.Node.Name, s.Upstream)
	}
}
