package scenarios

import (
	"context"
	"slices"
	"time"

	"github.com/wslab/wslab/topology"
)

// AddressChange gives a node another address: a NAT outside, as a line does that is
// connected anew, a client as a laptop that leaves the office Wi-Fi. It has its own
// again after the play.
type AddressChange struct {
	At      string `json:"at" doc:"The node: a NAT or a client." required:"true"`
	Network string `json:"network" doc:"On which of its networks; without it, a NAT's outside, a client's first."`
}

// String returns the step as in a file.
func (s *AddressChange) String() string {
	if s.Network != "" {
		return "address-change: " + s.At + " on " + s.Network
	}
	return "address-change: " + s.At
}

func (s *AddressChange) takes() time.Duration { return 0 }
func (s *AddressChange) node() string         { return s.At }
func (s *AddressChange) short() any           { return &s.At }

func (s *AddressChange) check(c *stepCheck) {
	c.place("at", s.At, "is found by its address: nobody would find it again", func(k *topology.Kind) bool { return k.Moves })
	n, ok := c.lab.Node(s.At)
	if !ok || s.Network == "" {
		return
	}
	var networks []string
	for i, a := range n.On {
		if !n.Kind.OneWay || i == len(n.On)-1 {
			networks = append(networks, a.Network)
		}
	}
	if !slices.Contains(networks, s.Network) {
		what := "is not on network %s"
		if n.Kind.OneWay {
			what = "does not have network %s outside"
		}
		c.at("network").Problemf(topology.Suggest(s.Network, networks), "%s "+what, s.At, s.Network)
	}
}

// place is the network on which the step changes an address.
func (s *AddressChange) place(p *topology.Plan) string {
	n, ok := p.Node(s.At)
	if s.Network != "" || !ok {
		return s.Network
	}
	for _, i := range n.Interfaces {
		if i.Spare.IsValid() {
			return i.Network
		}
	}
	if len(n.Interfaces) == 0 {
		return ""
	}
	return n.Interfaces[len(n.Interfaces)-1].Network
}

func (s *AddressChange) play(ctx context.Context, p *branch) error {
	return p.changeAddress(ctx, place{s.At, s.place(p.plan)})
}

// place is a node's place on a network.
type place struct{ node, network string }

// changeAddress gives the node its other address there.
func (p *player) changeAddress(ctx context.Context, at place) error {
	if err := p.call(ctx, at.node, "address.change", map[string]string{"network": at.network}, nil); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved[at] = !p.moved[at]
	return nil
}

// restoreAddress takes address changes of a play back.
func (p *player) restoreAddress(ctx context.Context, at place) error {
	p.mu.Lock()
	moved := p.moved[at]
	p.mu.Unlock()
	if !moved {
		return nil
	}
	return p.changeAddress(ctx, at)
}
