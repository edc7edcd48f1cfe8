//go:build !linux

package node

import (
	"context"
	"errors"
	"io"
)

// PrivateEtc is set in the environment by an engine that has given the process a
// mount namespace of its own but no /etc of its own: the node then writes its
// /etc/hosts itself.
const PrivateEtc = "WSLAB_PRIVATE_ETC"

// Run is `wslab node`. Nodes run on Linux only.
func Run(context.Context, []*Kind, io.Reader, io.Writer) error {
	return errors.New("a node runs on Linux only")
}
