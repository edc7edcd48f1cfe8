package topology

import "slices"

// routing answers which way packets go in a lab.
type routing struct {
	lab     *Lab
	routers map[string][]*Node // by network, in the order of the file
	// unsure says that the file does not tell where every node is: every node
	// is taken to reach every other.
	unsure bool
}

func newRouting(l *Lab) *routing {
	r := &routing{lab: l, routers: make(map[string][]*Node)}
	for i := range l.Nodes {
		n := &l.Nodes[i]
		if !n.Kind.Routes {
			continue
		}
		for _, a := range n.On {
			r.routers[a.Network] = append(r.routers[a.Network], n)
		}
	}
	return r
}

// hop is how a network is reached.
type hop struct {
	// gateway is the first router on the way and network the one it is met on;
	// the gateway is nil for the networks that the node is on itself.
	gateway *Node
	network string
	// hidden are the outside networks of the one-way routers on the way, in
	// order, and by is which: they put their own address in place of the sender's.
	hidden []string
	by     []string
}

// from returns every network that packets of a node get to, over the fewest
// routers; among equals the first in the file.
func (r *routing) from(n *Node) map[string]hop {
	reached := make(map[string]hop)
	var queue []string
	for _, a := range n.On {
		reached[a.Network] = hop{}
		queue = append(queue, a.Network)
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, router := range r.routers[at] {
			if router == n {
				continue
			}
			outside := router.On[len(router.On)-1].Network
			if router.Kind.OneWay && at == outside {
				continue // what is behind it is hidden
			}
			for _, a := range router.On {
				if _, seen := reached[a.Network]; seen {
					continue
				}
				h := reached[at]
				if h.gateway == nil {
					h.gateway, h.network = router, at
				}
				if router.Kind.OneWay && a.Network == outside {
					h.hidden = append(slices.Clone(h.hidden), outside)
					h.by = append(slices.Clone(h.by), router.Name)
				}
				reached[a.Network] = h
				queue = append(queue, a.Network)
			}
		}
	}
	return reached
}

// reaches says whether packets get from one node to another, and the answers back.
func (r *routing) reaches(from, to string) bool {
	if r.unsure {
		return true
	}
	a, okA := r.lab.Node(from)
	b, okB := r.lab.Node(to)
	if !okA || !okB {
		return false
	}
	reached := r.from(a)
	for _, at := range b.On {
		h, ok := reached[at.Network]
		if ok && r.answers(a, b, h) {
			return true
		}
	}
	return false
}

// answers says whether the answers of b to packets of a that took the way h get back.
func (r *routing) answers(a, b *Node, h hop) bool {
	// Back to front: b answers the outermost address, whose owner passes the
	// answer on to the next one inwards.
	sender := b
	for i := len(h.hidden) - 1; i >= 0; i-- {
		if _, ok := r.from(sender)[h.hidden[i]]; !ok {
			return false
		}
		sender, _ = r.lab.Node(h.by[i])
	}
	source := h.network
	if h.gateway == nil {
		return true // on the same network
	}
	_, ok := r.from(sender)[source]
	return ok
}
