package client

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/wslab/wslab/topology"
)

// Direct is the name of the way that leads through no proxy.
const Direct = "direct"

// Settings of a client in a lab file.
type Settings struct {
	Via     []string `json:"via,omitempty" doc:"Ways to the server: direct, the name of a proxy, or USER@PROXY; one or a list. Without it, every way that there is."`
	URL     string   `json:"url,omitempty" doc:"Where the client connects to; without it wss:// and the name of the lab's first server."`
	Blocked bool     `json:"blocked,omitempty" doc:"Whether it is the point of the lab that this client does not get through: up then takes it as it is."`
	HeaderSettings
	// Paths are the ways worked out, in order; the check of the lab fills them in.
	Paths []Path `json:"paths,omitempty" yaml:"-"`
}

// Path is a way to the server.
type Path struct {
	// Name is Direct or the proxy's name.
	Name string `json:"name"`
	// URL to connect to; for a reverse proxy it is the proxy's.
	URL string `json:"url"`
	// Proxy is the URL of the forward proxy to go through, or empty.
	Proxy string `json:"proxy,omitempty"`
}

// passage is what a client has to know about a proxy. The settings of a proxy
// have these methods.
type passage interface {
	topology.Passage
	// Reverse says whether the proxy stands in for the server.
	Reverse() bool
	// URL is how the proxy is written down: with the user for a forward proxy,
	// what to connect to instead of the server for a reverse one.
	URL(node, user string) string
}

// passageOf returns what a client has to know to be sent through a node.
func passageOf(n *topology.Node) (passage, bool) {
	p, ok := n.Passage()
	if !ok {
		return nil, false
	}
	proxy, ok := p.(passage)
	return proxy, ok
}

// checker works out a client's ways to the server.
type checker struct {
	*topology.NodeCheck
	settings *Settings
	// url to connect to, and the node it leads to; target is "" for an address.
	url    *url.URL
	target string
}

// check reports what is wrong with a client's settings and fills in its paths.
func check(c *topology.NodeCheck) {
	k := &checker{NodeCheck: c, settings: c.Node.Settings.(*Settings)}
	checkHeaders(c, k.settings.HeaderSettings)
	if !k.findTarget() {
		return
	}
	if len(k.settings.Via) == 0 {
		k.everyWay()
		return
	}
	for i, via := range k.settings.Via {
		key := fmt.Sprintf("via[%d]", i)
		path, ok := k.way(key, via)
		if !ok {
			continue
		}
		if k.has(path.Name) {
			k.Problemf(key, "", "%s leads through %s a second time", via, path.Name)
			continue
		}
		k.settings.Paths = append(k.settings.Paths, path)
	}
}

func (k *checker) has(name string) bool {
	return slices.ContainsFunc(k.settings.Paths, func(p Path) bool { return p.Name == name })
}

// findTarget finds what the client connects to. It reports false if there is none,
// which is then somebody's problem already.
func (k *checker) findTarget() bool {
	if k.settings.URL == "" {
		for _, n := range k.Lab.Nodes {
			if n.Kind.Target {
				k.target = n.Name
				k.url = &url.URL{Scheme: "wss", Host: n.Name, Path: "/"}
				return true
			}
		}
		if i := slices.IndexFunc(k.Lab.Nodes, func(n topology.Node) bool { return n.Kind.Opaque }); i >= 0 {
			k.Problemf("", "such as url: ws://"+k.Lab.Nodes[i].Name+":8080/", "no node is a server: say what %s connects to", k.Node.Name)
		}
		return false // a lab without a server is reported as such
	}
	u, err := url.Parse(k.settings.URL)
	switch {
	case err != nil, u.Scheme != "ws" && u.Scheme != "wss", u.Hostname() == "", u.User != nil, u.Fragment != "":
		k.Problemf("url", "such as wss://server/ or ws://server:8080/chat", "%q is not the URL of a WebSocket server", k.settings.URL)
		return false
	}
	k.url = u
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return true
	}
	if name, ok := sideOf(k.Lab, u.Hostname()); ok {
		k.target = name
		return true
	}
	if _, ok := k.Lab.Node(u.Hostname()); !ok {
		k.Problemf("url", k.Suggest(u.Hostname(), k.names(func(topology.Node) bool { return true })), "there is no node %q", u.Hostname())
		return false
	}
	k.target = u.Hostname()
	return true
}

// sideOf reads NODE.NETWORK, the name that one address of a NAT has.
func sideOf(l *topology.Lab, host string) (node string, ok bool) {
	name, network, _ := strings.Cut(host, ".")
	n, ok := l.Node(name)
	return name, ok && n.Kind.OneWay && slices.ContainsFunc(n.On, func(a topology.Attachment) bool { return a.Network == network })
}

// names returns the names of the other nodes that are meant.
func (k *checker) names(meant func(topology.Node) bool) []string {
	var names []string
	for _, n := range k.Lab.Nodes {
		if n.Name != k.Node.Name && meant(n) {
			names = append(names, n.Name)
		}
	}
	return names
}

// reaches says whether a node gets to what the client connects to. Of an
// address nobody knows: it may be nobody's on purpose.
func (k *checker) reaches(from string) bool {
	return k.target == "" || k.Reaches(from, k.target)
}

// everyWay takes the direct way if there is one, and every proxy that leads to
// the server, in the order of the file.
func (k *checker) everyWay() {
	if k.reaches(k.Node.Name) {
		k.settings.Paths = append(k.settings.Paths, k.direct())
	}
	for _, name := range k.proxies() {
		if name != k.target && k.Reaches(k.Node.Name, name) && k.reaches(name) {
			k.settings.Paths = append(k.settings.Paths, k.through(name, ""))
		}
	}
	if len(k.settings.Paths) == 0 {
		k.Problemf("", "put it on a network with a router or a proxy that leads there", "%s has no way to %s", k.Node.Name, k.url.Hostname())
	}
}

// proxies are the nodes that clients can be sent through.
func (k *checker) proxies() []string {
	return k.names(func(n topology.Node) bool {
		_, ok := passageOf(&n)
		return ok
	})
}

// way works out one entry of `via`, and reports it if it does not lead anywhere.
func (k *checker) way(key, via string) (Path, bool) {
	user, name, asked := strings.Cut(via, "@")
	if !asked {
		user, name = "", via
	}
	if name == Direct && !asked {
		if !k.reaches(k.Node.Name) {
			k.Problemf(key, hintThrough(k.proxies()), "%s has no direct way to %s", k.Node.Name, k.url.Hostname())
			return Path{}, false
		}
		return k.direct(), true
	}
	n, ok := k.Lab.Node(name)
	if !ok {
		k.Problemf(key, k.Suggest(name, append(k.proxies(), Direct)), "there is no node %q", name)
		return Path{}, false
	}
	proxy, ok := passageOf(n)
	if !ok {
		k.Problemf(key, k.Suggest("", append(k.proxies(), Direct)), "%s is a %s: a client cannot be sent through it", name, n.Kind.Name)
		return Path{}, false
	}
	if asked && !k.knows(key, name, user, proxy) {
		return Path{}, false
	}
	if !k.Reaches(k.Node.Name, name) {
		k.Problemf(key, "put both on one network, or a node that routes between them", "%s has no way to %s", k.Node.Name, name)
		return Path{}, false
	}
	if !k.reaches(name) {
		k.Problemf(key, "put both on one network, or a node that routes between them", "%s has no way to %s", name, k.url.Hostname())
		return Path{}, false
	}
	return k.through(name, user), true
}

// hintThrough advises to take a proxy.
func hintThrough(proxies []string) string {
	if len(proxies) == 0 {
		return ""
	}
	return "there is: " + strings.Join(proxies, ", ")
}

// knows reports a user that the proxy does not know.
func (k *checker) knows(key, name, user string, proxy passage) bool {
	users := proxy.PassageUsers()
	switch {
	case len(users) == 0:
		k.Problemf(key, "write "+name, "%s asks for no user", name)
		return false
	case !slices.Contains(users, user):
		k.Problemf(key, k.Suggest(user, users), "%s knows no user %q", name, user)
		return false
	}
	return true
}

func (k *checker) direct() Path { return Path{Name: Direct, URL: k.url.String()} }

// through is the way through a proxy; user may be empty for the client's own name,
// or the first user that the proxy knows.
func (k *checker) through(name, user string) Path {
	n, _ := k.Lab.Node(name)
	proxy, _ := passageOf(n)
	if users := proxy.PassageUsers(); user == "" && len(users) > 0 {
		user = users[0]
		if slices.Contains(users, k.Node.Name) {
			user = k.Node.Name
		}
	}
	if !proxy.Reverse() {
		return Path{Name: name, URL: k.url.String(), Proxy: proxy.URL(name, user)}
	}
	instead, err := url.Parse(proxy.URL(name, ""))
	if err != nil {
		panic(err) // names of nodes are plain
	}
	instead.Path, instead.RawQuery = k.url.Path, k.url.RawQuery
	return Path{Name: name, URL: instead.String()}
}
