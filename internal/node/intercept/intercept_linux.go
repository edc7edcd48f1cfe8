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
	"errors"
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
	// Look returns what watches the bytes of a connection; nil watches none. It is called
	// for connections that were taken from their beginning.
	Look func(*Pair) Inspector
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

	mu    sync.Mutex
	pairs map[trace.Flow]*Pair // by Flow

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
	ready()
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
	if !on {
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
	server, err := dial(i.ctx, flow)
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
	var client net.Conn = p.client
	if whole && i.opts.Look != nil {
		if look := i.opts.Look(p); look != nil {
			client = &watched{Conn: p.client, inspector: look, act: func(d Decision) error { return i.act(p, d) }}
		}
	}
	i.opts.Relay.Pipe(ctx, client, p.server, p.Flow, p.Next)
	i.mu.Lock()
	delete(i.pairs, p.Flow)
	i.mu.Unlock()
	if i.opts.Ended != nil {
		i.opts.Ended(p)
	}
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

// Decision is what becomes of a connection.
type Decision struct {
	Verdict Verdict
	// Rule says why.
	Rule string
}

// Verdict on a connection.
type Verdict int

// Verdicts.
const (
	// Undecided asks for more of the client's bytes, which are held back meanwhile.
	Undecided Verdict = iota
	// Pass lets everything through from now on.
	Pass
	// Reset sends a RST to both ends.
	Reset
	// Drop swallows every packet of the connection from now on.
	Drop
)

// Inspector looks at what a client sends.
type Inspector interface {
	// Inspect is given all that the client has sent so far, each time there is more
	// of it, until it decides.
	Inspect(sent []byte) Decision
}

var errStopped = errors.New("stopped by a rule of the firewall")

// act carries out a decision that stops a connection.
func (i *Interceptor) act(p *Pair, d Decision) error {
	e := trace.Event{Type: trace.Inspected, Flow: &p.Flow, Next: &p.Next, Detail: d.Rule}
	if d.Verdict == Drop {
		if err := i.rules.blackHole(p.Inner(), p.Outer()); err != nil {
			return err
		}
	}
	i.env.Record(e)
	// The relay resets both ends of a pair of which one has died. The RSTs of a
	// connection that is a black hole by now get nowhere either.
	return errStopped
}

// watched is a client's connection whose bytes are looked at first.
type watched struct {
	net.Conn            // and not a *net.TCPConn, whose WriteTo would go round Read
	inspector Inspector // nil once decided
	act       func(Decision) error

	held []byte // back until decided
	err  error  // that came behind what is held
}

// NetConn returns the connection beneath, as tls.Conn does.
func (w *watched) NetConn() net.Conn { return w.Conn }

// CloseWrite ends the half towards the client.
func (w *watched) CloseWrite() error {
	return w.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// Read reads what the inspector has let pass. Only one goroutine may call it.
func (w *watched) Read(b []byte) (int, error) {
	for w.inspector != nil {
		chunk := make([]byte, 4<<10)
		n, err := w.Conn.Read(chunk)
		w.held = append(w.held, chunk[:n]...)
		if err != nil {
			w.inspector, w.err = nil, err // what was incomplete stays so
			break
		}
		switch d := w.inspector.Inspect(w.held); d.Verdict {
		case Pass:
			w.inspector = nil
		case Reset, Drop:
			w.inspector, w.held, w.err = nil, nil, w.act(d)
		}
	}
	if len(w.held) > 0 {
		n := copy(b, w.held)
		w.held = w.held[n:]
		return n, nil
	}
	if w.err != nil {
		return 0, w.err
	}
	return w.Conn.Read(b)
}
