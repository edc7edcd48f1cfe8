package scenarios

import (
	"context"
	"time"

	"github.com/wslab/wslab/topology"
)

// HalfOpen lets a server's end of connections go without a word. New connections are served.
type HalfOpen struct {
	How    string        `json:"how" doc:"vanished: the machine is gone, nothing is acknowledged and nothing comes back; hung: the process stands still, its kernel still acknowledges what comes, and nothing is answered." required:"true" enum:"vanished,hung"`
	For    time.Duration `json:"for" doc:"It is there again after this time, while later steps go on; left out, not before the end of the play."`
	Node   string        `json:"node" doc:"The server; every server that has a session if left out."`
	Client string        `json:"client" doc:"The strategy whose connection it is; all if left out."`
}

// String returns the step as in a file.
func (s *HalfOpen) String() string {
	text := "half-open: " + s.How + of(s.Client, s.Node)
	if s.For > 0 {
		text += " for " + s.For.String()
	}
	return text
}

func (s *HalfOpen) takes() time.Duration { return 0 }
func (s *HalfOpen) node() string         { return s.Node }
func (s *HalfOpen) short() any           { return &s.How }

func (s *HalfOpen) check(c *stepCheck) {
	if c.value.Kind() == topology.ScalarValue && s.How != "vanished" && s.How != "hung" { // the short form knows no enum
		c.value.Problemf("it can be: vanished, hung", "%q is no value of \"how\"", s.How)
	}
	c.place("node", s.Node, "has no end of a WebSocket", isTarget)
	c.strategy("client", s.Client)
}

func (s *HalfOpen) play(ctx context.Context, p *branch) error {
	ids := p.idsOf(s.Client)
	if len(ids) == 0 {
		return nil // to a server no name is every one
	}
	back := func(ctx context.Context) error {
		return p.atServers(ctx, s.Node, "half-open", map[string]bool{"off": true})
	}
	p.restoreBy(back)
	if err := p.atServers(ctx, s.Node, "half-open", map[string]any{"ids": ids, "how": s.How}); err != nil {
		return err
	}
	p.after(ctx, s.For, back)
	return nil
}
