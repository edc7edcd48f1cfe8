// Package intercept takes TCP connections out of the packets that a firewall or a
// NAT forwards, and hands them to the node's relay, without either end noticing: the
// client goes on speaking with the server's address.
//
// New connections are taken while toxics are at the node, while the host asks for it, or
// always; connections that the kernel forwards already are adopted when that begins. What
// is not taken stays on the kernel's path, and what was taken stays with the relay until
// it ends.
package intercept

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// dialTimeout is how long the onward connection may take, in wall time: the kernel's
// SYN retransmissions do not know the lab's clock either.
const dialTimeout = 30 * time.Second

// Options of an interceptor.
type Options struct {
	// Relay carries what is taken.
	Relay *relay.Relay
	// Interfaces that clients' connections come in on. Nil means all.
	Interfaces []string
	// Ports of servers to which connections may be taken, the others being none of the
	// relay's business. Nil means all.
	Ports []PortRange
	// Always takes every connection.
	Always bool
	// Stateless says that the connection table is not used: what opens a connection is
	// known by its SYN, and connections that are open already are not found.
	Stateless bool
	// Look returns what watches the bytes of a connection; nil watches none. whole says
	// that the connection was taken from its beginning; of one that was adopted only
	// what comes from then on is seen.
	Look func(p *Pair, whole bool) Inspector
	// Slows says that a decision of an inspector may be Slow.
	Slows bool
	// Began and Ended are told about every pair; Moved when an adopted connection's
	// entry in the connection table is about to be replaced by those of its two
	// legs. All may be nil. They must not block.
	Began, Ended func(*Pair)
	Moved        func(e netfilter.Entry, p *Pair)
	// Timeout of an established connection in the connection table.
	Timeout time.Duration
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last uint16 }

// Pair is a connection that was taken: a leg towards the client and one towards the server.
type Pair struct {
	// Flow is the connection as the client has it.
	Flow trace.Flow
	// Next is the connection towards the server, as it leaves this node's socket.
	Next trace.Flow

	client, server *net.TCPConn
	cancel         context.CancelFunc
}

// Inner returns the tuple of the leg towards the client.
func (p *Pair) Inner() netfilter.Tuple { return netfilter.TCPTuple(p.Flow) }

// Outer returns the tuple of the leg towards the server.
func (p *Pair) Outer() netfilter.Tuple { return netfilter.TCPTuple(p.Next) }

// Vanish ends the pair without a packet to either end, as a machine does that has
// forgotten them.
func (p *Pair) Vanish() {
	for _, c := range []*net.TCPConn{p.client, p.server} {
		// A socket in repair mode is closed silently (tcp_close in net/ipv4/tcp.c).
		_ = control(c, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, unix.TCP_REPAIR_ON)
		})
	}
	p.cancel()
}

// Interceptor takes connections. It is safe for concurrent use.
type Interceptor struct {
	env   *node.Env
	opts  Options
	rules *rules
	table *netfilter.Conntrack

	// switching serializes turning it on and off, and adoptions.
	switching sync.Mutex
	toxics    bool // there are some
	asked     bool // by the host
	on        bool
	started   bool // packets come and go

	mu    sync.Mutex
	pairs map[trace.Flow]*Pair // by Flow, the latest

	ctx     context.Context // of all pairs
	carried sync.WaitGroup
}

// New returns an interceptor and registers what it answers: intercept {"on": bool},
// and reset, which reaches connections on the kernel's path too. Run makes it work.
func New(env *node.Env, o Options) *Interceptor {
	return &Interceptor{env: env, opts: o, pairs: make(map[trace.Flow]*Pair)}
}

// Run takes connections until ctx ends. It calls ready once it does.
func (i *Interceptor) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	i.ctx = ctx
	defer i.carried.Wait()
	defer cancel()
	listener, err := listen(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })() // Accept tells
	if i.table, err = netfilter.OpenConntrack(); err != nil {
		return err
	}
	defer func() { _ = i.table.Close() }()
	if i.rules, err = install(i.opts, listener.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		return err
	}
	i.handle()
	if err := i.update(ctx, func() {}); err != nil {
		return err
	}
	i.switching.Lock() // whoever asks for something waits until what was open is adopted
	ready()
	i.carried.Go(func() {
		defer i.switching.Unlock()
		i.begin(ctx)
	})
	for {
		c, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("intercept: %w", err)
		}
		i.carried.Go(func() { i.take(c.(*net.TCPConn)) })
	}
}

// begin adopts what the kernel forwards from before the start, if interception is on:
// until the node is ready nothing gets to the ends of a connection. The caller holds
// switching.
func (i *Interceptor) begin(ctx context.Context) {
	i.started = true
	if !i.on {
		return
	}
	if err := i.adopt(ctx); err != nil && ctx.Err() == nil {
		i.env.Logf("intercept: %v", err)
	}
}

func (i *Interceptor) handle() {
	i.opts.Relay.OnAdd(func(ctx context.Context, _ topology.ToxicSpec) error {
		return i.update(ctx, func() { i.toxics = true })
	})
	i.opts.Relay.OnToxics(func(n int) {
		if err := i.update(context.Background(), func() { i.toxics = n > 0 }); err != nil {
			i.env.Logf("intercept: %v", err)
		}
	})
	i.env.Handle("intercept", func(ctx context.Context, params json.RawMessage) (any, error) {
		var p struct {
			On bool `json:"on"`
		}
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, err
		}
		return nil, i.update(ctx, func() { i.asked = p.On })
	})
	i.env.Handle("reset", func(ctx context.Context, _ json.RawMessage) (any, error) {
		if err := i.adoptAll(ctx); err != nil {
			return nil, err
		}
		i.awaitRelay(ctx)
		return map[string]int{"connections": i.opts.Relay.Reset()}, nil
	})
}

// update changes what interception depends on, and turns it on or off. Turning it on
// adopts what the kernel forwards by then.
func (i *Interceptor) update(ctx context.Context, change func()) error {
	i.switching.Lock()
	defer i.switching.Unlock()
	change()
	on := i.opts.Always || i.toxics || i.asked
	if on == i.on {
		return nil
	}
	if err := i.rules.steer(on); err != nil {
		return err
	}
	i.on = on
	if !on || !i.started {
		return nil
	}
	return i.adopt(ctx)
}

// adoptAll adopts whatever the kernel forwards.
func (i *Interceptor) adoptAll(ctx context.Context) error {
	i.switching.Lock()
	defer i.switching.Unlock()
	return i.adopt(ctx)
}

// awaitRelay waits until the relay has what was just adopted.
func (i *Interceptor) awaitRelay(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for i.opts.Relay.Open() < len(i.Pairs()) && ctx.Err() == nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// take opens the connection towards the server that a client meant, and carries the two.
func (i *Interceptor) take(client *net.TCPConn) {
	flow := relay.Accepted(client)
	server, err := dial(i.ctx, flow, i.env.Spec.OnwardPorts, func(next trace.Flow) bool {
		return i.rules.isHole(netfilter.TCPTuple(next))
	})
	if err != nil {
		_ = client.SetLinger(0) // the client was told that it is connected: a RST takes it back
		_ = client.Close()
		i.opts.Relay.Pair(flow).Refused(0, err.Error())
		return
	}
	i.carry(&Pair{Flow: flow, Next: relay.Opened(server), client: client, server: server}, true, func() {})
}

// carry carries a pair until it is over. joined is called once it is known.
func (i *Interceptor) carry(p *Pair, whole bool, joined func()) {
	ctx, cancel := context.WithCancel(i.ctx)
	defer cancel()
	p.cancel = cancel
	i.mu.Lock()
	i.pairs[p.Flow] = p
	i.mu.Unlock()
	if i.opts.Began != nil {
		i.opts.Began(p)
	}
	joined()
	client, server := i.watch(p, whole)
	i.opts.Relay.Pipe(ctx, client, server, p.Flow, p.Next)
	i.mu.Lock()
	if i.pairs[p.Flow] == p { // and not one that has come from the same port since
		delete(i.pairs, p.Flow)
	}
	i.mu.Unlock()
	if i.opts.Ended != nil {
		i.opts.Ended(p)
	}
}

// Taken returns the open pair of a connection as the client has it, if there is one.
func (i *Interceptor) Taken(flow trace.Flow) (*Pair, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p, ok := i.pairs[flow]
	return p, ok
}

// Pairs returns the pairs that are open.
func (i *Interceptor) Pairs() []*Pair {
	i.mu.Lock()
	defer i.mu.Unlock()
	pairs := make([]*Pair, 0, len(i.pairs))
	for _, p := range i.pairs {
		pairs = append(pairs, p)
	}
	return pairs
}
