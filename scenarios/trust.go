package scenarios

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/lateness"
	"github.com/wslab/wslab/internal/trace"
)

// How late a process may be woken before a play cannot be trusted.
const (
	// lateNever is what any machine with something to do is late by now and then, in wall time.
	lateNever = 30 * time.Millisecond
	// lateAlways bends outages and the order of events, whatever the clients' settings, in lab time.
	lateAlways = 2 * time.Second
	// apartAtMost is how far apart sessions may be opened, in lab time.
	apartAtMost = 5 * time.Second
)

// latenessPeriod of the runner's own timer.
const latenessPeriod = 20 * time.Millisecond

// margin is by how much a timer may be late before a client does otherwise than it would.
type margin struct {
	of time.Duration // lab time
	// why says what it is the margin of.
	why string
}

// margins of a play: how long answers may take, and how much earlier than a timeout a client
// does what keeps its connection alive.
func (p *player) margins() []margin {
	all := []margin{{2 * lateAlways, "with more than " + lateAlways.String() + " in doubt neither outages nor the order of events can be told"}}
	idle := p.idleTimeouts()
	under := func(client, what string, interval time.Duration) {
		for _, node := range slices.Sorted(maps.Keys(idle)) {
			if interval > 0 && interval < idle[node] {
				all = append(all, margin{idle[node] - interval, fmt.Sprintf("%s of %s, every %s, has the idle timeout of %s, %s, to keep", what, client, interval, node, idle[node])})
			}
		}
	}
	answered := func(client, what string, timeout time.Duration) {
		if timeout > 0 {
			all = append(all, margin{timeout, fmt.Sprintf("%s of %s has to be answered within %s", what, client, timeout)})
		}
	}
	for _, s := range p.sessions {
		k := s.habits.Keepalive
		if k.Ping != nil {
			under(s.strategy, "the ping", k.Ping.Interval)
			answered(s.strategy, "the ping", k.Ping.Timeout)
		}
		if k.Heartbeat != nil {
			under(s.strategy, "the heartbeat", k.Heartbeat.Interval)
			if !k.Heartbeat.OneWay {
				answered(s.strategy, "the heartbeat", k.Heartbeat.Timeout)
			}
		}
		if k.Server != nil {
			under(s.strategy, "the server's keepalive", k.Server.Interval)
			answered(s.strategy, "the server's keepalive", k.Server.Timeout)
			if k.Watch != nil && k.Server.Interval > 0 && k.Server.Interval < k.Watch.Timeout {
				all = append(all, margin{k.Watch.Timeout - k.Server.Interval, fmt.Sprintf("%s gives up after a silence of %s, and its server speaks every %s", s.strategy, k.Watch.Timeout, k.Server.Interval)})
			}
		}
	}
	return all
}

// untrusted says why a play cannot be trusted in which the runner and the nodes were woken that late
// at worst, or "". A delay that takes half of a margin leaves too little for everything else that takes
// time. What a client waits for may meet the delays of two nodes, its own and another on the way.
func untrusted(runner time.Duration, nodes map[string]time.Duration, speed float64, margins []margin) string {
	latest := slices.SortedFunc(maps.Keys(nodes), func(a, b string) int {
		return cmp.Or(cmp.Compare(nodes[b], nodes[a]), cmp.Compare(a, b))
	})
	late, who := runner, "wslab was"
	if len(latest) > 0 && nodes[latest[0]] > runner {
		late, who = nodes[latest[0]], "node "+latest[0]+" was"
	}
	least := slices.MinFunc(margins, func(a, b margin) int { return cmp.Compare(a.of, b.of) })
	lab := func() time.Duration { return time.Duration(float64(late) * speed) }
	if 2*lab() < least.of && len(latest) > 1 && nodes[latest[1]] >= lateNever {
		late, who = nodes[latest[0]]+nodes[latest[1]], fmt.Sprintf("nodes %s and %s together were", latest[0], latest[1])
	}
	if late < lateNever || 2*lab() < least.of {
		return ""
	}
	return fmt.Sprintf("%s woken up to %s late, %s of lab time: too late to tell (%s)",
		who, late.Round(time.Millisecond), lab().Round(10*time.Millisecond), least.why)
}

// punctuality measures how late the runner and the nodes are woken during a play.
type punctuality struct {
	p     *player
	meter *lateness.Meter
	stop  context.CancelFunc
}

// watchPunctuality begins to measure.
func (p *player) watchPunctuality(ctx context.Context) *punctuality {
	p.latenessOfNodes(ctx, false)
	measuring, stop := context.WithCancel(context.WithoutCancel(ctx))
	return &punctuality{p, lateness.Start(measuring, latenessPeriod), stop}
}

// openedApart says that the sessions were opened so far apart that their keepalives are not where
// they should be in the steps, or "". start is when the steps began.
func openedApart(events []trace.Event, start time.Time, speed float64) string {
	var first, last trace.Event
	for _, e := range events {
		if e.Type != trace.Open || e.Time.After(start) {
			continue
		}
		if first.Time.IsZero() || e.Time.Before(first.Time) {
			first = e
		}
		if e.Time.After(last.Time) {
			last = e
		}
	}
	apart := time.Duration(float64(last.Time.Sub(first.Time)) * speed)
	if apart < apartAtMost {
		return ""
	}
	return fmt.Sprintf("the first session was open %s of lab time before the last one: too far apart to tell what their keepalives do", apart.Round(10*time.Millisecond))
}

// untrusted ends measuring and says why the play cannot be trusted, or "".
func (m *punctuality) untrusted(ctx context.Context, start time.Time) string {
	late := m.meter.Take()
	m.stop()
	nodes := m.p.latenessOfNodes(ctx, true)
	if apart := openedApart(m.p.rec.snapshot(), start, m.p.plan.Speed); apart != "" {
		return apart
	}
	still := make(map[string]bool)
	for _, e := range m.p.rec.snapshot() {
		if e.Type == trace.Paused || e.Type == trace.Asleep {
			still[e.Detail] = true // that its timers were late is the play's doing
		}
	}
	maps.DeleteFunc(nodes, func(name string, _ time.Duration) bool { return still[name] })
	return untrusted(late, nodes, m.p.plan.Speed, m.p.margins())
}

// latenessOfNodes asks the nodes how late they were woken at worst since they were asked last; they
// measure until they are asked to stop. Those that do not answer are left out: a verdict says more about
// that than this can.
func (p *player) latenessOfNodes(ctx context.Context, stop bool) map[string]time.Duration {
	type answer struct {
		node string
		late time.Duration
	}
	answers := make(chan *answer, len(p.nodes))
	for name := range p.nodes {
		go func() {
			a := &answer{node: name}
			if p.call(ctx, name, "lateness", map[string]bool{"stop": stop}, &a.late) != nil {
				a = nil
			}
			answers <- a
		}()
	}
	all := make(map[string]time.Duration)
	for range p.nodes {
		if a := <-answers; a != nil {
			all[a.node] = a.late
		}
	}
	return all
}
