package clients

import (
	"context"
	"strings"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/scenarios"
)

// Image is a client that is a container: the name of an image, and what it is to run instead of its
// CMD, if anything, in words between spaces.
type Image string

// Launch starts it in the network of the client node. An [*engine.UnfitError] says that the engine
// runs no images.
func (i Image) Launch(_ context.Context, lab scenarios.Lab, at scenarios.Circumstances) (scenarios.Process, error) {
	l, ok := lab.(engine.ImageRunner)
	if !ok {
		return nil, &engine.UnfitError{
			Problem: "--client-image needs an engine that runs container images",
			Remedy:  "run it with --engine docker, or start the client as a command: --client",
		}
	}
	words := strings.Fields(string(i))
	return start(func(ctx context.Context, cmd engine.Command) (int, error) {
		return l.RunImage(ctx, at.Node, words[0], cmd)
	}, engine.Command{Args: words[1:], Env: at.Environ(), Stdout: at.Output, Stderr: at.Output})
}
