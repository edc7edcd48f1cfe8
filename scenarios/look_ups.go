package scenarios

import (
	"context"
	"time"
)

// LookUps makes look-ups of names fail at a node.
type LookUps struct {
	At   string        `json:"at" doc:"The node that asks." required:"true"`
	Fail string        `json:"fail" doc:"How: servfail, the resolver cannot answer, as when its own servers are out of reach; nxdomain, there is no such name; silent, no answer comes. servfail if left out." enum:"servfail,nxdomain,silent"`
	Name string        `json:"name" doc:"The name; every name if left out."`
	For  time.Duration `json:"for" doc:"They are answered again after this time, while later steps go on; left out, not before the end of the play."`
}

// String returns the step as in a file.
func (s *LookUps) String() string {
	text := "names: "
	if s.Name != "" {
		text += s.Name + " "
	}
	text += s.Fail + " at " + s.At
	if s.For > 0 {
		text += " for " + s.For.String()
	}
	return text
}

func (s *LookUps) takes() time.Duration { return 0 }
func (s *LookUps) node() string         { return s.At }
func (s *LookUps) short() any           { return &s.At }

func (s *LookUps) check(c *stepCheck) {
	c.place("at", s.At, "", anyKind)
}

func (s *LookUps) play(ctx context.Context, p *branch) error {
	mend := func(ctx context.Context) error {
		return p.call(ctx, s.At, "names", map[string]string{"name": s.Name, "fail": ""}, nil)
	}
	p.restoreBy(mend)
	if err := p.call(ctx, s.At, "names", map[string]string{"name": s.Name, "fail": s.Fail}, nil); err != nil {
		return err
	}
	p.after(ctx, s.For, mend)
	return nil
}

// after does something after a time while the play goes on; 0 is never. What the end of
// the play cuts short is left to the restoring.
func (p *player) after(ctx context.Context, d time.Duration, do func(context.Context) error) {
	if d <= 0 {
		return
	}
	p.background.Go(func() {
		if p.wait(ctx, d) != nil {
			return
		}
		if err := do(ctx); err != nil && ctx.Err() == nil {
			p.fail(err)
		}
	})
}
