// Package registry puts together what lab and scenario files may name.
package registry

import (
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/client"
	"github.com/wslab/wslab/internal/node/command"
	"github.com/wslab/wslab/internal/node/firewall"
	"github.com/wslab/wslab/internal/node/link"
	"github.com/wslab/wslab/internal/node/nat"
	"github.com/wslab/wslab/internal/node/proxy"
	"github.com/wslab/wslab/internal/node/server"
	"github.com/wslab/wslab/internal/preset"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
	"github.com/wslab/wslab/toxics"
)

// Kinds is the list of the kinds of node. A new kind is added here and nowhere else.
func Kinds() []*node.Kind {
	return []*node.Kind{
		client.Kind(),
		proxy.Kind(),
		firewall.Kind(),
		nat.Kind(),
		server.Kind(),
		command.Kind(),
	}
}

// Presets is the catalogue. A new entry is added in its data file and nowhere else.
func Presets() []preset.Preset {
	var all []*topology.Kind
	for _, k := range Kinds() {
		all = append(all, &k.Kind)
	}
	return preset.Builtin(all)
}

// New is what lab and scenario files may name.
func New() *topology.Registry {
	r := &topology.Registry{
		Toxics:        toxics.Types(),
		NewStrategy:   func() any { return new(strategy.Strategy) },
		NewConditions: link.NewConditions,
		Profiles:      link.Profiles(),
	}
	for _, k := range Kinds() {
		r.Kinds = append(r.Kinds, &k.Kind)
	}
	for _, s := range strategy.Builtin() {
		r.Strategies = append(r.Strategies, s.Name)
	}
	r.Presets = preset.Topology(Presets())
	return r
}
