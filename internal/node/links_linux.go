package node

import (
	"context"
	"fmt"

	"github.com/wslab/wslab/internal/node/link"
	"github.com/wslab/wslab/internal/trace"
)

// setLinks gives the node's interfaces their conditions, and answers what the host asks of them.
// Its kind knows nothing of it.
func (p *process) setLinks(ctx context.Context) error {
	spec := &p.env.Spec
	names, err := InterfaceNames(spec.Interfaces)
	if err != nil {
		return fmt.Errorf("links: %w", err)
	}
	p.links = link.New(spec.Name, spec.Interfaces, names, spec.Speed, func(of link.Place, c link.Conditions) {
		p.env.Record(trace.Event{Type: trace.LinkChanged, Network: of.Network, By: of.Node, Detail: c.String()})
	})
	p.server.Handle("link.set", p.links.HandleSet)
	p.server.Handle("link.clear", p.links.HandleClear)
	p.server.Handle("link.show", p.links.HandleShow)
	p.server.Handle("link.listen", p.links.HandleListen)
	p.server.Handle("link.send", p.links.HandleSend)
	p.server.Handle("link.arrived", p.links.HandleArrived)
	if err := p.links.Start(ctx, spec.Links); err != nil {
		return fmt.Errorf("links: %w", err)
	}
	return nil
}
