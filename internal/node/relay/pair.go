package relay

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
	"github.com/wslab/wslab/toxics"
)

// Pair is a connection that a node has taken and what it records about it. It is for
// a node that learns only from the bytes where they have to go; others use [Relay.Pipe].
// It is safe for concurrent use.
type Pair struct {
	relay *Relay
	flow  trace.Flow
	start time.Time

	mu     sync.Mutex
	next   trace.Flow
	opened bool
	ended  *trace.Event
	idle   time.Duration
}

// Pair begins a pair with the flow of the connection that was taken.
func (r *Relay) Pair(flow trace.Flow) *Pair {
	return &Pair{relay: r, flow: flow, start: time.Now(), idle: r.Idle}
}

// SetIdle gives the pair an idle timeout of its own, in lab time, instead of the relay's.
// It is called before Pipe.
func (p *Pair) SetIdle(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = d
}

// Opened records relay.open: next is the flow of the connection that the node opened.
// A pair that opens another after it records that as well.
func (p *Pair) Opened(next trace.Flow) {
	p.mu.Lock()
	p.next, p.opened = next, true
	p.mu.Unlock()
	p.relay.env.Record(p.event(trace.Relayed))
}

// event returns an event about the pair.
func (p *Pair) event(t trace.Type) trace.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := trace.Event{Type: t, Flow: &p.flow}
	if p.opened {
		next := p.next
		e.Next = &next
	}
	return e
}

// Pipe is [Relay.Pipe] for this pair. It records relay.closed if the pair was opened.
func (p *Pair) Pipe(ctx context.Context, client, server net.Conn) toxics.Outcome {
	r := p.relay
	p.mu.Lock()
	idle := p.idle
	p.mu.Unlock()
	out := r.chain.Pipe(ctx, client, server, toxics.Options{
		Idle: r.env.Wall(idle),
		OnFire: func(spec topology.ToxicSpec) {
			e := p.event(trace.ToxicFired)
			e.Detail = spec.Type
			r.env.Record(e)
		},
	})
	e := p.event(trace.RelayClosed)
	if e.Next == nil {
		return out
	}
	e.Time = out.Ended
	e.By, e.Dur, e.Detail = out.By, out.Ended.Sub(p.start), out.Toxic.Type
	e.Count = out.Upstream + out.Downstream // bytes of both directions
	if out.Err != nil {
		e.Err = out.Err.Error()
	}
	if out.By == toxics.ByNode && out.Reset {
		e.Detail = "reset"
	}
	p.mu.Lock()
	if end := p.ended; end != nil && out.By != toxics.ByToxic {
		e.By, e.Detail, e.Err = end.By, end.Detail, ""
		e.Time, e.Dur = end.Time, end.Time.Sub(p.start)
	}
	p.mu.Unlock()
	r.env.Record(e)
	return out
}

// Ends notes that the node ends the pair now, of its own accord: relay.closed will say
// so, with by and detail, whoever's FIN comes first. The first call counts.
func (p *Pair) Ends(by, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		p.ended = &trace.Event{Time: time.Now(), By: by, Detail: detail}
	}
}

// Stripped records relay.upgrade-stripped: the request of this pair went on without its
// Upgrade and was answered with a status.
func (p *Pair) Stripped(status int) {
	e := p.event(trace.UpgradeStripped)
	e.Status = status
	p.relay.env.Record(e)
}

// Refused records relay.refused: the client of this pair was told no, with an HTTP
// status or a SOCKS5 reply.
func (p *Pair) Refused(status int, detail string) {
	e := p.event(trace.RelayRefused)
	e.Status, e.Detail = status, detail
	p.relay.env.Record(e)
}
