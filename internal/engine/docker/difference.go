package docker

import (
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// difference compares. image is the image that nodes have to run.
func (i *inventory) difference(p *topology.Plan, image string) *engine.Difference {
	var networks, nodes []engine.Part
	for _, n := range i.networks {
		networks = append(networks, engine.Part{Name: networkOf(n, p.Lab), Digest: n.Labels[labelDigest], Usable: true})
	}
	for _, c := range i.containers {
		name := c.Labels[labelNode]
		spec, ok := p.Node(name)
		nodes = append(nodes, engine.Part{Name: name, Digest: c.Labels[labelDigest], Usable: ok && alive(c) && runs(c, spec, image)})
	}
	return engine.Compare(p, networks, nodes)
}

// networkOf is the name that a network has in its lab.
func networkOf(n network.Summary, lab string) string {
	prefix := networkName(lab, "")
	if len(n.Name) > len(prefix) {
		return n.Name[len(prefix):]
	}
	return n.Name
}

// runs says whether a container runs the binary and the image that a node has to run. The
// label tells of the binary, not the image's name: another lab's down may have taken the
// name away since, while the image lives on with its containers.
func runs(c container.Summary, spec *topology.NodeSpec, image string) bool {
	// An image of a name that has come to mean another one since is not shown by it any more.
	return c.Labels[labelBinary] == image && (spec.Needs.Image == "" || c.Image == spec.Needs.Image)
}
