// Package relay is the one home of what a node does with the connections that it
// carries: it puts each pair through the node's toxics, answers the host's requests
// about them, and records what happens.
package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
	"github.com/wslab/wslab/toxics"
)

// Relay carries the connections of one node. It is safe for concurrent use, except
// that Idle and the hooks are set before the first Pipe.
type Relay struct {
	// Idle closes a pair (FIN to both sides) after this much lab time without a byte
	// from either side; 0 means never.
	Idle time.Duration

	env   *node.Env
	chain *toxics.Chain

	// changing serializes changes of the chain together with their hooks and events.
	changing sync.Mutex
	onAdd    []func(context.Context, topology.ToxicSpec) error
	onToxics []func(int)
}

// New returns a relay with the toxics of the node's spec, and registers what every
// carrier answers: toxic.add, toxic.update, toxic.remove, toxic.list and reset.
func New(env *node.Env) (*Relay, error) {
	r := &Relay{env: env, chain: toxics.NewChain(env.Spec.Speed)}
	for _, spec := range env.Spec.Toxics {
		if _, err := r.Add(context.Background(), spec); err != nil {
			return nil, err
		}
	}
	r.handle()
	return r, nil
}

// OnAdd registers what is called before a toxic is added, with its spec as it was
// given. An error refuses the toxic.
func (r *Relay) OnAdd(f func(context.Context, topology.ToxicSpec) error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	r.onAdd = append(r.onAdd, f)
}

// OnToxics registers what is called when toxics have come or gone, or one that OnAdd
// was told of was refused, with how many there are; and once now.
func (r *Relay) OnToxics(f func(n int)) {
	r.changing.Lock()
	defer r.changing.Unlock()
	r.onToxics = append(r.onToxics, f)
	f(len(r.chain.List()))
}

// Pipe carries bytes between a connection that was taken and the one that was opened
// for it, until the pair is over, and records relay.open, relay.closed and what toxics do.
// flow and next are the two connections as the node's neighbours see them. Both
// connections are closed when it returns. The end of ctx closes them.
func (r *Relay) Pipe(ctx context.Context, client, server net.Conn, flow, next trace.Flow) toxics.Outcome {
	p := r.Pair(flow)
	p.Opened(next)
	return p.Pipe(ctx, client, server)
}

// Add adds a toxic, to open connections as well.
func (r *Relay) Add(ctx context.Context, spec topology.ToxicSpec) (topology.ToxicSpec, error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	defer r.changed() // after an error as well: what onAdd has prepared is not needed then
	for _, f := range r.onAdd {
		if err := f(ctx, spec); err != nil {
			return spec, fmt.Errorf("toxic of type %s: %w", spec.Type, err)
		}
	}
	spec, err := r.chain.Add(spec)
	if err != nil {
		return spec, err
	}
	r.record(trace.ToxicAdded, spec)
	return spec, nil
}

// Remove removes a toxic; see [toxics.Chain.Remove].
func (r *Relay) Remove(name string) (topology.ToxicSpec, error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	spec, err := r.chain.Remove(name)
	if err != nil {
		return spec, err
	}
	r.record(trace.ToxicRemoved, spec)
	r.changed()
	return spec, nil
}

// Update changes the attributes of a toxic; see [toxics.Chain.Update].
func (r *Relay) Update(spec topology.ToxicSpec) (topology.ToxicSpec, error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	spec, err := r.chain.Update(spec)
	if err != nil {
		return spec, err
	}
	r.record(trace.ToxicUpdated, spec)
	return spec, nil
}

// Toxics lists the toxics.
func (r *Relay) Toxics() []topology.ToxicSpec { return r.chain.List() }

// Reset resets (RST to both ends) every open pair and returns how many there were.
func (r *Relay) Reset() int { return r.chain.Reset() }

// Open returns how many pairs are open.
func (r *Relay) Open() int { return r.chain.Pairs() }

func (r *Relay) record(t trace.Type, spec topology.ToxicSpec) {
	r.env.Record(trace.Event{Type: t, Detail: spec.Type})
}

// changed calls the hooks; the caller holds changing.
func (r *Relay) changed() {
	n := len(r.chain.List())
	for _, f := range r.onToxics {
		f(n)
	}
}

func (r *Relay) handle() {
	r.env.Handle("toxic.add", func(ctx context.Context, params json.RawMessage) (any, error) {
		spec, err := decodeSpec(params)
		if err != nil {
			return nil, err
		}
		return reply(r.Add(ctx, spec))
	})
	r.env.Handle("toxic.update", func(_ context.Context, params json.RawMessage) (any, error) {
		spec, err := decodeSpec(params)
		if err != nil {
			return nil, err
		}
		return reply(r.Update(spec))
	})
	r.env.Handle("toxic.remove", func(_ context.Context, params json.RawMessage) (any, error) {
		var p struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, fmt.Errorf("toxic.remove: %w", err)
		}
		return reply(r.Remove(p.Name))
	})
	r.env.Handle("toxic.list", func(context.Context, json.RawMessage) (any, error) {
		return r.Toxics(), nil
	})
	r.env.Handle("reset", func(context.Context, json.RawMessage) (any, error) {
		return map[string]int{"connections": r.Reset()}, nil
	})
}

// reply answers with a spec, or with nothing but the error.
func reply(spec topology.ToxicSpec, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return spec, nil
}

// decodeSpec reads a toxic from a request. A toxicity that is not given is 1.
func decodeSpec(params json.RawMessage) (topology.ToxicSpec, error) {
	spec := topology.ToxicSpec{Toxicity: 1}
	if err := json.Unmarshal(params, &spec); err != nil {
		return spec, fmt.Errorf("toxic: %w", err)
	}
	return spec, nil
}

// Accepted is the flow of a connection that was accepted: from its peer to its own address.
func Accepted(c net.Conn) trace.Flow {
	return trace.Flow{Src: addrPort(c.RemoteAddr()), Dst: addrPort(c.LocalAddr())}
}

// Opened is the flow of a connection that was dialled.
func Opened(c net.Conn) trace.Flow { return Accepted(c).Reverse() }

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{} // in-memory connections have none
}
