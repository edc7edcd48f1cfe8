package command

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"

	"github.com/wslab/wslab/topology"
)

// Proxy says what kind of proxy a program is, so that clients can be sent through it
// as through one of wslab's own. It configures nothing: that is the program's files' part.
type Proxy struct {
	Protocol  string            `json:"protocol" doc:"What the proxy speaks: http (CONNECT), socks5, or reverse (it stands in for the server)." enum:"http,socks5,reverse" required:"true"`
	Port      int               `json:"port,omitempty" doc:"Port that it listens on; 0 is the protocol's own: 3128 for http, 1080 for socks5, 443 for reverse." min:"0" max:"65535"`
	Cleartext bool              `json:"cleartext,omitempty" doc:"Whether clients speak ws to it rather than wss (protocol reverse), on port 80 if none is given."`
	Users     map[string]string `json:"users,omitempty" doc:"Passwords of the users that it knows (protocols http and socks5); without any it asks nobody."`
	Upstream  string            `json:"upstream,omitempty" doc:"The server that it stands in front of (protocol reverse)."`
}

// PassageUsers returns the names of the users that the proxy knows, in order.
func (p *Proxy) PassageUsers() []string { return slices.Sorted(maps.Keys(p.Users)) }

// Reverse says whether the proxy stands in for the server.
func (p *Proxy) Reverse() bool { return p.Protocol == "reverse" }

func (p *Proxy) listenPort() int {
	switch {
	case p.Port != 0:
		return p.Port
	case p.Protocol == "http":
		return 3128
	case p.Protocol == "socks5":
		return 1080
	case p.Cleartext:
		return 80
	}
	return 443
}

// URL is how a client writes the proxy down, or what it connects to instead of the
// server when the proxy is a reverse one.
func (p *Proxy) URL(node, user string) string {
	u := url.URL{Scheme: p.Protocol, Host: net.JoinHostPort(node, strconv.Itoa(p.listenPort()))}
	if p.Reverse() {
		u.Scheme, u.Path = "wss", "/"
		own := 443
		if p.Cleartext {
			u.Scheme, own = "ws", 80
		}
		if p.listenPort() == own {
			u.Host = node
		}
		return u.String()
	}
	if user != "" {
		u.User = url.UserPassword(user, p.Users[user])
	}
	return u.String()
}

func (p *Proxy) check(c *topology.NodeCheck) {
	if p.Reverse() && len(p.Users) > 0 {
		c.Problemf("proxy.users", "", "users are not for a proxy of protocol reverse")
	}
	if !p.Reverse() {
		for _, key := range []string{"cleartext", "upstream"} {
			if c.InFile("proxy." + key) {
				c.Problemf("proxy."+key, "", "%s is not for a proxy of protocol %s", key, p.Protocol)
			}
		}
		return
	}
	if p.Upstream == "" {
		return
	}
	var others []string
	for _, n := range c.Lab.Nodes {
		if n.Name != c.Node.Name {
			others = append(others, n.Name)
		}
	}
	switch {
	case !slices.Contains(others, p.Upstream):
		c.Problemf("proxy.upstream", c.Suggest(p.Upstream, others), "there is no other node %q", p.Upstream)
	case !c.Reaches(c.Node.Name, p.Upstream):
		c.Problemf("proxy.upstream", "put both on one network, or a node that routes between them", "%s has no way to %s", c.Node.Name, p.Upstream)
	}
}
