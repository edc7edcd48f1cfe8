package docker

import (
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// difference is what has to be done to make a lab equal to a plan.
type difference struct {
	// keptNetworks maps the names of networks to their IDs, keptNodes those of
	// nodes to their containers.
	keptNetworks map[string]string
	keptNodes    map[string]container.Summary
	// staleNetworks and staleNodes have to go.
	staleNetworks []network.Summary
	staleNodes    []container.Summary
	changes       engine.Changes
}

// difference compares. image is the image that nodes have to run.
func (i *inventory) difference(p *topology.Plan, image string) *difference {
	d := &difference{keptNetworks: make(map[string]string), keptNodes: make(map[string]container.Summary)}
	d.compareNetworks(i, p)
	d.compareNodes(i, p, image)
	return d
}

func (d *difference) compareNetworks(i *inventory, p *topology.Plan) {
	names := make(map[string]bool) // that are there and have to go
	for _, n := range i.networks {
		k := slices.IndexFunc(p.Networks, func(want topology.PlannedNetwork) bool {
			return networkName(p.Lab, want.Name) == n.Name
		})
		if k >= 0 && n.Labels[labelDigest] == p.Networks[k].Digest() && d.keptNetworks[p.Networks[k].Name] == "" {
			d.keptNetworks[p.Networks[k].Name] = n.ID
			continue
		}
		d.staleNetworks = append(d.staleNetworks, n)
		names[n.Name] = true
	}
	for _, n := range p.Networks {
		docker := networkName(p.Lab, n.Name)
		if d.keptNetworks[n.Name] == "" {
			d.note(names[docker], "network "+n.Name)
		}
		delete(names, docker)
	}
	for _, n := range d.staleNetworks {
		if names[n.Name] {
			delete(names, n.Name)
			d.changes.Removed = append(d.changes.Removed, "network "+networkOf(n, p.Lab))
		}
	}
}

// networkOf is the name that a network has in its lab.
func networkOf(n network.Summary, lab string) string {
	prefix := networkName(lab, "")
	if len(n.Name) > len(prefix) {
		return n.Name[len(prefix):]
	}
	return n.Name
}

func (d *difference) compareNodes(i *inventory, p *topology.Plan, image string) {
	names := make(map[string]bool)
	for _, c := range i.containers {
		name := c.Labels[labelNode]
		if spec, ok := p.Node(name); ok && d.keeps(c, spec, image) {
			d.keptNodes[name] = c
			continue
		}
		d.staleNodes = append(d.staleNodes, c)
		names[name] = true
	}
	for _, n := range p.Nodes {
		if _, kept := d.keptNodes[n.Name]; !kept {
			d.note(names[n.Name], n.Name)
		}
		delete(names, n.Name)
	}
	for _, c := range d.staleNodes {
		if name := c.Labels[labelNode]; names[name] {
			d.changes.Removed = append(d.changes.Removed, name)
		}
	}
}

// keeps says whether a node can stay: it is the same, runs the same binary, and
// so do its networks stay.
func (d *difference) keeps(c container.Summary, spec *topology.NodeSpec, image string) bool {
	return alive(c) && c.Image == image && c.Labels[labelDigest] == spec.Digest() &&
		!slices.ContainsFunc(spec.Interfaces, func(i topology.Interface) bool { return d.keptNetworks[i.Network] == "" })
}

func (d *difference) note(replaced bool, name string) {
	if replaced {
		d.changes.Replaced = append(d.changes.Replaced, name)
		return
	}
	d.changes.Created = append(d.changes.Created, name)
}

// say tells what is about to be done.
func (d *difference) say(lab string, progress engine.Progress) {
	for _, what := range []struct {
		doing string
		names []string
	}{{"removing", d.changes.Removed}, {"replacing", d.changes.Replaced}, {"creating", d.changes.Created}} {
		if len(what.names) > 0 {
			progress("lab %s: %s %s", lab, what.doing, strings.Join(what.names, ", "))
		}
	}
}
