package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wslab/wslab/topology"
)

// Configure changes settings of a node in the middle of a play.
type Configure struct {
	Node     string          `json:"node" doc:"The node." required:"true"`
	Settings *topology.Value `json:"settings" doc:"The settings that are changed, as under with; preset names some." required:"true"`

	change Change
}

// String returns the step as in a file.
func (s *Configure) String() string {
	text := "configure: " + s.Node
	if s.Settings != nil {
		text += " " + s.Settings.String()
	}
	return text
}

func (s *Configure) takes() time.Duration { return 0 }
func (s *Configure) node() string         { return s.Node }
func (s *Configure) short() any           { return nil }

// decode takes the settings as they stand: which there are depends on the node.
func (s *Configure) decode(_ *topology.Registry, v *topology.Value) { v.Decode(s) }

func (s *Configure) check(c *stepCheck) {
	c.place("node", s.Node, "cannot be configured: the sessions start from it", func(k *topology.Kind) bool { return !isClient(k) })
	n, ok := c.lab.Node(s.Node)
	if !ok || s.Settings == nil {
		return
	}
	if change, ok := readChange(c.registry, n, s.Settings); ok {
		s.change = change
	}
}

// before are the settings that the step changes as the lab has them.
func (s *Configure) before(p *topology.Plan) (json.RawMessage, error) {
	spec, _ := p.Node(s.Node)
	before, err := settingsBefore(spec, s.change.Settings)
	if err != nil {
		return nil, fmt.Errorf("settings of node %s: %w", s.Node, err)
	}
	return before, nil
}

func (s *Configure) play(ctx context.Context, p *branch) error {
	return p.replace(ctx, s.Node, 0, "configure", map[string]any{"settings": s.change.Settings})
}
