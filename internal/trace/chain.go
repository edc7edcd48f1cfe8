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
	// Unseen says that no node recorded the step: it is known from what came before
	// it and what came after. Node is then the machine that both of them have an end
	// at, or empty.
	Unseen bool
	// Flow that came in, Next that went out.
	Flow, Next Flow
}

// Chain follows a client's [Open] event to the server by matching flows: what a
// node sent on ([Relayed], [MappingCreated]) is what the next one saw. Ports are
// used again in a long run, so of several events with the same flow the last one
// up to the opening counts.
//
// A program that wslab does not know, such as somebody's own proxy, records nothing.
// Where the way is lost there, it is followed from its other end: from the
// [Accepted] event of the session, back to where it came from.
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
		return c
	}
	return t.fromServer(c, open, used)
}

// fromServer completes a chain that was lost on its way from the client.
func (t *Trace) fromServer(c Chain, open Event, used map[int]bool) Chain {
	if open.Session == "" {
		return c
	}
	// What the session's connection before this one left is not meant.
	var before time.Time
	if i := t.nearest(open.Time, func(_ int, e Event) bool {
		return e.Type == Open && e.Session == open.Session && e.Conn == open.Conn-1
	}); i >= 0 {
		before = t.Events[i].Time
	}
	i := t.nearest(open.Time, func(_ int, e Event) bool {
		return e.Type == Accepted && e.Session == open.Session && e.Flow != nil && e.Time.After(before)
	})
	if i < 0 {
		return c
	}
	accepted := t.Events[i]
	rest := Chain{Flows: []Flow{*accepted.Flow}, Server: accepted.Node}
	for {
		current := rest.Flows[0]
		i := t.nearest(open.Time, func(i int, e Event) bool {
			return !used[i] && e.Next != nil && *e.Next == current && e.Flow != nil &&
				(e.Type == Relayed || e.Type == MappingCreated)
		})
		if i < 0 {
			break
		}
		used[i] = true
		e := t.Events[i]
		rest.Hops = slices.Insert(rest.Hops, 0, Hop{Node: e.Node, Relay: e.Type == Relayed, Flow: *e.Flow, Next: current})
		rest.Flows = slices.Insert(rest.Flows, 0, *e.Flow)
	}
	lost, found := c.Flows[len(c.Flows)-1], rest.Flows[0]
	gap := Hop{Relay: true, Unseen: true, Flow: lost, Next: found}
	if machine := t.Machines[lost.Dst.Addr()]; machine == t.Machines[found.Src.Addr()] {
		gap.Node = machine
	}
	return Chain{
		Flows:  slices.Concat(c.Flows, rest.Flows),
		Hops:   slices.Concat(c.Hops, []Hop{gap}, rest.Hops),
		Server: rest.Server,
	}
}

// Origin returns the flow that a connection began with that a server has accepted: it follows the
// way back, as [Trace.Chain] follows it from the client.
func (t *Trace) Origin(accepted Event) Flow {
	if accepted.Flow == nil {
		return Flow{}
	}
	origin := *accepted.Flow
	used := make(map[int]bool)
	for {
		i := t.nearest(accepted.Time, func(i int, e Event) bool {
			return !used[i] && e.Next != nil && *e.Next == origin && e.Flow != nil && (e.Type == Relayed || e.Type == MappingCreated)
		})
		if i < 0 {
			return origin
		}
		used[i] = true
		origin = *t.Events[i].Flow
	}
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
			return h.Node, h.Node != ""
		}
	}
	return "", false
}

// Passes says whether the node is known to be on the way: it changed the flow, or
// it is the server.
func (c Chain) Passes(node string) bool {
	if node != "" && node == c.Server {
		return true
	}
	return node != "" && slices.ContainsFunc(c.Hops, func(h Hop) bool { return h.Node == node })
}
