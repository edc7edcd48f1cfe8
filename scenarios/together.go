package scenarios

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wslab/wslab/topology"
)

// Together plays lists of steps side by side.
type Together struct {
	branches []list
}

// String returns the step in words.
func (s *Together) String() string {
	return fmt.Sprintf("together: %d lists of steps", len(s.branches))
}

// takes is as long as the longest of its lists.
func (s *Together) takes() time.Duration {
	var most time.Duration
	for _, l := range s.branches {
		var d time.Duration
		for _, step := range l.steps {
			d = atMost(d, step.takes())
		}
		most = max(most, d)
	}
	return most
}

func (s *Together) node() string  { return "" }
func (s *Together) short() any    { return nil }
func (s *Together) lists() []list { return s.branches }

func (s *Together) decode(reg *topology.Registry, v *topology.Value) {
	if v.Kind() != topology.ListValue || len(v.List()) < 2 {
		v.Problemf("write: together: [[talk: 5s], [pause: { node: server, for: 1s }]]", "this has to be a list of two lists of steps or more")
		return
	}
	for _, item := range v.List() {
		s.branches = append(s.branches, decodeSteps(reg, item))
	}
}

func (s *Together) check(c *stepCheck) {
	talks := 0
	for i, l := range s.branches {
		c.list(l)
		if slices.ContainsFunc(slices.Collect(every(l.steps)), setsTalk) {
			if talks++; talks == 2 && i < len(c.value.List()) {
				c.value.List()[i].Problemf("leave it to one of them", "two lists that are played at once say who talks")
			}
		}
	}
}

// setsTalk says whether a step begins or ends talk, which is one for all clients.
func setsTalk(s Step) bool {
	switch s.(type) {
	case *Talk, *Quiet:
		return true
	}
	return false
}

// play ends early, all of it, with the first step that cannot be played.
func (s *Together) play(ctx context.Context, p *branch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, l := range s.branches {
		all.Go(func() {
			if err := p.sequence(ctx, l.steps, p.since, false); err != nil {
				cancel(err) // the first counts
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
