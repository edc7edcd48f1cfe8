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
	for i, step := range p.play.Scenario.Steps {
		p.o.Progress("%s: step %d of %d: %s", p.play.Scenario.Name, i+1, len(p.play.Scenario.Steps), step)
		p.rec.note(trace.Event{Type: trace.StepStart, Seq: int64(i + 1), Detail: step.String()})
		if err := step.play(ctx, p); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, step, err)
		}
		p.rec.note(trace.Event{Type: trace.StepEnd, Seq: int64(i + 1), Detail: step.String()})
	}
	return p.silence(ctx)
}

func (s *Talk) play(ctx context.Context, p *player) error {
	if err := p.talk(ctx, s.Every); err != nil {
		return err
	}
	return p.wait(ctx, s.For)
}

func (s *Quiet) play(ctx context.Context, p *player) error {
	if err := p.silence(ctx); err != nil {
		return err
	}
	return p.wait(ctx, s.For)
}

func (s *Toxic) play(ctx context.Context, p *player) error {
	if s.Remove != "" {
		return p.call(ctx, s.At, "toxic.remove", map[string]string{"name": toxicName(s.Remove)}, nil)
	}
	spec := s.Spec
	spec.Name = toxicName(spec.Name)
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

func (s *Reset) play(ctx context.Context, p *player) error {
	return p.call(ctx, s.At, "reset", struct{}{}, nil)
}

func (s *FlushNAT) play(ctx context.Context, p *player) error {
	return p.call(ctx, s.At, "flush", struct{}{}, nil)
}

func (s *Restart) play(ctx context.Context, p *player) error {
	from := p.rec.mark()
	if err := p.call(ctx, s.Node, "restart", map[string]time.Duration{"down": s.Down}, nil); err != nil {
		return err
	}
	back := make(chan struct{})
	p.mu.Lock()
	p.down[s.Node] = back
	p.mu.Unlock()
	p.background.Go(func() {
		if err := p.comeBack(ctx, s.Node, from, s.Down); err != nil && ctx.Err() == nil {
			p.fail(err)
		}
		p.mu.Lock()
		delete(p.down, s.Node)
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
	if talking > 0 && slices.Contains(p.servers(), node) {
		return p.serverTalk(ctx, node, talking)
	}
	return nil
}

func (s *Pause) play(ctx context.Context, p *player) error {
	if err := p.lab.Pause(ctx, s.Node); err != nil {
		return err
	}
	p.rec.note(trace.Event{Type: trace.Paused, Detail: s.Node})
	waited := p.wait(ctx, s.For)
	// A node must not stay paused because the play was interrupted.
	resuming, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreLimit)
	defer cancel()
	err := p.lab.Resume(resuming, s.Node)
	p.rec.note(trace.Event{Type: trace.Resumed, Detail: s.Node})
	return errors.Join(waited, err)
}

// talk lets clients and servers talk, if they do not do so already at that interval.
func (p *player) talk(ctx context.Context, interval time.Duration) error {
	if !p.setTalking(interval) {
		return nil
	}
	err := p.call(ctx, p.client, "session.talk", map[string]any{"ids": p.ids(), "interval": interval}, nil)
	if err != nil {
		return err
	}
	for _, server := range p.up(p.servers()) {
		if err := p.serverTalk(ctx, server, interval); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) serverTalk(ctx context.Context, server string, interval time.Duration) error {
	return p.callNow(ctx, server, "talk", map[string]any{"ids": p.ids(), "interval": interval}, nil)
}

// silence ends all talk.
func (p *player) silence(ctx context.Context) error {
	if !p.setTalking(0) {
		return nil
	}
	ids := map[string]any{"ids": p.ids()}
	if err := p.call(ctx, p.client, "session.quiet", ids, nil); err != nil {
		return err
	}
	for _, server := range p.up(p.servers()) {
		if err := p.callNow(ctx, server, "quiet", ids, nil); err != nil {
			return err
		}
	}
	return nil
}

// setTalking notes the interval of talk and reports whether it is another one.
func (p *player) setTalking(interval time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.talking != interval
	p.talking = interval
	return changed
}

// up leaves out the nodes that are being restarted: they are silent, and will be
// told what they have to know when they are back.
func (p *player) up(nodes []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(nodes, func(n string) bool { _, down := p.down[n]; return down })
}
