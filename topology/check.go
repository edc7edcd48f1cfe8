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
	if hint == "" && c.Node.fromPreset(key) {
		hint = key + " is from preset " + c.Node.Preset.Name
	}
	if key == "" {
		c.Lab.doc.find("nodes."+c.Node.Name).label().Problemf(hint, format, args...)
		return
	}
	c.Lab.doc.Problemf("nodes."+c.Node.Name+"."+key, hint, format, args...)
}

// Suggest is [Suggest].
func (c *NodeCheck) Suggest(name string, candidates []string) string {
	return Suggest(name, candidates)
}

// Reaches says whether packets from one node get to another over the lab's
// routes, and the answers back. Where the file does not tell the place of every
// node, which is a problem already, everything reaches everything.
func (c *NodeCheck) Reaches(from, to string) bool { return c.routes.reaches(from, to) }

// InFile says whether the file itself gives the key: what a preset gives is not in it.
func (c *NodeCheck) InFile(key string) bool {
	return c.Lab.doc.Has("nodes." + c.Node.Name + "." + key)
}

// checkNodes checks what concerns several nodes.
func (l *loader) checkNodes(nodes *Value) {
	whole := len(l.torn) == 0
	if whole {
		l.checkSizes()
		l.checkRoles(nodes)
	}
	for _, n := range l.lab.Nodes {
		if least := n.Kind.MinNetworks; len(n.On) < least && !l.torn[n.Name] {
			l.doc.Problemf("nodes."+n.Name+".on", "", "a %s is on at least %d networks, %s is on %d", n.Kind.Name, least, n.Name, len(n.On))
		}
	}
	// Kinds may rely on the nodes that the file names: what they would say
	// about a lab that lacks some is an echo of it.
	if len(l.lab.Nodes) != len(nodes.Pairs()) {
		return
	}
	routes := newRouting(l.lab)
	routes.unsure = !whole
	for i := range l.lab.Nodes {
		if n := &l.lab.Nodes[i]; n.Kind.Check != nil {
			n.Kind.Check(&NodeCheck{Lab: l.lab, Node: n, routes: routes})
		}
	}
}

// checkRoles reports a lab without a client or without a server. Clients are the
// nodes that do nothing for others.
func (l *loader) checkRoles(nodes *Value) {
	if len(l.lab.Nodes) == 0 {
		return // said already
	}
	for _, role := range []struct {
		name string
		has  func(*Node) bool
	}{
		{"client", (*Node).isClient},
		// Somebody else's program may be one: nobody knows what it does.
		{"server", func(n *Node) bool { return n.Kind.Target || n.Kind.Opaque }},
	} {
		if slices.ContainsFunc(l.lab.Nodes, func(n Node) bool { return role.has(&n) }) {
			continue
		}
		hint := ""
		if i := slices.IndexFunc(l.reg.Kinds, func(k *Kind) bool { return !k.Opaque && role.has(&Node{Kind: k}) }); i >= 0 {
			hint = "add one: NAME: { kind: " + l.reg.Kinds[i].Name + ", on: [NETWORK] }"
		}
		nodes.label().Problemf(hint, "the lab has no %s", role.name)
	}
}

// isClient says whether the node does nothing for others.
func (n *Node) isClient() bool {
	_, passed := n.Passage()
	return !passed && !n.Kind.Routes && !n.Kind.Carries && !n.Kind.Target
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
