package toxics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/Shopify/toxiproxy/v2/stream"
	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"

	"github.com/wslab/wslab/topology"
)

// Errors that the methods of a Chain wrap.
var (
	// ErrExists says that there is a toxic of that name already.
	ErrExists = errors.New("there is a toxic of that name already")
	// ErrNotFound says that there is no toxic of that name.
	ErrNotFound = errors.New("no toxic of that name")
)

// Chain is an ordered list of toxics and the pairs that they act on. It is safe
// for concurrent use.
type Chain struct {
	speed float64

	mu     sync.Mutex
	toxics []*toxic
	pairs  map[*pair]struct{}
	joined uint64 // pairs so far
}

// toxic is a toxic of a chain.
type toxic struct {
	directions []stream.Direction
	// current is changed by the chain alone, under its lock; links read it at any time.
	current atomic.Pointer[version]
}

// version is what a toxic is between two updates.
type version struct {
	spec topology.ToxicSpec
	impl toxiproxy.Toxic
}

func (t *toxic) spec() topology.ToxicSpec { return t.current.Load().spec }
func (t *toxic) impl() toxiproxy.Toxic    { return t.current.Load().impl }

// aborter marks a toxic that ends connections with a RST when it closes a stream.
type aborter interface{ aborts() }

// seeded is a toxic whose seed also says which connections it acts on.
type seeded interface{ seedOfChance() uint64 }

// pairToxic is a toxic with one state for both directions of a pair.
type pairToxic interface {
	toxiproxy.Toxic
	// newState is called when the toxic comes to a pair. It must not block.
	newState(h handle) pairState
}

// pairState is what a pairToxic keeps for a pair. Stubs get a seat of it.
type pairState interface {
	// update is called when the attributes have changed.
	update(t toxiproxy.Toxic)
	// stop is called when the toxic or the pair has gone. It returns whether the
	// toxic has to stay with this pair all the same.
	stop() (stays bool)
}

// seat is the State of a pairToxic's stub: the state of the pair and the direction of
// the stub.
type seat struct {
	state     pairState
	direction stream.Direction
}

// linkToxic is a toxic with a state for each direction that it is on, which depends on the place.
type linkToxic interface {
	toxiproxy.Toxic
	// newLinkState is called with the number of the pair in its chain, from 1, and with
	// what is known of the frames in what has gone before.
	newLinkState(number uint64, d stream.Direction, frames frameTracker) any
}

// retirer is a toxic that cannot be taken out of a link at every moment.
type retirer interface {
	// retire is called when the toxic was removed, with its stub interrupted. It may
	// write to the stub's output. It returns whether it has to stay.
	retire(stub *toxiproxy.ToxicStub) (stays bool)
}

// handle is what a pairToxic can do to its pair.
type handle struct {
	pair  *pair
	toxic *toxic
}

// fired tells that the toxic acted on the pair.
func (h handle) fired() { h.pair.fired(h.toxic) }

// abort resets both connections.
func (h handle) abort() { h.pair.end(ending{by: ByToxic, toxic: h.toxic, abort: true}) }

// close closes both connections with a FIN.
func (h handle) close() { h.pair.end(ending{by: ByToxic, toxic: h.toxic, linger: true}) }

// answer writes to the client in the server's place, and closes both connections.
func (h handle) answer(b []byte) {
	h.pair.links[stream.Downstream].intervene(b)
	h.close()
}

// abortSource resets the connection that data of direction d come from, and leaves the other.
func (h handle) abortSource(d stream.Direction) { abort(h.pair.conns[d]) }

// blackHole tells that nothing will get through any more.
func (h handle) blackHole() { h.pair.blackHole(h.toxic) }

// heal takes blackHole back.
func (h handle) heal() { h.pair.heal(h.toxic) }

// NewChain returns an empty chain. Durations of toxics are divided by speed, rates
// multiplied with it; 1 is real time.
func NewChain(speed float64) *Chain {
	if speed <= 0 {
		speed = 1
	}
	return &Chain{speed: speed, pairs: make(map[*pair]struct{})}
}

// Add puts a toxic behind the others, on new connections and on those that are open,
// and returns the spec with its defaults filled in: the name TYPE_STREAM, the stream
// "downstream". A toxic that acts on the pair (nat_idle_timeout, reset) acts on both
// directions whatever its stream.
//
// Whether a toxic with a toxicity below 1 acts on a connection is decided once, when
// they meet; by its seed, if it has one, for the first connection, the second ...
func (c *Chain) Add(spec topology.ToxicSpec) (topology.ToxicSpec, error) {
	t, err := c.build(spec)
	if err != nil {
		return spec, err
	}
	spec = t.spec()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.find(spec.Name); ok {
		return spec, fmt.Errorf("toxic %q: %w", spec.Name, ErrExists)
	}
	c.toxics = append(c.toxics, t)
	for p := range c.pairs {
		p.add(t)
	}
	return spec, nil
}

// Update gives the toxic of that name new attributes, on open connections as well.
// Its type and stream cannot change; a new toxicity holds for new connections.
func (c *Chain) Update(spec topology.ToxicSpec) (topology.ToxicSpec, error) {
	n, err := c.build(spec)
	if err != nil {
		return spec, err
	}
	spec = n.spec()
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.find(spec.Name)
	if !ok {
		return spec, fmt.Errorf("toxic %q: %w", spec.Name, ErrNotFound)
	}
	t := c.toxics[i]
	if was := t.spec(); was.Type != spec.Type || was.Stream != spec.Stream {
		return was, fmt.Errorf("toxic %q is %s on %s: remove it and add another to have %s on %s",
			spec.Name, was.Type, was.Stream, spec.Type, spec.Stream)
	}
	t.current.Store(n.current.Load())
	for p := range c.pairs {
		p.update(t)
	}
	return spec, nil
}

// Remove takes a toxic away and returns what it was. Open connections stay open and
// go on without it, except for those that could not go on whole: Toxiproxy's timeout
// closes the connections that it is on (its contract), reset_peer those whose data it has
// dropped, and a connection that nat_idle_timeout has expired stays expired.
func (c *Chain) Remove(name string) (topology.ToxicSpec, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.find(name)
	if !ok {
		return topology.ToxicSpec{}, fmt.Errorf("toxic %q: %w", name, ErrNotFound)
	}
	t := c.toxics[i]
	c.toxics = slices.Delete(c.toxics, i, i+1)
	for p := range c.pairs {
		p.remove(t)
	}
	return t.spec(), nil
}

// List returns the toxics in their order.
func (c *Chain) List() []topology.ToxicSpec {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]topology.ToxicSpec, 0, len(c.toxics))
	for _, t := range c.toxics {
		list = append(list, t.spec())
	}
	return list
}

// Reset resets both connections of every open pair and returns how many pairs there
// were. The pairs end with ByNode.
func (c *Chain) Reset() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.pairs {
		p.end(ending{by: ByNode, abort: true})
	}
	return len(c.pairs)
}

// Pairs returns how many pairs are open.
func (c *Chain) Pairs() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pairs)
}

// build makes a toxic of a spec.
func (c *Chain) build(spec topology.ToxicSpec) (*toxic, error) {
	var typ *topology.ToxicType
	for _, t := range Types() {
		if t.Name == spec.Type {
			typ = t
		}
	}
	if typ == nil {
		return nil, fmt.Errorf("no toxic of type %q", spec.Type)
	}
	if spec.Stream == "" {
		spec.Stream = stream.Downstream.String()
	}
	if spec.Name == "" {
		spec.Name = spec.Type + "_" + spec.Stream
	}
	direction, err := stream.ParseDirection(spec.Stream)
	if err != nil {
		return nil, fmt.Errorf("toxic %q: stream is %q, not upstream or downstream", spec.Name, spec.Stream)
	}
	if !(spec.Toxicity >= 0 && spec.Toxicity <= 1) {
		return nil, fmt.Errorf("toxic %q: toxicity is %v, not from 0 to 1", spec.Name, spec.Toxicity)
	}
	a := typ.Attributes().(attributes)
	if len(spec.Attributes) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(spec.Attributes))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(a); err != nil {
			return nil, fmt.Errorf("toxic %q: %w", spec.Name, undecoded(typ, err))
		}
	}
	if err := a.Check(); err != nil {
		return nil, fmt.Errorf("toxic %q: %w", spec.Name, err)
	}
	if spec.Attributes, err = json.Marshal(a); err != nil {
		return nil, fmt.Errorf("toxic %q: attributes: %w", spec.Name, err)
	}
	t := &toxic{directions: []stream.Direction{direction}}
	t.current.Store(&version{spec: spec, impl: a.toxic(scale(c.speed))})
	if _, ok := t.impl().(pairToxic); ok {
		t.directions = []stream.Direction{stream.Upstream, stream.Downstream}
	}
	return t, nil
}

// undecoded says what is wrong with attributes that are not those of the type.
func undecoded(typ *topology.ToxicType, err error) error {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("attribute %s cannot be a JSON %s", wrong.Field, wrong.Value)
	}
	// Package json has no type for this one.
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		var names []string
		for _, k := range topology.Keys(typ.Attributes()) {
			names = append(names, k.Name)
		}
		return fmt.Errorf("there is no attribute %s; %s has: %s", name, typ.Name, strings.Join(names, ", "))
	}
	return fmt.Errorf("attributes: %w", err)
}

func (c *Chain) find(name string) (int, bool) {
	i := slices.IndexFunc(c.toxics, func(t *toxic) bool { return t.spec().Name == name })
	return i, i >= 0
}

// join puts a new pair under the toxics.
func (c *Chain) join(p *pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pairs[p] = struct{}{}
	c.joined++
	p.number = c.joined
	for _, t := range c.toxics {
		p.add(t)
	}
}

func (c *Chain) leave(p *pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pairs, p)
	for _, s := range p.states {
		s.stop()
	}
}

// wrapper is how Toxiproxy's stub takes a toxic. The toxicity has been decided.
func (t *toxic) wrapper() *toxiproxy.ToxicWrapper {
	v := t.current.Load()
	return &toxiproxy.ToxicWrapper{Toxic: v.impl, Name: v.spec.Name, Type: v.spec.Type, Stream: v.spec.Stream, Toxicity: 1}
}

// buffer is how many chunks the toxic wants to be waiting for it.
func (t *toxic) buffer() int {
	if b, ok := t.impl().(toxiproxy.BufferedToxic); ok {
		return b.GetBufferSize()
	}
	return 0
}

// add puts a toxic on the pair, if chance wants it.
func (p *pair) add(t *toxic) {
	chance := rand.Float64()
	if s, ok := t.impl().(seeded); ok {
		chance = rand.New(rand.NewPCG(s.seedOfChance(), p.number)).Float64()
	}
	if chance >= t.spec().Toxicity {
		return
	}
	state := func(stream.Direction, frameTracker) any { return nil }
	switch impl := t.impl().(type) {
	case pairToxic:
		s := impl.newState(handle{p, t})
		p.states[t] = s
		state = func(d stream.Direction, _ frameTracker) any { return &seat{s, d} }
	case linkToxic:
		state = func(d stream.Direction, f frameTracker) any { return impl.newLinkState(p.number, d, f) }
	case toxiproxy.StatefulToxic:
		state = func(stream.Direction, frameTracker) any { return impl.NewState() }
	}
	for _, d := range t.directions {
		p.links[d].add(t, func(f frameTracker) any { return state(d, f) })
	}
}

func (p *pair) update(t *toxic) {
	if s, ok := p.states[t]; ok {
		s.update(t.impl())
	}
	for _, d := range t.directions {
		p.links[d].update(t)
	}
}

func (p *pair) remove(t *toxic) {
	if s, ok := p.states[t]; ok {
		delete(p.states, t)
		if s.stop() {
			return
		}
	}
	for _, d := range t.directions {
		p.links[d].remove(t)
	}
}
