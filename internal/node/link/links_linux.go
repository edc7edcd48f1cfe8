package link

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/wslab/wslab/topology"
)

// Place is what has conditions, as one node sees it.
type Place struct {
	Network string `json:"network"`
	// Node whose place on the network it is; "" is the whole network.
	Node string `json:"node,omitempty"`
	// From is the hardware address of the only sender that is meant, "" for every
	// sender: what leaves a node's place is held by the others of the network.
	From string `json:"from,omitempty"`
}

// end is an interface of the node.
type end struct {
	network, ifname string
	addr            netip.Addr
	number          uint16 // of its queue
	queue           *queue // nil while nothing has to be held
	stop            context.CancelFunc
	mtu             int // as it was, 0 while it is not changed
	places          []*place
}

// place is a place with its conditions.
type place struct {
	Place
	c     Conditions
	stage *stage // nil unless packets have to be held
}

// Links are the conditions that one node carries out. It is safe for concurrent use.
type Links struct {
	node   string
	speed  float64
	record func(Place, Conditions)

	mu        sync.Mutex
	ends      []*end
	installed []rule
	meter     *meter // nil while nothing is measured
	group     sync.WaitGroup
}

// New returns links without conditions, of a node's interfaces with their names on the
// machine. Times are divided by speed, rates multiplied. record is told of every change
// of the node's own places and of its networks; it may be nil.
func New(node string, interfaces []topology.Interface, names []string, speed float64, record func(Place, Conditions)) *Links {
	l := &Links{node: node, speed: speed, record: record}
	for i, in := range interfaces {
		l.ends = append(l.ends, &end{network: in.Network, ifname: names[i], addr: in.Addr.Addr(), number: uint16(i + 1)})
	}
	return l
}

// Start sets the conditions that a node has from the start.
func (l *Links) Start(ctx context.Context, specs []topology.LinkSpec) error {
	for _, s := range specs {
		if err := l.apply(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// apply sets what a spec says.
func (l *Links) apply(ctx context.Context, s topology.LinkSpec) error {
	var c Conditions
	if len(s.Conditions) > 0 {
		if err := json.Unmarshal(s.Conditions, &c); err != nil {
			return err
		}
	}
	return l.Set(ctx, Place{s.Network, s.Node, s.From}, c)
}

// Specs are the conditions that are there, for a successor of the node's process.
func (l *Links) Specs() ([]topology.LinkSpec, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var specs []topology.LinkSpec
	for _, e := range l.ends {
		for _, p := range e.places {
			raw, err := json.Marshal(p.c)
			if err != nil {
				return nil, fmt.Errorf("conditions of network %s: %w", p.Network, err)
			}
			specs = append(specs, topology.LinkSpec{Link: topology.Link{Network: p.Network, Node: p.Node, Conditions: raw}, From: p.From})
		}
	}
	return specs, nil
}

// Close takes all conditions away, without recording it, and returns when nothing is
// held any more.
func (l *Links) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endMeter()
	var errs []error
	for _, e := range l.ends {
		e.places = nil
		errs = append(errs, l.carryOut(context.Background(), e))
	}
	l.group.Wait()
	return errors.Join(errs...)
}

// Set makes the conditions of a place what c says; none take them away. Where that fails they
// are what they were. What is held then stays held, or goes on at once where conditions come or go
// altogether; it is not lost.
func (l *Links) Set(ctx context.Context, of Place, c Conditions) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.ends, func(e *end) bool { return e.network == of.Network })
	if i < 0 {
		return fmt.Errorf("node %s is not on network %q", l.node, of.Network)
	}
	if err := c.Check(); err != nil {
		return err
	}
	if of.From != "" {
		if _, err := net.ParseMAC(of.From); err != nil {
			return fmt.Errorf("from: %w", err)
		}
	}
	e := l.ends[i]
	before := make([]place, len(e.places))
	for i, p := range e.places {
		before[i] = *p
	}
	at := slices.IndexFunc(e.places, func(p *place) bool { return p.Place == of })
	switch {
	case at >= 0 && c.None():
		e.places = slices.Delete(e.places, at, at+1)
	case at >= 0:
		e.places[at].c = c
	case !c.None():
		e.places = append(e.places, &place{Place: of, c: c})
		slices.SortStableFunc(e.places, func(a, b *place) int { return cmp.Compare(l.order(a), l.order(b)) })
	}
	if err := l.carryOut(ctx, e); err != nil {
		e.places = nil
		for _, p := range before {
			e.places = append(e.places, &p)
		}
		return errors.Join(err, l.carryOut(ctx, e))
	}
	if l.record != nil && of.From == "" {
		l.record(of, c)
	}
	return nil
}

// order is how packets go: out of their sender's place, over the network, into this node's.
func (l *Links) order(p *place) int {
	switch {
	case p.From != "":
		return 0
	case p.Node == "":
		return 1
	}
	return 2
}

// carryOut makes an interface what its places say.
func (l *Links) carryOut(ctx context.Context, e *end) error {
	if err := e.setMTU(); err != nil {
		return err
	}
	var stages []*stage
	for _, p := range e.places {
		if p.stage = l.shape(e, p); p.stage != nil {
			stages = append(stages, p.stage)
		}
	}
	if len(stages) > 0 && e.queue == nil {
		q, err := openQueue(e.number)
		if err != nil {
			return err
		}
		if err := q.bind(ctx); err != nil {
			return err
		}
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		e.queue, e.stop = q, stop
		l.group.Go(func() { _ = q.run(ctx) })
	}
	if e.queue != nil {
		if err := e.duplicate(); err != nil {
			return err
		}
		e.queue.change(stages)
	}
	var queues []*queue
	for _, other := range l.ends {
		if other.queue != nil {
			queues = append(queues, other.queue)
		}
	}
	if e.queue != nil && len(stages) == 0 {
		defer e.stop() // behind the rules, so that nothing waits in it for ever
		e.queue = nil
	}
	return l.install(queues)
}

// duplicate prepares for copies of packets, where a place asks for them.
func (e *end) duplicate() error {
	asked := slices.ContainsFunc(e.places, func(p *place) bool { return p.c.Duplicate > 0 })
	if !asked || e.queue.duplicates() {
		return nil
	}
	a, err := openAgain(e.ifname)
	if err != nil {
		return err
	}
	if err := e.queue.duplicate(a); err != nil {
		a.close()
		return err
	}
	return nil
}

// shape returns the stage of a place, nil if nothing has to be held or lost there.
func (l *Links) shape(e *end, p *place) *stage {
	wall := p.c.Wall(l.speed)
	switch {
	case !p.c.shapes():
		return nil
	case p.stage != nil:
		e.queue.update(p.stage, wall)
		return p.stage
	}
	s := newShaper(wall, l.seed(p))
	s.buffer = time.Duration(float64(queueTime) / l.speed)
	mac, _ := net.ParseMAC(p.From)
	return &stage{from: string(mac), shaper: s}
}

// seed of a place at this node. Directions that share a seed do not share their fates.
func (l *Links) seed(p *place) uint64 {
	if p.c.Seed == 0 {
		return rand.Uint64()
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %s %s", l.node, p.Network, p.Node) // never fails
	return uint64(p.c.Seed) ^ h.Sum64()
}

// install makes the rules what the interfaces need.
func (l *Links) install(queues []*queue) error {
	var rules []rule
	for _, e := range l.ends {
		r := rule{ifname: e.ifname}
		everyone := false
		for _, p := range e.places {
			r.down = r.down || p.c.Down && p.From == ""
			if p.stage == nil {
				continue
			}
			everyone = everyone || p.stage.from == ""
			r.from = append(r.from, p.stage.from)
		}
		if everyone {
			r.from = nil
		}
		if e.queue != nil {
			r.queue = e.number
		}
		if r.down || r.queue != 0 {
			rules = append(rules, r)
		}
	}
	if reflect.DeepEqual(rules, l.installed) {
		return nil
	}
	// The kernel drops what is queued when chains go: rather early than lost.
	for _, q := range queues {
		q.letGo()
	}
	l.installed = rules
	return install(rules)
}

// setMTU sets the largest packet of the interface, as it was where no place asks for one.
func (e *end) setMTU() error {
	mtu := 0
	for _, p := range e.places {
		if p.c.MTU != 0 && p.From == "" && (mtu == 0 || p.c.MTU < mtu) {
			mtu = p.c.MTU
		}
	}
	if mtu == 0 && e.mtu == 0 {
		return nil
	}
	device, err := netlink.LinkByName(e.ifname)
	if err != nil {
		return fmt.Errorf("mtu: interface %s: %w", e.ifname, err)
	}
	if e.mtu == 0 {
		e.mtu = device.Attrs().MTU
	}
	if err := netlink.LinkSetMTU(device, cmp.Or(mtu, e.mtu)); err != nil {
		return fmt.Errorf("mtu of interface %s: %w", e.ifname, err)
	}
	if mtu == 0 {
		e.mtu = 0
	}
	return nil
}

// Shown are the conditions of a place and what they have done at this node.
type Shown struct {
	Place
	Conditions Conditions `json:"conditions"`
	Counts     Counts     `json:"counts"`
}

// Show returns the places that have conditions.
func (l *Links) Show() []Shown {
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := []Shown{}
	for _, e := range l.ends {
		for _, p := range e.places {
			s := Shown{Place: p.Place, Conditions: p.c}
			if p.stage != nil {
				s.Counts = e.queue.count(p.stage)
			}
			shown = append(shown, s)
		}
	}
	return shown
}

// HandleSet answers link.set, a [topology.LinkSpec].
func (l *Links) HandleSet(ctx context.Context, params json.RawMessage) (any, error) {
	var s topology.LinkSpec
	if err := json.Unmarshal(params, &s); err != nil {
		return nil, fmt.Errorf("link.set: %w", err)
	}
	if err := l.apply(ctx, s); err != nil {
		return nil, fmt.Errorf("link.set: %w", err)
	}
	return nil, nil
}

// HandleClear answers link.clear: a place has no conditions any more.
func (l *Links) HandleClear(ctx context.Context, params json.RawMessage) (any, error) {
	var of Place
	if err := json.Unmarshal(params, &of); err != nil {
		return nil, fmt.Errorf("link.clear: %w", err)
	}
	return nil, l.Set(ctx, of, Conditions{})
}

// HandleShow answers link.show.
func (l *Links) HandleShow(context.Context, json.RawMessage) (any, error) { return l.Show(), nil }
