package main

import (
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/client"
	"github.com/wslab/wslab/internal/node/firewall"
	"github.com/wslab/wslab/internal/node/nat"
	"github.com/wslab/wslab/internal/node/proxy"
	"github.com/wslab/wslab/internal/node/server"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
	"github.com/wslab/wslab/toxics"
)

// kinds is the list of the kinds of node. A new kind is added here and nowhere else.
func kinds() []*node.Kind {
	return []*node.Kind{
		client.Kind(),
		proxy.Kind(),
		firewall.Kind(),
		nat.Kind(),
		server.Kind(),
	}
}

// registry is what lab and scenario files may name.
func registry() *topology.Registry {
	r := &topology.Registry{
		Toxics:      toxics.Types(),
		NewStrategy: func() any { return new(strategy.Strategy) },
	}
	for _, k := range kinds() {
		r.Kinds = append(r.Kinds, &k.Kind)
	}
	for _, s := range strategy.Builtin() {
		r.Strategies = append(r.Strategies, s.Name)
	}
	return r
}
