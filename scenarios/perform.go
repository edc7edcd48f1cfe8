package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// steps plays the steps one after another and ends in silence.
func (p *player) steps(ctx context.Context) error {
	if err := p.sequence(ctx, p.play.Scenario.Steps, p.rec.mark(), true); err != nil {
		return err
	}
	return p.silence(ctx)
}

// sequence plays steps one after another. since is where the record stood when the step
// before them began; top says that they are the scenario's own.
func (p *player) sequence(ctx context.Context, steps []Step, since int, top bool) error {
	for i, step := range steps {
		where := ""
		if top {
			where = fmt.Sprintf("step %d of %d: ", i+1, len(steps))
		}
		p.o.Progress("%s: %s%s", p.play.Scenario.Name, where, step)
		p.mu.Lock()
		p.begun++
		number := p.begun
		p.mu.Unlock()
		from := p.rec.mark()
		p.rec.note(trace.Event{Type: trace.StepStart, Seq: number, Detail: step.String()})
		b := &branch{player: p, since: since}
		if err := step.play(ctx, b); err != nil {
			return fmt.Errorf("step %d (%s): %w", number, step, err)
		}
		p.rec.note(trace.Event{Type: trace.StepEnd, Seq: number, Detail: step.String(), Err: b.missed})
		since = from
	}
	return nil
}

// branch is a player at one step.
type branch struct {
	*player
	// since is where the record stood when the step before this one began: what that
	// has caused counts for a condition, however soon it came.
	since int
	// missed says what the step has waited for in vain.
	missed string
}

func (s *Talk) play(ctx context.Context, p *branch) error {
	if err := p.talk(ctx, speech{every: s.Every, by: s.By, size: s.Size}); err != nil {
		return err
	}
	return p.waitUntil(ctx, s.For, s.Until)
}

func (s *Quiet) play(ctx context.Context, p *branch) error {
	if err := p.silence(ctx); err != nil {
		return err
	}
	return p.waitUntil(ctx, s.For, s.Until)
}

func (s *Toxic) play(ctx context.Context, p *branch) error {
	if s.Remove != "" {
		return p.call(ctx, s.At, "toxic.remove", map[string]string{"name": toxicName(s.Remove)}, nil)
	}
	spec := s.Spec
	spec.Name = toxicName(spec.Name)
	spec.Attributes = p.seeded(spec.Attributes, false)
	if err := p.call(ctx, s.At, "toxic.add", spec, nil); err != nil {
		return err
	}
	if s.For > 0 {
		p.background.Go(func() { p.removeLater(ctx, s.At, spec.Name, s.For) })
	}
	return nil
}

// toxicName keeps a scenario's toxics apart from those of the lab, which may have
// the same default name.
func toxicName(name string) string { return "play_" + name }

// removeLater removes a toxic after its time. What the end of the play cuts short
// is left to the restoring.
func (p *player) removeLater(ctx context.Context, node, name string, after time.Duration) {
	if p.wait(ctx, after) != nil {
		return
	}
	if err := p.call(ctx, node, "toxic.remove", map[string]string{"name": name}, nil); err != nil && ctx.Err() == nil {
		p.fail(err)
	}
}

func (s *Reset) play(ctx context.Context, p *branch) error {
	return p.call(ctx, s.At, "reset", struct{}{}, nil)
}

func (s *Drain) play(ctx context.Context, p *branch) error {
	return p.call(ctx, s.At, "drain", map[string]time.Duration{"grace": s.Grace}, nil)
}

func (s *FlushNAT) play(ctx context.Context, p *branch) error {
	return p.call(ctx, s.At, "flush", struct{}{}, nil)
}

func (s *Restart) play(ctx context.Context, p *branch) error {
	if s.Close != nil {
		if err := p.call(ctx, s.Node, "close", map[string]any{"ids": p.ids(), "code": *s.Close, "down": true}, nil); err != nil {
			return err
		}
	}
	return p.replace(ctx, s.Node, s.Down, "restart", map[string]time.Duration{"down": s.Down})
}

// replace asks a node for something that replaces its process, and goes on at once: the node
// is down until it is ready again and was told what it has to know.
func (p *player) replace(ctx context.Context, node string, down time.Duration, method string, params any) error {
	from := p.rec.mark()
	if err := p.call(ctx, node, method, params, nil); err != nil {
		return err
	}
	back := make(chan struct{})
	p.mu.Lock()
	p.down[node] = back
	p.mu.Unlock()
	p.background.Go(func() {
		if err := p.comeBack(ctx, node, from, down); err != nil && ctx.Err() == nil {
			p.fail(err)
		}
		p.mu.Lock()
		delete(p.down, node)
		p.mu.Unlock()
		close(back)
	})
	return nil
}

// comeBack tells a node that was restarted again what it was told before.
func (p *player) comeBack(ctx context.Context, node string, from int, down time.Duration) error {
	if err := p.ready(ctx, node, from, down); err != nil {
		return err
	}
	p.mu.Lock()
	intercepted, talking := slices.Contains(p.intercepted, node), p.talking
	p.mu.Unlock()
	if intercepted {
		if err := p.setIntercept(ctx, node, true); err != nil {
			return err
		}
	}
	if talking.includes(byServer) && slices.Contains(p.servers(), node) {
		return p.serverTalk(ctx, node, talking)
	}
	return nil
}

func (s *Pause) play(ctx context.Context, p *branch) error {
	if err := p.pause(ctx, s.Node); err != nil {
		return err
	}
	p.rec.note(trace.Event{Type: trace.Paused, Detail: s.Node})
	waited := p.wait(ctx, s.For)
	// A node must not stay paused because the play was interrupted.
	resuming, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreLimit)
	defer cancel()
	err := p.resume(resuming, s.Node)
	p.rec.note(trace.Event{Type: trace.Resumed, Detail: s.Node})
	return errors.Join(waited, err)
}

// speech is who sends numbered messages, how long ones and at which interval. The zero
// value is silence.
type speech struct {
	every time.Duration
	by    string
	size  int
}

// includes says whether a side sends.
func (s speech) includes(side string) bool { return s.every > 0 && (s.by == byBoth || s.by == side) }

// talk lets clients and servers talk, if they do not do so already at that interval.
func (p *player) talk(ctx context.Context, s speech) error {
	before, changed := p.setTalking(s)
	if !changed {
		return nil
	}
	var err error
	switch ids := own(p.sessions); {
	case len(ids) == 0: // programs talk as they like
	case s.includes(byClient):
		err = p.call(ctx, p.client, "session.talk", map[string]any{"ids": ids, "interval": s.every, "size": s.size}, nil)
	case before.includes(byClient):
		err = p.call(ctx, p.client, "session.quiet", map[string]any{"ids": ids}, nil)
	}
	if err != nil {
		return err
	}
	for _, server := range p.up(p.servers()) {
		switch {
		case s.includes(byServer):
			err = p.serverTalk(ctx, server, s)
		case before.includes(byServer):
			err = p.callNow(ctx, server, "quiet", map[string]any{"ids": p.ids()}, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *player) serverTalk(ctx context.Context, server string, s speech) error {
	return p.callNow(ctx, server, "talk", map[string]any{"ids": p.ids(), "interval": s.every, "size": s.size}, nil)
}

// silence ends all talk.
func (p *player) silence(ctx context.Context) error { return p.talk(ctx, speech{}) }

// setTalking notes who talks and reports who did before, and whether that changes anything.
func (p *player) setTalking(s speech) (before speech, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before = p.talking
	p.talking = s
	return before, before != s
}

// up leaves out the nodes that are being restarted: they are silent, and will be
// told what they have to know when they are back.
func (p *player) up(nodes []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(nodes, func(n string) bool { _, down := p.down[n]; return down })
}
