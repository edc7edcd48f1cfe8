package scenarios

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Do plays steps on a running lab without any client of its own: what they change stays. It returns when
// the last step has ended and what was restarted is ready again. Steps in which somebody talks do nothing but wait.
// Steps on one lab must not overlap with others or with a play.
func Do(ctx context.Context, lab Lab, steps []Step) (err error) {
	for s := range every(steps) {
		if t, ok := s.(*Toxic); ok && t.For > 0 {
			return fmt.Errorf("%s: a toxic that ends by itself is for scenarios; leave out for, and remove it with a step of its own", s)
		}
	}
	p, err := newPlayer(lab, Play{Scenario: &Scenario{Name: "steps", Steps: steps}}, Options{})
	if err != nil {
		return err
	}
	playing, cancel := context.WithCancelCause(ctx)
	p.fail = cancel
	defer func() {
		cancel(nil)
		p.background.Wait()
		err = errors.Join(err, p.detach())
	}()
	if err := p.attach(playing); err != nil {
		return err
	}
	if err := p.prepare(playing); err != nil {
		return err
	}
	start := time.Now()
	err = p.sequence(playing, steps, p.rec.mark(), true)
	if err == nil {
		err = p.allBack(playing)
	}
	var down *crash
	if p.ended(playing, err, &down) {
		return fmt.Errorf("%w, %s after the first step began", down, time.Since(start).Round(time.Millisecond))
	}
	return err
}
