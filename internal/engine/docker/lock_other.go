//go:build !linux

package docker

import (
	"context"

	"github.com/wslab/wslab/internal/engine"
)

// Elsewhere the names of containers and networks, of which the engine allows
// each once, are all that keeps two processes apart.

func (e *Engine) tryLock(string) (release func(), err error) { return func() {}, nil }

func (e *Engine) lock(context.Context, string, engine.Progress) (release func(), err error) {
	return func() {}, nil
}
