package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
	for step := range every(p.play.Scenario.Steps) {
		switch s := step.(type) {
		case *Toxic:
			if err := p.intercept(ctx, s.At); err != nil {
				return err
			}
		case *AddressChange:
			// Sessions end before the address is another one again.
			at := place{s.At, s.place(p.plan)}
			p.restoreBy(func(ctx context.Context) error { return p.restoreAddress(ctx, at) })
		case *Link:
			if err := p.restoreLink(ctx, s.Link); err != nil {
				return err
			}
		case *Sleep:
			for _, l := range s.links(p.plan) {
				if err := p.restoreLink(ctx, l); err != nil {
					return err
				}
			}
		case *Configure:
			before, err := s.before(p.plan)
			if err != nil {
				return err
			}
			p.restoreBy(func(ctx context.Context) error { return p.configure(ctx, s.Node, before) })
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
	before, err := settingsBefore(spec, c.Settings)
	if err != nil {
		return fmt.Errorf("settings of node %s: %w", c.Node, err)
	}
	p.restoreBy(func(ctx context.Context) error { return p.configure(ctx, c.Node, before) })
	return p.configure(ctx, c.Node, c.Settings)
}

// settingsBefore returns the keys of a change as the plan has them.
func settingsBefore(spec *topology.NodeSpec, change json.RawMessage) (json.RawMessage, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(change, &keys); err != nil {
		return nil, err
	}
	return settingsOf(spec.Settings, slices.Sorted(maps.Keys(keys)))
}

// settingsOf returns these keys of a node's settings; one that they leave out is null,
// which takes it out again (RFC 7396).
func settingsOf(settings json.RawMessage, names []string) (json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(settings, &all); err != nil {
		return nil, err
	}
	keys := make(map[string]json.RawMessage)
	for _, name := range names {
		keys[name] = all[name] // nil is encoded as null
	}
	return mustJSON(keys), nil
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
	p.restoreBy(func(ctx context.Context) error {
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
	p.restoreBy(p.stop)
	if err := p.startOwn(ctx); err != nil {
		return err
	}
	if err := p.launchAll(ctx); err != nil {
		return err
	}
	return p.opened(ctx)
}

// startOwn starts the sessions that the client node keeps, all at the same moment: their keepalives are to
// be in step.
func (p *player) startOwn(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range p.sessions {
		if s.program != nil {
			continue
		}
		group.Go(func() error {
			return p.call(ctx, p.client, "session.start", map[string]any{
				"id": s.id, "name": s.strategy, "strategy": s.settings, "path": p.path, "seed": p.seedOf(s.strategy),
			}, nil)
		})
	}
	return group.Wait()
}

// errSlow says that sessions were not open in time; they are judged as they are.
var errSlow = errors.New("sessions were not open in time")

// enoughTries is how many failed attempts say that there is no connection to wait for: those that
// have one would lose it to the silence meanwhile.
const enoughTries = 2

// opened waits until each session is open at both ends, has given up, or has failed often enough.
func (p *player) opened(ctx context.Context) error {
	bounded, cancel := context.WithTimeoutCause(ctx, p.patience(), errSlow)
	defer cancel()
	err := p.rec.until(bounded, func(events []trace.Event) bool {
		open, accepted := make(map[string]bool), make(map[string]bool)
		failed := make(map[string]int)
		for _, e := range events {
			switch e.Type {
			case trace.Open:
				open[e.Session] = true
			case trace.Accepted:
				accepted[e.Session] = true
			case trace.ReconnectGaveUp, trace.ProgramEnded:
				open[e.Session], accepted[e.Session] = true, true
			case trace.DialFailed:
				failed[e.Session]++
			}
		}
		for _, s := range p.sessions {
			if failed[s.id] < enoughTries && (!open[s.id] && s.program == nil || !accepted[s.id]) {
				return false
			}
		}
		return true
	})
	if !errors.Is(err, errSlow) {
		return err
	}
	opened := trace.OfType(trace.Open)
	if len(p.servers()) == 0 && slices.ContainsFunc(p.rec.snapshot(), opened) {
		return fmt.Errorf("%s is connected to what keeps no account of the messages that arrive: scenarios need a node of kind server", p.client)
	}
	return nil
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
	var errs []error
	if own := own(p.sessions); len(own) > 0 {
		errs = append(errs, p.call(ctx, p.client, "session.stop", map[string]any{"ids": own}, nil))
	}
	for _, server := range p.servers() {
		errs = append(errs, p.call(ctx, server, "forget", ids, nil))
	}
	return errors.Join(errs...)
}
