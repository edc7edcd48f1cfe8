package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// prepare changes the lab for the play: settings, and nodes that will have
// toxics take connections over from the start, so that a toxic finds them.
func (p *player) prepare(ctx context.Context) error {
	for _, c := range p.play.With {
		if err := p.change(ctx, c); err != nil {
			return err
		}
	}
	for _, step := range p.play.Scenario.Steps {
		switch s := step.(type) {
		case *Toxic:
			if err := p.intercept(ctx, s.At); err != nil {
				return err
			}
		case *Reset:
			if err := p.intercept(ctx, s.At); err != nil {
				return err
			}
		}
	}
	return nil
}

// change changes a node's settings and has them changed back at the end.
func (p *player) change(ctx context.Context, c Change) error {
	spec, _ := p.plan.Node(c.Node)
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(c.Settings, &keys); err != nil {
		return fmt.Errorf("settings of node %s: %w", c.Node, err)
	}
	var names []string
	for k := range keys {
		names = append(names, k)
	}
	before := selectKeys(spec.Settings, names)
	p.undo = append(p.undo, func(ctx context.Context) error { return p.configure(ctx, c.Node, before) })
	return p.configure(ctx, c.Node, c.Settings)
}

// configure changes settings of a node and waits until it is ready again.
func (p *player) configure(ctx context.Context, node string, settings json.RawMessage) error {
	from := p.rec.mark()
	if err := p.call(ctx, node, "configure", map[string]any{"settings": settings}, nil); err != nil {
		return err
	}
	return p.ready(ctx, node, from, 0)
}

// ready waits until a node that was restarted says that it is ready.
func (p *player) ready(ctx context.Context, node string, from int, down time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.wall(down)+readyLimit, fmt.Errorf("node %s was not ready again after a restart", node))
	defer cancel()
	return p.rec.wait(ctx, from, trace.OfNode(node), trace.OfType(trace.Ready))
}

// intercept lets a node take over new connections, if it is one that otherwise
// leaves them to its kernel, and notes its toxics, to be restored at the end.
func (p *player) intercept(ctx context.Context, node string) error {
	if slices.Contains(p.intercepted, node) {
		return nil
	}
	p.mu.Lock()
	p.intercepted = append(p.intercepted, node)
	p.mu.Unlock()
	var before []topology.ToxicSpec
	if err := p.call(ctx, node, "toxic.list", struct{}{}, &before); err != nil {
		return err
	}
	p.undo = append(p.undo, func(ctx context.Context) error {
		return errors.Join(p.restoreToxics(ctx, node, before), p.setIntercept(ctx, node, false))
	})
	return p.setIntercept(ctx, node, true)
}

// setIntercept turns interception on or off. A node that ends TCP anyway does not know it.
func (p *player) setIntercept(ctx context.Context, node string, on bool) error {
	err := p.callNow(ctx, node, "intercept", map[string]bool{"on": on}, nil)
	var remote *control.RemoteError
	if errors.As(err, &remote) && remote.Unknown() {
		return nil
	}
	return err
}

// restoreToxics makes a node's toxics what they were.
func (p *player) restoreToxics(ctx context.Context, node string, before []topology.ToxicSpec) error {
	var now []topology.ToxicSpec
	if err := p.call(ctx, node, "toxic.list", struct{}{}, &now); err != nil {
		return err
	}
	has := func(all []topology.ToxicSpec, name string) bool {
		return slices.ContainsFunc(all, func(s topology.ToxicSpec) bool { return s.Name == name })
	}
	var errs []error
	for _, s := range now {
		if !has(before, s.Name) {
			errs = append(errs, p.call(ctx, node, "toxic.remove", map[string]string{"name": s.Name}, nil))
		}
	}
	for _, s := range before {
		if !has(now, s.Name) {
			errs = append(errs, p.call(ctx, node, "toxic.add", s, nil))
		}
	}
	return errors.Join(errs...)
}

// start starts every session and waits until each is open, or has given up.
func (p *player) start(ctx context.Context) error {
	p.undo = append(p.undo, p.stop)
	for _, s := range p.sessions {
		err := p.call(ctx, p.client, "session.start", map[string]any{
			"id": s.id, "name": s.strategy, "strategy": s.settings, "path": p.path,
		}, nil)
		if err != nil {
			return err
		}
	}
	return p.opened(ctx)
}

// errSlow says that sessions were not open in time; they are judged as they are.
var errSlow = errors.New("sessions were not open in time")

// opened waits until each session is open at both ends, or has given up.
func (p *player) opened(ctx context.Context) error {
	bounded, cancel := context.WithTimeoutCause(ctx, openLimit, errSlow)
	defer cancel()
	err := p.rec.until(bounded, func(events []trace.Event) bool {
		open, accepted := make(map[string]bool), make(map[string]bool)
		for _, e := range events {
			switch e.Type {
			case trace.Open:
				open[e.Session] = true
			case trace.Accepted:
				accepted[e.Session] = true
			case trace.ReconnectGaveUp:
				open[e.Session], accepted[e.Session] = true, true
			}
		}
		for _, s := range p.sessions {
			if !open[s.id] || !accepted[s.id] {
				return false
			}
		}
		return true
	})
	if errors.Is(err, errSlow) {
		return nil
	}
	return err
}

// servers are the nodes that have accepted one of the sessions.
func (p *player) servers() []string {
	var names []string
	ids := p.ids()
	for _, e := range p.rec.snapshot() {
		if e.Type == trace.Accepted && slices.Contains(ids, e.Session) && !slices.Contains(names, e.Node) {
			names = append(names, e.Node)
		}
	}
	return names
}

// stop ends all sessions and lets the servers forget them.
func (p *player) stop(ctx context.Context) error {
	ids := map[string]any{"ids": p.ids()}
	errs := []error{p.call(ctx, p.client, "session.stop", ids, nil)}
	for _, server := range p.servers() {
		errs = append(errs, p.call(ctx, server, "forget", ids, nil))
	}
	return errors.Join(errs...)
}
