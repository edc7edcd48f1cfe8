//go:build !linux

package nat

import (
	"context"
	"errors"

	"github.com/wslab/wslab/internal/node"
)

func run(context.Context, *node.Env) error { return errors.New("a NAT runs on Linux only") }
