package topology

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
)

// profileKey is the key of conditions that names their profile.
const profileKey = "profile"

// profileDoc describes the key.
const profileDoc = "Conditions of a sort of link, by name; keys beside it hold in place of its own."

// Profile is conditions under a name: what some sort of link is like.
type Profile struct {
	// Name is what `profile:` says.
	Name string
	// Summary is one sentence for the schema and the documentation.
	Summary string
	// Sources of the figures.
	Sources []string
	// New returns a pointer to the conditions, of the type that
	// [Registry.NewConditions] returns. The caller owns them.
	New func() any
}

// Link names conditions and what has them: a network, or a node's place on it.
type Link struct {
	Network string `json:"network"`
	// Node whose place on the network is meant; "" is the whole network.
	Node string `json:"node,omitempty"`
	// Conditions as JSON of what [Registry.NewConditions] returns, in lab time; without
	// them the link has none.
	Conditions json.RawMessage `json:"conditions,omitempty"`
}

// LinkSpec is conditions as one node is told of them. Packets are held where they arrive,
// so each node carries out those of its networks, those of its own places, and those that
// other nodes' places have for what these nodes send to it.
type LinkSpec struct {
	Link
	// From is the hardware address of the node that sends the packets meant, where
	// they are only those of one; "" is everything that arrives at this node.
	From string `json:"from,omitempty"`
}

// HardwareAddr is that of the interface. It follows from the address, as Docker has it, so
// that neighbours of a node know it beforehand, and find the node again when it is replaced.
func (i Interface) HardwareAddr() net.HardwareAddr {
	ip := i.Addr.Addr().As4()
	return net.HardwareAddr{0x02, 0x42, ip[0], ip[1], ip[2], ip[3]}
}

// Spread returns what each node has to be told for a link to have its conditions, by
// node. It is empty where there is no such network, or the node is not on it.
func (p *Plan) Spread(l Link) map[string]LinkSpec {
	on := make(map[string]Interface)
	for _, n := range p.Nodes {
		for _, i := range n.Interfaces {
			if i.Network == l.Network {
				on[n.Name] = i
			}
		}
	}
	sender, placed := on[l.Node]
	if l.Node != "" && !placed {
		return nil
	}
	told := make(map[string]LinkSpec, len(on))
	for name := range on {
		spec := LinkSpec{Link: l}
		if l.Node != "" && name != l.Node {
			spec.From = sender.HardwareAddr().String()
		}
		told[name] = spec
	}
	return told
}

// link gives the nodes the conditions that the lab file has.
func (p *Plan) link(l *Lab) error {
	add := func(network, node string, conditions any) error {
		if conditions == nil {
			return nil
		}
		raw, err := json.Marshal(conditions)
		if err != nil {
			return fmt.Errorf("conditions of network %s: %w", network, err)
		}
		told := p.Spread(Link{network, node, raw})
		for i := range p.Nodes {
			if spec, ok := told[p.Nodes[i].Name]; ok {
				p.Nodes[i].Links = append(p.Nodes[i].Links, spec)
			}
		}
		return nil
	}
	for _, n := range l.Networks {
		if err := add(n.Name, "", n.Conditions); err != nil {
			return err
		}
	}
	for _, n := range l.Nodes {
		for _, a := range n.On {
			if err := add(a.Network, n.Name, a.Conditions); err != nil {
				return err
			}
		}
	}
	return nil
}

// Profile returns the profile of that name.
func (r *Registry) Profile(name string) (*Profile, bool) {
	for _, p := range r.Profiles {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}

// profileNames in their order.
func (r *Registry) profileNames() []string {
	var names []string
	for _, p := range r.Profiles {
		names = append(names, p.Name)
	}
	return names
}

// DecodeConditions reads the conditions that a map holds beside the keys of others, over
// those of the profile that its key profile names. It returns a pointer as
// [Registry.NewConditions] does, nil where the map has no such key. ok is false when
// problems were reported on the value.
func DecodeConditions(reg *Registry, v *Value, others ...string) (conditions any, ok bool) {
	before := len(v.doc.problems)
	rest := v.Without(others...)
	if reg.NewConditions == nil || len(rest.Pairs()) == 0 {
		for _, p := range rest.Pairs() {
			p.Key.Problemf(Suggest(p.Key.Text(), others), "unknown key %q", p.Key.Text())
		}
		return nil, len(v.doc.problems) == before
	}
	conditions = reg.NewConditions()
	if name := rest.Get(profileKey); name != nil && !name.broken && name.want(ScalarValue, "the name of a profile") {
		if p, known := reg.Profile(name.Text()); known {
			conditions = p.New()
		} else {
			name.Problemf(Suggest(name.Text(), reg.profileNames()), "there is no profile %q", name.Text())
		}
	}
	rest = rest.Without(profileKey)
	known := keyNames(Keys(conditions))
	for _, p := range rest.Pairs() {
		if !slices.Contains(known, p.Key.Text()) {
			p.Key.Problemf(Suggest(p.Key.Text(), slices.Concat(others, []string{profileKey}, known)), "unknown key %q", p.Key.Text())
			rest = rest.Without(p.Key.Text())
		}
	}
	rest.Decode(conditions)
	if c, checks := conditions.(interface{ Check() error }); checks && len(v.doc.problems) == before {
		if err := c.Check(); err != nil {
			v.Problemf("", "%s", err)
		}
	}
	return conditions, len(v.doc.problems) == before
}

// ParseConditions reads conditions from KEY=VALUE words, as a command line has them.
// Problems are shown with the words as the source.
func ParseConditions(reg *Registry, words []string) (any, error) {
	var src []string
	for _, w := range words {
		key, value, found := strings.Cut(w, "=")
		if !found {
			value = "true" // `down` alone
		}
		src = append(src, quoted(key)+": "+quoted(value))
	}
	doc, err := ParseDocument("conditions", []byte(strings.Join(src, "\n")))
	if err != nil {
		return nil, err
	}
	conditions, _ := DecodeConditions(reg, doc.Root())
	return conditions, doc.Err()
}
