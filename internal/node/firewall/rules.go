package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/wslab/wslab/topology"
)

// What a rule does with the packets that it matches.
const (
	// Accept lets packets through.
	Accept = "accept"
	// Drop takes packets away without a word.
	Drop = "drop"
	// Reject answers with a RST (TCP) or ICMP "administratively prohibited".
	Reject = "reject"
	// Reset answers a TCP segment with a RST.
	Reset = "reset"
	// ICMP answers with ICMP "communication administratively prohibited", also to TCP
	// (RFC 1812, section 5.2.7.1).
	ICMP = "icmp"
)

// Which packets a rule is about, as the firewall's last network, its outside, sees them.
const (
	Both     = "both"
	Outbound = "outbound"
	Inbound  = "inbound"
)

// Rule of a firewall, as a lab file has it. What is left out matches everything.
type Rule struct {
	Name      string     `json:"name,omitempty" doc:"What the rule is called in events and verdicts, beside its number."`
	From      []string   `json:"from,omitempty" doc:"Where packets come from: a network of the lab, a range such as 10.20.0.0/24, or an address."`
	To        []string   `json:"to,omitempty" doc:"Where packets go."`
	Direction string     `json:"direction,omitempty" doc:"outbound is towards the firewall's last network and what lies behind it, inbound is from there; without it both." enum:"both,outbound,inbound"`
	Proto     string     `json:"proto,omitempty" doc:"The protocol; without it every one." enum:"tcp,udp,icmp"`
	Port      []PortText `json:"port,omitempty" doc:"Destination ports: 443, 8000-8100, or a list."`
	FromPort  []PortText `json:"from_port,omitempty" doc:"Source ports. A stateless firewall knows answers by them."`
	Action    string     `json:"action" doc:"Lets packets through; drops them without a word; answers with a RST to TCP and an ICMP error to others (reject), with a RST (reset), or with an ICMP error whatever the protocol (icmp)." enum:"accept,drop,reject,reset,icmp" required:"true"`
}

// PortText is a port, or a range of ports: 443, 8000-8100.
type PortText string

// Schema lets a port be written as a number.
func (PortText) Schema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "integer", Minimum: "1", Maximum: "65535"},
		{Type: "string", Pattern: "^[0-9]+(-[0-9]+)?$"},
	}}
}

// rule is a rule that knows where the lab's networks are. Empty lists match everything.
type rule struct {
	// label names the rule in events: its number in the file, and its name.
	label    string
	from, to []netip.Prefix
	protocol string
	fromPort []ports
	port     []ports
	action   string
}

// ports is a range of ports, both ends included.
type ports struct{ first, last uint16 }

// combinations bounds how many rules of the kernel one rule may become.
const combinations = 1024

// size is how many rules of the kernel a rule becomes.
func (r rule) size() int {
	n := 1
	for _, l := range []int{len(r.from), len(r.to), len(r.fromPort), len(r.port)} {
		n *= max(1, l)
	}
	return n
}

// label is how events call rule i of a list.
func (r Rule) label(i int) string {
	if r.Name == "" {
		return fmt.Sprintf("rule %d", i+1)
	}
	return fmt.Sprintf("rule %d, %s", i+1, r.Name)
}

// verb says in an event what was done with a packet.
func verb(action string) string {
	return map[string]string{Drop: "dropped", Reject: "rejected", Reset: "reset", ICMP: "ICMP error"}[action]
}

// problem is what is wrong with a key of a rule.
type problem struct {
	key, hint, text string
}

// resolve works rule i of a list out. named gives the range of a name; nil sides leave
// directions out.
func (r Rule) resolve(i int, named func(string) (netip.Prefix, bool), s *sides) (rule, []problem) {
	out := rule{label: r.label(i), protocol: r.Proto, action: r.Action}
	var wrong []problem
	note := func(key, hint, format string, args ...any) {
		wrong = append(wrong, problem{key, hint, fmt.Sprintf(format, args...)})
	}
	places := func(key string, names []string) (all []netip.Prefix) {
		for n, name := range names {
			if p, ok := named(name); ok {
				all = append(all, p)
			} else {
				note(fmt.Sprintf("%s[%d]", key, n), "", "unknown network %q", name)
			}
		}
		return all
	}
	out.from, out.to = places("from", r.From), places("to", r.To)
	numbers := func(key string, texts []PortText) (all []ports) {
		if len(texts) > 0 && r.Proto != "tcp" && r.Proto != "udp" {
			note(key, "add proto: tcp or proto: udp", "only tcp and udp have ports")
			return nil
		}
		for n, text := range texts {
			p, err := parsePorts(string(text))
			if err != nil {
				note(fmt.Sprintf("%s[%d]", key, n), "such as 443, or 8000-8100", "%v", err)
				continue
			}
			all = append(all, p)
		}
		return all
	}
	out.fromPort, out.port = numbers("from_port", r.FromPort), numbers("port", r.Port)
	if r.Action == Reset && r.Proto != "tcp" {
		note("action", "add proto: tcp, or take reject", "only TCP knows a RST")
	}
	if len(wrong) == 0 && s != nil && r.Direction != "" && r.Direction != Both {
		from, to := s.inside, s.outside
		if r.Direction == Inbound {
			from, to = to, from
		}
		out.from, out.to = intersect(out.from, from), intersect(out.to, to)
		if len(out.from) == 0 || len(out.to) == 0 {
			note("direction", "", "%s goes %s: no packet is both", out.label, r.Direction)
		}
	}
	if n := out.size(); n > combinations {
		note("", "make several rules of it, or take larger ranges", "%s stands for %d combinations, %d are possible", out.label, n, combinations)
	}
	return out, wrong
}

// intersect returns what is in a range of both lists; an empty a stands for everything.
func intersect(a, b []netip.Prefix) []netip.Prefix {
	if len(a) == 0 {
		return b
	}
	var both []netip.Prefix
	for _, x := range a {
		for _, y := range b {
			switch {
			case !x.Overlaps(y):
			case x.Bits() >= y.Bits():
				both = append(both, x)
			default:
				both = append(both, y)
			}
		}
	}
	return both
}

// parsePorts reads "443" or "8000-8100".
func parsePorts(text string) (ports, error) {
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		to = from
	}
	first, err := parsePort(from)
	if err != nil {
		return ports{}, err
	}
	last, err := parsePort(to)
	if err != nil {
		return ports{}, err
	}
	if last < first {
		return ports{}, fmt.Errorf("%d comes before %d", last, first)
	}
	return ports{first, last}, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port from 1 to 65535", text)
	}
	return uint16(n), nil
}

// parsePlace reads a range or an address.
func parsePlace(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Is4() && p == p.Masked() {
		return p, true
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		return netip.PrefixFrom(a, 32), true
	}
	return netip.Prefix{}, false
}

// parseService reads an entry of `allow`: "tcp/443", "tcp/8000-8100", "udp/53" or "icmp".
func parseService(text string) (rule, error) {
	protocol, list, ranged := strings.Cut(text, "/")
	switch {
	case protocol == "icmp" && !ranged:
		return rule{protocol: protocol, action: Accept}, nil
	case protocol != "tcp" && protocol != "udp":
		return rule{}, fmt.Errorf("allow %q: the protocol is %q, not tcp, udp or icmp", text, protocol)
	case !ranged:
		return rule{}, fmt.Errorf("allow %q: which port?", text)
	}
	p, err := parsePorts(list)
	if err != nil {
		return rule{}, fmt.Errorf("allow %q: %w", text, err)
	}
	return rule{protocol: protocol, port: []ports{p}, action: Accept}, nil
}

// covers says whether a rule matches every packet that another one matches.
func (r rule) covers(o rule) bool {
	inPlaces := func(mine, others []netip.Prefix) bool {
		return len(mine) == 0 || len(others) > 0 && !slices.ContainsFunc(others, func(p netip.Prefix) bool {
			return !slices.ContainsFunc(mine, func(m netip.Prefix) bool { return m.Bits() <= p.Bits() && m.Contains(p.Addr()) })
		})
	}
	inPorts := func(mine, others []ports) bool {
		return len(mine) == 0 || len(others) > 0 && !slices.ContainsFunc(others, func(p ports) bool {
			return !slices.ContainsFunc(mine, func(m ports) bool { return m.first <= p.first && p.last <= m.last })
		})
	}
	return (r.protocol == "" || r.protocol == o.protocol) &&
		inPlaces(r.from, o.from) && inPlaces(r.to, o.to) && inPorts(r.fromPort, o.fromPort) && inPorts(r.port, o.port)
}

// rulesOf works the rules of a node's settings out, in order; what none of them
// matches is OnDeny's business.
func (s *Settings) rulesOf(spec *topology.NodeSpec) ([]rule, error) {
	var all []rule
	for _, text := range s.Allow {
		r, err := parseService(text)
		if err != nil {
			return nil, err
		}
		r.label = "allow " + text
		all = append(all, r)
	}
	for i, r := range s.Rules {
		out, wrong := r.resolve(i, rangeOf(spec.Networks), sidesOf(spec))
		if len(wrong) > 0 {
			return nil, fmt.Errorf("%s: %s", out.label, wrong[0].text)
		}
		all = append(all, out)
	}
	return all, nil
}

// rangeOf finds a network by its name, and reads ranges and addresses. Those inside of
// a network that was moved move with it.
func rangeOf(networks []topology.PlannedNetwork) func(string) (netip.Prefix, bool) {
	return func(name string) (netip.Prefix, bool) {
		for _, n := range networks {
			if n.Name == name {
				return n.Prefix, true
			}
		}
		p, ok := parsePlace(name)
		if !ok {
			return p, false
		}
		for _, n := range networks {
			if n.Asked != n.Prefix && n.Asked.Contains(p.Addr()) && n.Asked.Bits() <= p.Bits() {
				return moved(p, n.Asked, n.Prefix), true
			}
		}
		return p, true
	}
}

// moved returns the range at the same place of another range of the same size.
func moved(p, from, to netip.Prefix) netip.Prefix {
	at, old, base := p.Addr().As4(), from.Masked().Addr().As4(), to.Masked().Addr().As4()
	for i := range at {
		at[i] = at[i]&^old[i] | base[i]
	}
	return netip.PrefixFrom(netip.AddrFrom4(at), p.Bits())
}

// sides are the ranges on either side of a node.
type sides struct{ inside, outside []netip.Prefix }

// sidesOf tells them: the outside is a node's last network and what is routed over it.
func sidesOf(spec *topology.NodeSpec) *sides {
	var s sides
	for i, on := range spec.Interfaces {
		ranges := []netip.Prefix{on.Addr.Masked()}
		for _, r := range spec.Routes {
			if on.Addr.Contains(r.Via) {
				ranges = append(ranges, r.Dst)
			}
		}
		if i == len(spec.Interfaces)-1 {
			s.outside = ranges
		} else {
			s.inside = append(s.inside, ranges...)
		}
	}
	return &s
}
