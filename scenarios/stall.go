package scenarios

import (
	"context"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// Stall keeps the programs of clients from coming back from a message.
type Stall struct {
	For    time.Duration `json:"for" doc:"How long, while later steps go on. It begins with the next message that the server sends: a pong that comes behind it is not read." required:"true"`
	Client string        `json:"client" doc:"The strategy whose program it is; all if left out."`
}

// String returns the step as in a file.
func (s *Stall) String() string { return "stall: " + s.For.String() + of(s.Client, "") }

func (s *Stall) takes() time.Duration { return 0 }
func (s *Stall) node() string         { return "" }
func (s *Stall) short() any           { return &s.For }

func (s *Stall) check(c *stepCheck) {
	c.positive("for", s.For)
	c.strategy("client", s.Client)
}

// play needs no restoring: a session that is stopped stands still no more. Of a program all processes
// stand still, at once.
func (s *Stall) play(ctx context.Context, p *branch) error {
	sessions := p.sessionsOf(s.Client)
	for _, one := range sessions {
		if one.program == nil {
			continue
		}
		if err := p.freeze(true, one); err != nil {
			return err
		}
		p.rec.note(trace.Event{Type: trace.Stalled, Session: one.id, Dur: p.wall(s.For)})
		p.background.Go(func() {
			_ = p.wait(ctx, s.For) // it goes on, too, when the play is over
			if err := p.freeze(false, one); err != nil && ctx.Err() == nil {
				p.fail(err)
			}
			p.rec.note(trace.Event{Type: trace.Unstalled, Session: one.id})
		})
	}
	if ids := own(sessions); len(ids) > 0 {
		return p.call(ctx, p.client, "session.stall", map[string]any{"ids": ids, "for": s.For}, nil)
	}
	return nil
}
