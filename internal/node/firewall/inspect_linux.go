package firewall

import (
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/intercept"
)

// inspector watches one connection.
type inspector struct {
	stream *stream
	limits intercept.Limits
}

// look returns what watches each connection, or nil if there is nothing to look for.
func look(env *node.Env, i Inspection) func(*intercept.Pair, bool) intercept.Inspector {
	if !i.active() {
		return nil
	}
	limits := intercept.Limits{Delay: env.Wall(i.Slow.Delay), Rate: float64(i.Slow.Bandwidth) * env.Spec.Speed}
	return func(p *intercept.Pair, whole bool) intercept.Inspector {
		port := p.Flow.Dst.Port()
		treat := func(f finding, name string) treatment { return i.treat(f, port, name) }
		return &inspector{newStream(whole, len(i.TLSServerName) > 0, treat), limits}
	}
}

// Inspect feeds the stream. What is found is treated as the rule says.
func (i *inspector) Inspect(held []byte) (int, intercept.Decision) {
	n := i.stream.feed(held)
	switch found := i.stream.found; {
	case found != nil:
		return n, intercept.Decision{Verdict: verdict(found.action), Rule: found.rule, Limits: i.limits}
	case i.stream.over:
		return n, intercept.Decision{Verdict: intercept.Pass}
	}
	return n, intercept.Decision{}
}

// verdict is what the interceptor does for an action.
func verdict(action string) intercept.Verdict {
	switch action {
	case Drop:
		return intercept.Drop
	case BlackHole:
		return intercept.BlackHole
	case Reset:
		return intercept.Reset
	case Slow:
		return intercept.Slow
	}
	return intercept.Pass
}
