//go:build !linux

package command

import (
	"context"
	"errors"

	"github.com/wslab/wslab/internal/node"
)

func run(context.Context, *node.Env) error {
	return errors.New("programs run as nodes on Linux only")
}
