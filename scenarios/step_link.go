package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/topology"
)

// Link gives a network, or a node's place on one, other conditions.
type Link struct {
	topology.Link
	For time.Duration
	// text of the conditions, "" for none.
	text string
}

// linkKeys are the keys of a link step beside those of conditions.
type linkKeys struct {
	Network string        `json:"network" doc:"The network." required:"true"`
	Node    string        `json:"node" doc:"The node whose place on the network it is; left out, it is the whole network."`
	For     time.Duration `json:"for" doc:"The conditions are what they were before after this time, while later steps go on; left out, at the end of the play."`
}

// String returns the step as in a file.
func (s *Link) String() string {
	text := "link: " + s.Network
	if s.Node != "" {
		text = "link: " + s.Node + " on " + s.Network
	}
	if s.text == "" {
		text += " as if nothing were set"
	} else {
		text += " " + s.text
	}
	if s.For > 0 {
		text += " for " + s.For.String()
	}
	return text
}

func (s *Link) takes() time.Duration { return 0 }
func (s *Link) node() string         { return s.Node }
func (s *Link) short() any           { return nil }

func (s *Link) check(c *stepCheck) {
	names := make([]string, len(c.lab.Networks))
	for i, n := range c.lab.Networks {
		names[i] = n.Name
	}
	if s.Network == "" {
		return // reported already
	}
	if !slices.Contains(names, s.Network) {
		c.at("network").Problemf(topology.Suggest(s.Network, names), "lab %s has no network %q", c.lab.Name, s.Network)
		return
	}
	if s.Node == "" {
		return
	}
	c.place("node", s.Node, "", anyKind)
	n, ok := c.lab.Node(s.Node)
	if !ok || slices.ContainsFunc(n.On, func(a topology.Attachment) bool { return a.Network == s.Network }) {
		return
	}
	var on []string
	for _, a := range n.On {
		on = append(on, a.Network)
	}
	c.at("network").Problemf("it is on: "+strings.Join(on, ", "), "%s is not on network %s", s.Node, s.Network)
}

// decode reads the conditions beside the step's own keys.
func (s *Link) decode(reg *topology.Registry, v *topology.Value) {
	var own linkKeys
	var names []string
	for _, k := range topology.Keys(own) {
		names = append(names, k.Name)
	}
	var others []string
	for _, p := range v.Pairs() {
		if !slices.Contains(names, p.Key.Text()) {
			others = append(others, p.Key.Text())
		}
	}
	v.Without(others...).Decode(&own)
	s.Network, s.Node, s.For = own.Network, own.Node, own.For
	if v.Kind() != topology.MapValue {
		return // reported already
	}
	conditions, ok := topology.DecodeConditions(reg, v, names...)
	if conditions == nil || !ok {
		return
	}
	raw, err := json.Marshal(conditions)
	if err != nil {
		panic("scenarios: conditions: " + err.Error()) // a struct of plain fields
	}
	s.Conditions, s.text = raw, fmt.Sprint(conditions)
}

func (s *Link) play(ctx context.Context, p *branch) error {
	before, err := p.linkNow(ctx, s.Link)
	if err != nil {
		return err
	}
	link := s.Link
	link.Conditions = p.seeded(link.Conditions, true)
	if err := p.setLink(ctx, link); err != nil {
		return err
	}
	p.after(ctx, s.For, func(ctx context.Context) error { return p.setLink(ctx, before) })
	return nil
}

// setLink tells every node that the link's conditions concern.
func (p *player) setLink(ctx context.Context, l topology.Link) error {
	told := p.plan.Spread(l)
	if len(told) == 0 {
		return fmt.Errorf("lab %s has no such link: %s %s", p.plan.Lab, l.Network, l.Node)
	}
	for _, n := range p.plan.Nodes { // in an order that is always the same
		spec, ok := told[n.Name]
		if !ok {
			continue
		}
		if err := p.call(ctx, n.Name, "link.set", spec, nil); err != nil {
			return err
		}
	}
	return nil
}

// linkNow returns the link as it is.
func (p *player) linkNow(ctx context.Context, l topology.Link) (topology.Link, error) {
	now := topology.Link{Network: l.Network, Node: l.Node}
	told := p.plan.Spread(l)
	for _, n := range p.plan.Nodes {
		if _, ok := told[n.Name]; !ok || l.Node != "" && l.Node != n.Name {
			continue
		}
		var all []topology.LinkSpec
		if err := p.call(ctx, n.Name, "link.show", struct{}{}, &all); err != nil {
			return now, err
		}
		i := slices.IndexFunc(all, func(s topology.LinkSpec) bool { return s.Network == l.Network && s.Node == l.Node })
		if i >= 0 {
			now.Conditions = all[i].Conditions
		}
		return now, nil
	}
	return now, nil
}

// restoreLink notes what a link is, to be restored at the end.
func (p *player) restoreLink(ctx context.Context, l topology.Link) error {
	before, err := p.linkNow(ctx, l)
	if err != nil {
		return err
	}
	p.restoreBy(func(ctx context.Context) error {
		now, err := p.linkNow(ctx, l)
		if err != nil || string(now.Conditions) == string(before.Conditions) {
			return err
		}
		return p.setLink(ctx, before)
	})
	return nil
}
