package docker

import (
	"cmp"
	"strconv"

	"github.com/docker/docker/api/types/filters"

	"github.com/wslab/wslab/topology"
)

// The labels. Everything has labelLab and labelVersion, except images.
const (
	// labelLab is the name of the instance.
	labelLab = "wslab.lab"
	// labelVersion of the wslab that made it.
	labelVersion = "wslab.version"
	// labelSource, labelFile and labelSpeed are those of the plan.
	labelSource = "wslab.source"
	labelFile   = "wslab.file"
	labelSpeed  = "wslab.speed"
	// labelDigest is the digest of the spec or the network, to see what differs.
	labelDigest = "wslab.digest"
	// labelIndex is the place in the plan.
	labelIndex = "wslab.index"

	// labelNodes is how many nodes the plan had when the part was made.
	labelNodes = "wslab.nodes"

	// labelNode and labelKind are on containers.
	labelNode = "wslab.node"
	labelKind = "wslab.kind"
	// labelVisitor is on containers that are beside a node, and names it; see [lab.RunImage].
	labelVisitor = "wslab.visitor"
	// labelBinary, on containers, is the node image of the wslab that runs in it,
	// whatever image the container is of.
	labelBinary = "wslab.binary"

	// labelNetwork, on networks, is the planned network as JSON.
	labelNetwork = "wslab.network"

	// labelImage, on images, is the version of the wslab that is in it.
	labelImage = "wslab.image"
)

// containerName and networkName are what the docker command shows. Names of
// labs, nodes and networks hold no underscore, so they do not run together.
func containerName(lab, node string) string { return "wslab_" + lab + "_" + node }

func networkName(lab, network string) string { return "wslab_" + lab + "_" + network }

// withLab selects what belongs to the lab, or to any lab when it is empty.
func withLab(lab string) filters.Args {
	if lab == "" {
		return filters.NewArgs(filters.Arg("label", labelLab))
	}
	return filters.NewArgs(filters.Arg("label", labelLab+"="+lab))
}

// planLabels are the labels that all parts of a lab share.
func planLabels(p *topology.Plan, version string) map[string]string {
	source := p.Lab
	if len(p.Nodes) > 0 {
		source = p.Nodes[0].Source
	}
	return map[string]string{
		labelLab:     p.Lab,
		labelVersion: version,
		labelSource:  source,
		labelFile:    p.File,
		labelNodes:   strconv.Itoa(len(p.Nodes)),
		labelSpeed:   strconv.FormatFloat(p.Speed, 'g', -1, 64),
	}
}

// byIndex orders parts of a lab as in their plan.
func byIndex(a, b map[string]string) int {
	i, _ := strconv.Atoi(a[labelIndex]) // what has no index was not made by us, and comes first
	j, _ := strconv.Atoi(b[labelIndex])
	return cmp.Or(cmp.Compare(i, j), cmp.Compare(a[labelNode], b[labelNode]))
}
