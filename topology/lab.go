// Package topology is the lab file: its types, strict loading with positions,
// validation, and the plan (addresses, routes, one spec for each node) that an
// engine carries out.
//
// The package knows no kind of node, no toxic and no strategy by name. They are
// handed to it in a [Registry] when a file is loaded.
package topology

import (
	"net/netip"
)

// Lab is a lab file that was read and checked. Networks, Nodes and Toxics keep
// the order of the file.
type Lab struct {
	// Name of the lab, unique among the embedded labs: letters, digits and hyphens.
	Name string
	// Summary says in one sentence what the lab shows.
	Summary string
	// Networks of the lab. Each becomes a network of the engine.
	Networks []Network
	// Nodes of the lab. Each becomes a machine of the engine.
	Nodes []Node
	// Toxics that are there from the start.
	Toxics []Toxic
	// Strategies that the lab defines beside the built-in ones, by name; each
	// value is what [Registry.NewStrategy] returned, filled in.
	Strategies map[string]any

	doc *Document
}

// Network is one network of a lab.
type Network struct {
	Name   string
	Prefix netip.Prefix
	// Conditions of the network, each way between any two of its nodes: what
	// [Registry.NewConditions] returned, filled in; nil for none.
	Conditions any
}

// Node is one machine of a lab.
type Node struct {
	Name string
	Kind *Kind
	// On lists the networks that the node is on. For a node that routes one
	// way only (a NAT) the last one is the outside.
	On []Attachment
	// Settings is what [Kind.Settings] returned, filled in from the preset and the file.
	Settings any
	// Preset that the node is, nil for none, and the keys of its settings that
	// the file has not overridden.
	Preset     *Preset
	FromPreset []string
}

// Attachment is a node's place on a network.
type Attachment struct {
	Network string
	// Addr is the address that the file asks for; the zero Addr means that the
	// plan chooses one.
	Addr netip.Addr
	// Conditions of the place, for what arrives there and for what leaves it, beside
	// those of the network: as [Network.Conditions].
	Conditions any
}

// Toxic is a fault on the streams that a node carries.
type Toxic struct {
	// At names the node.
	At string
	ToxicSpec
}

// Registry is what a lab file may name. It is put together once, in cmd/wslab,
// from the explicit lists of kinds, toxics, strategies and presets.
type Registry struct {
	Kinds  []*Kind
	Toxics []*ToxicType
	// Presets may be of any of the kinds.
	Presets []*Preset
	// Strategies are the names of the built-in strategies.
	Strategies []string
	// NewStrategy returns a pointer to a zero strategy, which a `strategies:`
	// entry of a lab or a scenario is read into.
	NewStrategy func() any
	// NewConditions returns a pointer to conditions of a link that change nothing, which
	// those of a network or of a node's place on it are read into. nil where there are none.
	NewConditions func() any
	// Profiles of conditions.
	Profiles []*Profile
}

// Kind is a kind of node, as far as the lab file and the plan are concerned.
// What it does at run time is internal/node's business.
type Kind struct {
	// Name is what `kind:` says.
	Name string
	// Summary is one sentence for the schema, the documentation and --help.
	Summary string
	// Settings returns a pointer to a new settings struct with its defaults
	// set. Its tags are the only description of the keys; see [Key].
	Settings func() any
	// Routes says that the node forwards packets between its networks.
	Routes bool
	// OneWay says that a routing node hides the networks behind it: what is on
	// its last network has no route to what is on the others (a NAT).
	OneWay bool
	// Carries says that streams pass through the node, so that toxics can be put at it.
	Carries bool
	// Moves says that the address of a node can change while it runs (a laptop that
	// leaves the office, a line that is given another address): the plan keeps one free
	// for it, for a one-way router on its outside network, for any other node on each.
	Moves bool
	// Target says that clients connect to nodes of this kind (a server).
	Target bool
	// Opaque says that nodes of the kind are whatever their program is: they may be
	// clients, but none that scenarios can speak through.
	Opaque bool
	// MinNetworks is the least number of networks a node of this kind is on; 0 means 1.
	MinNetworks int
	// Check reports what is wrong with a node beyond its single keys, and may
	// complete the settings from the other nodes of the lab. May be nil.
	Check func(*NodeCheck)
	// Needs says what the node's machine has to be given. May be nil.
	Needs func(settings any) Needs
}

// Passage is implemented by the settings of a node that clients can be sent
// through (a proxy).
type Passage interface {
	// PassageUsers returns the user names that the proxy knows; empty when it
	// asks for none.
	PassageUsers() []string
}

// passable is implemented by the settings of a node of which only its settings say
// whether clients can be sent through it.
type passable interface {
	// Passage returns nil when they cannot.
	Passage() Passage
}

// Passage returns what clients have to know to be sent through the node; ok is
// false where they cannot.
func (n *Node) Passage() (p Passage, ok bool) {
	if may, is := n.Settings.(passable); is {
		p = may.Passage()
		return p, p != nil
	}
	p, ok = n.Settings.(Passage)
	return p, ok
}

// Needs is what a node asks of its engine. Engines give it without knowing why.
type Needs struct {
	// Capabilities of Linux, such as "NET_ADMIN".
	Capabilities []string `json:"capabilities,omitempty"`
	// Sysctls of the node's network namespace, such as "net.ipv4.ip_forward": "1".
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Networks asks for the ranges of the lab's networks.
	Networks bool `json:"networks,omitempty"`
	// Strategies asks for the strategies that the lab defines.
	Strategies bool `json:"strategies,omitempty"`
	// OnwardPorts asks for source ports that are the node's own; see [NodeSpec].
	OnwardPorts bool `json:"onward_ports,omitempty"`
	// CA asks for the key of the lab's certificate authority, to issue certificates with.
	CA bool `json:"ca,omitempty"`
	// Processes says that the node starts programs: it has to be the first process
	// of a PID namespace of its own, so that they end with it, whatever they do.
	Processes bool `json:"processes,omitempty"`
	// Program of the host that the node runs, a name in PATH or an absolute path.
	Program string `json:"program,omitempty"`
	// Image is the container image that the node's machine is made of. With a
	// Program beside it the engine takes the one that it can give.
	Image string `json:"image,omitempty"`
}

// ToxicType is a type of toxic, as far as the lab file is concerned.
type ToxicType struct {
	// Name is what `type:` says.
	Name string
	// Summary is one sentence for the schema, the documentation and --help.
	Summary string
	// Attributes returns a pointer to a new attributes struct with its
	// defaults, described by its tags as a [Kind]'s settings are.
	Attributes func() any
}

// Kind returns the kind of that name.
func (r *Registry) Kind(name string) (*Kind, bool) {
	for _, k := range r.Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return nil, false
}

// Preset returns the preset of that name.
func (r *Registry) Preset(name string) (*Preset, bool) {
	for _, p := range r.Presets {
		if p.Name == name {
			return p, true
		}
	}
	return nil, false
}

// presetsOf returns the names of the presets of a kind, in their order.
func (r *Registry) presetsOf(kind string) []string {
	var names []string
	for _, p := range r.Presets {
		if p.Kind == kind {
			names = append(names, p.Name)
		}
	}
	return names
}

// ToxicType returns the type of toxic of that name.
func (r *Registry) ToxicType(name string) (*ToxicType, bool) {
	for _, t := range r.Toxics {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}

// Node returns the node of that name.
func (l *Lab) Node(name string) (*Node, bool) {
	for i := range l.Nodes {
		if l.Nodes[i].Name == name {
			return &l.Nodes[i], true
		}
	}
	return nil, false
}
