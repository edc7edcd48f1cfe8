package docker

import "github.com/wslab/wslab/topology"

// Refuse refuses the programs of a host: a container has none of them. See [engine.Engine].
func (e *Engine) Refuse(needs topology.Needs) *topology.Refusal {
	if needs.Program == "" || needs.Image != "" {
		return nil
	}
	return &topology.Refusal{
		Why:  "a program of this host cannot run in a Docker container",
		Hint: "give an image, or use --engine netns",
	}
}
