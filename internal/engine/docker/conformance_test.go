package docker

import (
	"net/netip"
	"testing"

	"github.com/wslab/wslab/internal/engine/enginetest"
)

func TestEngine(t *testing.T) {
	newEngine(t, staticNode) // skips where there is none
	e := newEngine(t, enginetest.Build(t))
	enginetest.Run(t, &enginetest.Rig{
		Engine:   e,
		Lab:      labPrefix,
		Prefixes: func(t testing.TB, n int) []netip.Prefix { return freePrefixes(t, e, n) },
		Left:     func(t testing.TB, lab string) []string { return left(t, e, lab) },
	})
}
