package trace

import (
	"slices"
	"time"
)

// Chain is the way of one connection from a client to the server: the TCP
// connections it is made of, and where one turns into the next.
type Chain struct {
	// Flows in the order of the way: the client's own first, the one that the
	// server sees last.
	Flows []Flow
	// Hops are the nodes that changed the flow: Hops[i] turned Flows[i] into Flows[i+1].
	Hops []Hop
	// Server that accepted the connection; empty when no event says so.
	Server string
}

// Hop is a node that turned one flow into another.
type Hop struct {
	Node string
	// Relay says that the node ends TCP and opened a connection of its own; else
	// it translates addresses.
	Relay bool
	// Flow that came in, Next that went out.
	Flow, Next Flow
}

// Chain follows a client's [Open] event to the server by matching flows: what a
// node sent on ([Relayed], [MappingCreated]) is what the next one saw. Ports are
// used again in a long run, so of several events with the same flow the last one
// up to the opening counts.
func (t *Trace) Chain(open Event) Chain {
	if open.Flow == nil {
		return Chain{}
	}
	c := Chain{Flows: []Flow{*open.Flow}}
	used := make(map[int]bool)
	for {
		current := c.Flows[len(c.Flows)-1]
		i := t.nearest(open.Time, func(i int, e Event) bool {
			return !used[i] && e.Flow != nil && *e.Flow == current && e.Next != nil &&
				(e.Type == Relayed || e.Type == MappingCreated)
		})
		if i < 0 {
			break
		}
		used[i] = true
		e := t.Events[i]
		c.Hops = append(c.Hops, Hop{Node: e.Node, Relay: e.Type == Relayed, Flow: current, Next: *e.Next})
		c.Flows = append(c.Flows, *e.Next)
	}
	last := c.Flows[len(c.Flows)-1]
	i := t.nearest(open.Time, func(_ int, e Event) bool {
		return e.Type == Accepted && e.Flow != nil && *e.Flow == last &&
			(e.Session == "" || open.Session == "" || e.Session == open.Session)
	})
	if i >= 0 {
		c.Server = t.Events[i].Node
	}
	return c
}

// nearest returns the index of the last event up to a time that matches, else of
// the first one after it, else -1.
func (t *Trace) nearest(when time.Time, match func(int, Event) bool) int {
	found := -1
	for i, e := range t.Events {
		if e.Time.After(when) && found >= 0 {
			break
		}
		if match(i, e) {
			found = i
			if e.Time.After(when) {
				break
			}
		}
	}
	return found
}

// Has matches the events of nodes about one of the chain's flows, seen from
// either end.
func (c Chain) Has(e Event) bool {
	return e.Flow != nil && c.has(*e.Flow) || e.Next != nil && c.has(*e.Next)
}

func (c Chain) has(f Flow) bool {
	return slices.Contains(c.Flows, f) || slices.Contains(c.Flows, f.Reverse())
}

// Relay returns the first node on the way that ends the client's TCP connection.
func (c Chain) Relay() (node string, ok bool) {
	for _, h := range c.Hops {
		if h.Relay {
			return h.Node, true
		}
	}
	return "", false
}

// Passes says whether the node is known to be on the way: it changed the flow, or
// it is the server.
func (c Chain) Passes(node string) bool {
	if node == c.Server && node != "" {
		return true
	}
	return slices.ContainsFunc(c.Hops, func(h Hop) bool { return h.Node == node })
}
