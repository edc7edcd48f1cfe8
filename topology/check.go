package topology

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

var (
	prefixType = reflect.TypeFor[netip.Prefix]()
	addrType   = reflect.TypeFor[netip.Addr]()
)

// NodeCheck is what a kind's Check is given.
type NodeCheck struct {
	Lab  *Lab
	Node *Node

	routes *routing
}

// Problemf reports what is wrong with a key of the node ("via[0]"; "" for the
// node itself). hint may be empty.
func (c *NodeCheck) Problemf(key, hint, format string, args ...any) {
	path := "nodes." + c.Node.Name
	if key == "" {
		for _, p := range c.Lab.doc.find("nodes").Pairs() {
			if p.Key.Text() == c.Node.Name {
				p.Key.Problemf(hint, format, args...)
				return
			}
		}
	}
	c.Lab.doc.Problemf(path+"."+key, hint, format, args...)
}

// Suggest is [Suggest].
func (c *NodeCheck) Suggest(name string, candidates []string) string {
	return Suggest(name, candidates)
}

// Reaches says whether packets from one node get to another over the lab's
// routes, and the answers back.
func (c *NodeCheck) Reaches(from, to string) bool { return c.routes.reaches(from, to) }

// InFile says whether the file itself gives the key.
func (c *NodeCheck) InFile(key string) bool {
	return c.Lab.doc.Has("nodes." + c.Node.Name + "." + key)
}

// checkNodes checks what concerns several nodes.
func (l *loader) checkNodes(nodes *Value) {
	if len(l.lab.doc.problems) > 0 {
		// Kinds may rely on a lab whose parts are right; what they would say
		// about a broken one is mostly an echo.
		if len(l.lab.Nodes) != len(nodes.Pairs()) || slices.ContainsFunc(l.lab.Nodes, func(n Node) bool { return len(n.On) == 0 }) {
			return
		}
	}
	l.checkSizes()
	targets := 0
	for _, n := range l.lab.Nodes {
		if n.Kind.Target {
			targets++
		}
		if least := n.Kind.MinNetworks; len(n.On) < least && len(n.On) > 0 {
			l.doc.Problemf("nodes."+n.Name+".on", "", "a %s is on at least %d networks, %s is on %d", n.Kind.Name, least, n.Name, len(n.On))
		}
	}
	if targets == 0 {
		nodes.Problemf("add one, such as server: { kind: server, on: [...] }", "the lab has no server")
	}
	routes := newRouting(l.lab)
	for i := range l.lab.Nodes {
		if n := &l.lab.Nodes[i]; n.Kind.Check != nil {
			n.Kind.Check(&NodeCheck{Lab: l.lab, Node: n, routes: routes})
		}
	}
}

// checkSizes reports networks that are too small for their nodes.
func (l *loader) checkSizes() {
	for _, network := range l.lab.Networks {
		if !network.Prefix.IsValid() {
			continue
		}
		var on []string
		for _, n := range l.lab.Nodes {
			if slices.ContainsFunc(n.On, func(a Attachment) bool { return a.Network == network.Name }) {
				on = append(on, n.Name)
			}
		}
		// The network, its broadcast address and one reserved address are nobody's.
		if room := 1<<(32-network.Prefix.Bits()) - 3; len(on) > room {
			l.doc.Problemf("networks."+network.Name, "take a shorter prefix", "%s has room for %d nodes, %d are on it: %s",
				network.Prefix, room, len(on), strings.Join(on[:min(len(on), 8)], ", "))
		}
	}
}

// lastAddr is the broadcast address of an IPv4 network.
func lastAddr(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	host := uint32(1)<<(32-p.Bits()) - 1
	n := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	n |= host
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
