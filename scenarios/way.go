package scenarios

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// visit is a node that a connection passes, or ends at, on a network.
type visit struct{ node, network string }

// way returns which nodes packets from a node to an address pass on which networks, by the
// routes of the lab.
func (f facts) way(from string, to netip.Addr) []visit {
	var all []visit
	for range f.nodes { // no way is longer
		i := slices.IndexFunc(f.nodes, func(n topology.NodeSpec) bool { return n.Name == from })
		if i < 0 {
			break
		}
		via, network := next(&f.nodes[i], to)
		if network == "" {
			break
		}
		from = f.places[via]
		all = append(all, visit{f.nodes[i].Name, network}, visit{from, network})
		if via == to {
			break
		}
	}
	return all
}

// next is where a node sends packets to an address, over which of its networks; "" is nowhere.
func next(n *topology.NodeSpec, to netip.Addr) (via netip.Addr, network string) {
	beside := func(a netip.Addr) string {
		for _, i := range n.Interfaces {
			if i.Addr.Addr() != a && i.Addr.Masked().Contains(a) {
				return i.Network
			}
		}
		return ""
	}
	if network := beside(to); network != "" {
		return to, network
	}
	for _, r := range n.Routes {
		if r.Dst.Contains(to) {
			return r.Via, beside(r.Via)
		}
	}
	return netip.Addr{}, ""
}

// visits are those of all of a connection's way.
func (st *story) visits(c *connection) []visit {
	if len(c.chain.Flows) == 0 {
		return nil
	}
	all := st.way(st.client, c.chain.Flows[0].Dst.Addr())
	for _, h := range c.chain.Hops {
		if h.Relay || h.Next.Dst != h.Flow.Dst {
			all = append(all, st.way(h.Node, h.Next.Dst.Addr())...)
		}
	}
	return all
}

// passed are the machines that the connections of the sessions pass, in the order of the
// way; every node of the lab where there was none.
func (f facts) passed(sessions []session) []Machine {
	var names []string
	for _, s := range sessions {
		st := tell(f, s)
		if len(st.conns) == 0 {
			continue
		}
		for _, v := range st.visits(st.conns[0]) {
			if v.node != "" && !slices.Contains(names, v.node) {
				names = append(names, v.node)
			}
		}
		break
	}
	var all []Machine
	for _, name := range names {
		i := slices.IndexFunc(f.nodes, func(n topology.NodeSpec) bool { return n.Name == name })
		if i >= 0 {
			all = append(all, Machine{name, f.nodes[i].Kind})
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, n := range f.nodes {
		all = append(all, Machine{n.Name, n.Kind})
	}
	return all
}

// linkEvents are the changes of the conditions of links on a connection's way.
func (st *story) linkEvents(c *connection) []trace.Event {
	visits := st.visits(c)
	return slices.Collect(st.t.All(trace.OfType(trace.LinkChanged), func(e trace.Event) bool {
		return slices.Contains(visits, visit{e.Node, e.Network})
	}))
}

// linkUntil is when the conditions that an event tells of were others.
func (st *story) linkUntil(changed trace.Event) time.Time {
	for e := range st.t.All(trace.OfType(trace.LinkChanged), trace.OfNode(changed.Node)) {
		if e.Network == changed.Network && e.By == changed.By && e.Time.After(changed.Time) && e.Detail != changed.Detail {
			return e.Time
		}
	}
	return st.t.End
}
