package scenarios

import (
	"context"
	"fmt"
	"time"

	"github.com/wslab/wslab/topology"
)

// Repeat plays steps several times.
type Repeat struct {
	Times int             `json:"times" doc:"How often." required:"true" min:"1" max:"1000"`
	Steps *topology.Value `json:"steps" doc:"The steps, as those of a scenario." required:"true"`
	Until *Condition      `json:"until" doc:"No further time is begun once this has happened, counted from the beginning of the first."`

	list list
}

// String returns the step in words.
func (s *Repeat) String() string {
	return fmt.Sprintf("repeat: %d times %s%s", s.Times, counted(len(s.list.steps), "step"), s.Until.orUntil())
}

// counted is a number of things.
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", one, "s")
}

func (s *Repeat) takes() time.Duration {
	var once time.Duration
	for _, step := range s.list.steps {
		once = atMost(once, step.takes())
	}
	if s.Times > 0 && once > longest/time.Duration(s.Times) {
		return longest + 1
	}
	return once * time.Duration(s.Times)
}

func (s *Repeat) node() string  { return "" }
func (s *Repeat) short() any    { return nil }
func (s *Repeat) lists() []list { return []list{s.list} }

func (s *Repeat) decode(reg *topology.Registry, v *topology.Value) {
	v.Decode(s)
	if s.Steps != nil {
		s.list = decodeSteps(reg, s.Steps)
	}
}

func (s *Repeat) check(c *stepCheck) {
	c.condition("until", s.Until)
	c.list(s.list)
}

func (s *Repeat) play(ctx context.Context, p *branch) error {
	begin := p.rec.mark()
	since := p.since
	for range s.Times {
		from := p.rec.mark()
		if err := p.sequence(ctx, s.list.steps, since, false); err != nil {
			return err
		}
		since = from
		if s.Until != nil && p.happened(p.rec.snapshot()[begin:], s.Until) {
			break
		}
	}
	return nil
}

// plays counts the steps that a step plays, itself included.
func plays(s Step) int {
	c, ok := s.(compound)
	if !ok {
		return 1
	}
	n := 0
	for _, l := range c.lists() {
		for _, inner := range l.steps {
			n = min(mostSteps+1, n+plays(inner))
		}
	}
	if r, ok := s.(*Repeat); ok {
		n *= max(1, min(r.Times, mostSteps))
	}
	return min(mostSteps+1, n+1)
}
