//go:build !linux

package docker

import (
	"context"
	"os"

	"github.com/wslab/wslab/internal/engine"
)

// Elsewhere the names of containers and networks, of which the engine allows
// each once, are all that keeps two processes apart.

func (e *Engine) tryLock(string) (release func(), err error) { return func() {}, nil }

func (e *Engine) lock(context.Context, string, engine.Progress) (release func(), err error) {
	return func() {}, nil
}

// Claim claims nothing; see [engine.Claimer].
func (e *Engine) Claim(context.Context, string, engine.Progress) (held *os.File, err error) {
	return os.Open(os.DevNull)
}

func (e *Engine) claimed(string) bool { return false }

func (e *Engine) useImage(string, string) (release func(), err error) { return func() {}, nil }

func (e *Engine) used(string) bool { return false }
