//go:build !linux

package firewall

import (
	"context"
	"errors"

	"github.com/wslab/wslab/internal/node"
)

func run(context.Context, *node.Env) error { return errors.New("a firewall runs on Linux only") }
