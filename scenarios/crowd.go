package scenarios

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// Crowd is connections of other people.
type Crowd struct {
	From        string        `json:"from" doc:"The client that they come from." required:"true"`
	Connections int           `json:"connections" doc:"How many it tries to open; what is not answered within 3 s is given up." required:"true" min:"1" max:"10000"`
	For         time.Duration `json:"for" doc:"They are closed after this time, while later steps go on; left out, they stay to the end of the play."`
}

// String returns the step as in a file.
func (s *Crowd) String() string {
	text := fmt.Sprintf("crowd: %d connections from %s", s.Connections, s.From)
	if s.For > 0 {
		text += " for " + s.For.String()
	}
	return text
}

func (s *Crowd) takes() time.Duration { return 0 }
func (s *Crowd) node() string         { return s.From }
func (s *Crowd) short() any           { return nil }

func (s *Crowd) check(c *stepCheck) { c.place("from", s.From, "opens no connections", isClient) }

func (s *Crowd) play(ctx context.Context, p *branch) error {
	crowd := map[string]any{"id": "crowd-" + strings.ToLower(rand.Text()[:6]), "connections": s.Connections}
	disperse := func(ctx context.Context) error { return p.call(ctx, s.From, "crowd.close", crowd, nil) }
	p.restoreBy(disperse)
	var gathered struct {
		Open int `json:"open"`
	}
	if err := p.call(ctx, s.From, "crowd.open", crowd, &gathered); err != nil {
		return err
	}
	p.o.Progress("%s: %d of %d connections from %s are open", p.play.Scenario.Name, gathered.Open, s.Connections, s.From)
	p.after(ctx, s.For, disperse)
	return nil
}
