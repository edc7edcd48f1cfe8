package topology

import (
	"net/netip"
	"strings"
)

// role is what the node is to a stream: its client, its target, or on its way.
func (n *Node) role() string {
	switch {
	case n.isClient():
		return "client"
	case n.Kind.Target:
		return "target"
	}
	return "way"
}

// ends says whether connections end at the node, which opens its own (a proxy).
func (n *Node) ends() bool {
	_, passed := n.Passage()
	return passed || n.Kind.Carries && !n.Kind.Routes
}

// what says what a node is to a reader: its kind, and its preset if it is one.
func (n *Node) what() string {
	if n.Preset != nil {
		return n.Kind.Name + ", " + n.Preset.Name
	}
	return n.Kind.Name
}

// toxicTexts are the toxics at a node from the start, as a reader names them.
func toxicTexts(l *Lab, node string) []string {
	var texts []string
	for _, t := range l.Toxics {
		if t.At == node {
			texts = append(texts, t.Type+" "+t.Stream)
		}
	}
	return texts
}

// edge is a node's place on a network.
type edge struct {
	node, network string
	nodeFirst     bool   // the node is nearer to the clients
	outside       bool   // the node hides its other networks from this one
	addr          string // what the node's address adds to the network's
}

func edges(l *Lab) []edge {
	depth := depths(l)
	addresses := usualAddresses(l)
	var all []edge
	for i := range l.Nodes {
		n := &l.Nodes[i]
		for k, a := range n.On {
			all = append(all, edge{
				node: n.Name, network: a.Network,
				nodeFirst: depth["node "+n.Name] < depth["net "+a.Network],
				outside:   n.Kind.OneWay && k == len(n.On)-1,
				addr:      addresses[placeKey{n.Name, a.Network}],
			})
		}
	}
	return all
}

// usualAddresses are the addresses that nodes have where no range is taken, each
// without the bytes that the whole network shares: ".5" in 10.20.0.0/24.
func usualAddresses(l *Lab) map[placeKey]string {
	p := &Plan{}
	for _, n := range l.Networks {
		p.Networks = append(p.Networks, PlannedNetwork{Name: n.Name, Prefix: n.Prefix, Asked: n.Prefix})
	}
	texts := make(map[placeKey]string)
	addresses, err := p.address(l)
	if err != nil {
		return texts // a picture without addresses is better than none
	}
	for place, addr := range addresses {
		texts[place] = hostPart(addr, p.network(place.network).Prefix)
	}
	return texts
}

func hostPart(addr netip.Addr, in netip.Prefix) string {
	bytes := strings.Split(addr.String(), ".")
	return "." + strings.Join(bytes[in.Bits()/8:], ".")
}

// depths says how far each node and network is from the clients, counted over
// nodes and networks alternately. What no client reaches comes first, too.
func depths(l *Lab) map[string]int {
	neighbours := make(map[string][]string)
	var all, front []string
	target := make(map[string]bool)
	for i := range l.Nodes {
		n := &l.Nodes[i]
		id := "node " + n.Name
		all = append(all, id)
		target[id] = n.Kind.Target
		for _, a := range n.On {
			net := "net " + a.Network
			neighbours[id] = append(neighbours[id], net)
			neighbours[net] = append(neighbours[net], id)
		}
		if n.isClient() {
			front = append(front, id)
		}
	}
	depth := make(map[string]int)
	visit := func(front []string) {
		for _, id := range front {
			depth[id] = 0
		}
		for len(front) > 0 {
			id := front[0]
			front = front[1:]
			for _, next := range neighbours[id] {
				if _, seen := depth[next]; !seen {
					depth[next] = depth[id] + 1
					front = append(front, next)
				}
			}
		}
	}
	visit(front)
	for _, id := range all {
		if _, seen := depth[id]; !seen {
			visit([]string{id})
		}
	}
	for _, n := range l.Networks {
		if _, seen := depth["net "+n.Name]; !seen {
			depth["net "+n.Name] = 1
		}
	}
	return depth
}
