// Package command is programs that somebody else wrote, as nodes of a lab: a proxy as
// it is found in offices, a client under test. The node gives its program the lab's
// names, certificate authority and addresses, and takes it away again with
// everything that it has started.
package command

import (
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/topology"
)

// Kind is the command kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:     "command",
			Summary:  "Runs a program of this host, or a container image, as a node: a proxy, a client under test. Its own timeouts are wall time, whatever --speed says.",
			Settings: newSettings,
			Opaque:   true,
			Check:    check,
			Needs:    needs,
		},
		Run: run,
	}
}

// The files that the node writes for its program, in a directory of its own.
const (
	caFile          = "ca.pem"
	certificateFile = "cert.pem"
	keyFile         = "key.pem"
)
