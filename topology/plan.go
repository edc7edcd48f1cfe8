package topology

import (
	"encoding/json"
	"net/netip"
	"time"
)

// Plan is a lab worked out: every address, every route, and one spec for each
// node. It is all that an engine needs, and all that it gets.
type Plan struct {
	// Lab is the name of the instance: the lab's name, or what --name says.
	Lab string `json:"lab"`
	// File is where the lab was read from, or "embedded:NAME".
	File string `json:"file"`
	// Speed divides every duration; 1 is real time.
	Speed float64 `json:"speed"`
	// Networks in the order of the file.
	Networks []PlannedNetwork `json:"networks"`
	// Nodes in the order of the file.
	Nodes []NodeSpec `json:"nodes"`
	// Notes are what the user should be told about the plan, such as a range
	// that was moved because it was taken.
	Notes []string `json:"notes,omitempty"`
}

// PlannedNetwork is a network with its final range.
type PlannedNetwork struct {
	Name   string       `json:"name"`
	Prefix netip.Prefix `json:"prefix"`
	// Asked is the range in the lab file, Prefix differs from it where it was taken.
	Asked netip.Prefix `json:"asked"`
	// Reserved is an address of the range that no node has, for an engine that
	// cannot do without one (Docker's gateway).
	Reserved netip.Addr `json:"reserved"`
}

// NodeSpec is everything that `wslab node` is told.
type NodeSpec struct {
	Lab   string  `json:"lab"`
	Name  string  `json:"name"`
	Kind  string  `json:"kind"`
	Speed float64 `json:"speed"`
	// Source is the name of the lab in its file, whatever the instance is called.
	Source string `json:"source"`
	// File is where the lab was read from, or "embedded:NAME".
	File string `json:"file"`
	// Interfaces in the order of `on`. For a one-way router the last is the outside.
	Interfaces []Interface `json:"interfaces"`
	// Networks of the lab with their ranges; only nodes of a kind that asks for them have them.
	Networks []PlannedNetwork `json:"networks,omitempty"`
	// Routes to the networks that the node is not on.
	Routes []Route `json:"routes,omitempty"`
	// Hosts are the names of the lab as this node should resolve them.
	Hosts map[string]netip.Addr `json:"hosts,omitempty"`
	// Settings of the kind, as JSON of the struct that [Kind.Settings] returns.
	Settings json.RawMessage `json:"settings"`
	// Preset that the settings are from, nil for none.
	Preset *PresetUse `json:"preset,omitempty"`
	// Toxics at this node from the start, in lab time.
	Toxics []ToxicSpec `json:"toxics,omitempty"`
	// Links are the conditions that the node carries out at its interfaces from the start.
	Links []LinkSpec `json:"links,omitempty"`
	// Strategies that the lab defines, as JSON of what [Registry.NewStrategy]
	// returns; only nodes of a kind that asks for them have them.
	Strategies map[string]json.RawMessage `json:"strategies,omitempty"`
	// OnwardPorts are the source ports, both ends included, of connections that the node makes in the
	// name of a client; no other node uses them for that, of up to 16 that ask, so that such a connection is
	// nobody else's in the connection table of another node on its way. They are below those that clients'
	// kernels choose from (net.ipv4.ip_local_port_range, 32768 and up). Zero where Needs does not ask for them.
	OnwardPorts [2]uint16 `json:"onward_ports,omitzero"`
	// Needs is what the engine has to give the node.
	Needs Needs `json:"needs"`
	// CA is the lab's certificate authority; the key is there only where
	// Needs.CA asks for it. It is made by the caller of NewPlan, once for each
	// instance.
	CA *Authority `json:"ca,omitempty"`
}

// PresetUse says what of a node's settings is a preset's.
type PresetUse struct {
	Name string `json:"name"`
	// Keys that are from the preset: the file has not overridden them.
	Keys []string `json:"keys"`
}

// ToxicSpec is a toxic at a node, as it is sent to the node and shown to the user.
type ToxicSpec struct {
	// Name is unique at its node; the default is TYPE_STREAM, as in Toxiproxy.
	Name string `json:"name"`
	// Type is the name of a [ToxicType].
	Type string `json:"type"`
	// Stream is "upstream" (from the client towards the server) or "downstream".
	Stream string `json:"stream"`
	// Toxicity is the share of connections that the toxic acts on, 0 to 1.
	Toxicity float64 `json:"toxicity"`
	// Attributes as JSON of the struct that [ToxicType.Attributes] returns;
	// durations are lab time, not yet divided by the speed.
	Attributes json.RawMessage `json:"attributes"`
}

// Authority is a certificate authority made for one lab.
type Authority struct {
	CertPEM string `json:"cert"`
	KeyPEM  string `json:"key,omitempty"`
}

// Interface is a node's place on a network, with its final address.
type Interface struct {
	Network string       `json:"network"`
	Addr    netip.Prefix `json:"addr"`
	// Spare is an address of the same network that nobody has, for a node that can
	// change its own. The zero Addr where there is none, or none was left.
	Spare netip.Addr `json:"spare,omitzero"`
}

// Has says whether the interface has the address, at one time or another.
func (i Interface) Has(a netip.Addr) bool { return a.IsValid() && (a == i.Addr.Addr() || a == i.Spare) }

// Addrs are the addresses that the interface has at one time or another.
func (i Interface) Addrs() []netip.Addr {
	if !i.Spare.IsValid() {
		return []netip.Addr{i.Addr.Addr()}
	}
	return []netip.Addr{i.Addr.Addr(), i.Spare}
}

// Route is a route of a node.
type Route struct {
	Dst netip.Prefix `json:"dst"`
	Via netip.Addr   `json:"via"`
}

// Wall turns lab time into wall time: a duration of the lab divided by the speed.
func (s *NodeSpec) Wall(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.Speed)
}

// Node returns the spec of the node of that name.
func (p *Plan) Node(name string) (*NodeSpec, bool) {
	for i := range p.Nodes {
		if p.Nodes[i].Name == name {
			return &p.Nodes[i], true
		}
	}
	return nil, false
}
