package toxics

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"

	"github.com/wslab/wslab/topology"
)

// Who ended a pair.
const (
	ByClient = "client"
	ByServer = "server"
	ByIdle   = "idle"
	ByToxic  = "toxic"
	ByNode   = "node"
)

// Outcome says how a pair ended.
type Outcome struct {
	// By is who ended it: the side whose FIN or RST came first, ByIdle, ByToxic
	// or, when the context ended, ByNode.
	By string
	// Toxic that ended it, if By is ByToxic.
	Toxic topology.ToxicSpec
	// Err is what a side died of, such as ECONNRESET; nil after an orderly end.
	Err error
	// Reset says that the connections were reset, not closed.
	Reset bool
	// Ended is when it was decided that the pair is over.
	Ended time.Time
	// Upstream and Downstream are the bytes written to the server and to the client.
	Upstream, Downstream int64
}

// Options of one pair.
type Options struct {
	// Idle closes both connections after this wall time without a byte from either
	// side; 0 means never.
	Idle time.Duration
	// OnFire is called when a toxic acts on the pair as a whole: it ended it, or
	// turned it into a black hole. It must not block, nor call the chain. May be nil.
	OnFire func(topology.ToxicSpec)
}

// Pipe carries bytes between two connections, through the toxics of the chain as
// they come and go, until the pair is over: both sides have ended, one has died, a
// toxic or the idle timer ended it, or ctx is done. It returns then, with both
// connections closed and no goroutine left.
//
// The end of a stream is carried as a half-close where the connection has CloseWrite,
// else the connection is closed. A connection that dies (RST, timeout) makes
// the other one be reset, behind the bytes that came before; "reset" is a real RST where the
// connection has SetLinger, as *net.TCPConn has, or wraps one (NetConn), else a Close.
// Behind bytes that the other side does not read a RST waits a second at most once it is
// seen; it is seen when the bytes before it have been read, or when the dead side is written to.
func (c *Chain) Pipe(ctx context.Context, client, server net.Conn, o Options) Outcome {
	p := &pair{
		chain:    c,
		conns:    [2]net.Conn{stream.Upstream: client, stream.Downstream: server},
		opts:     o,
		states:   make(map[*toxic]pairState),
		ended:    make(chan struct{}),
		opened:   time.Now(),
		lastRead: time.Now(),
	}
	p.links = [2]*link{newLink(p, stream.Upstream), newLink(p, stream.Downstream)}
	c.join(p)
	idle := p.watchIdle()
	p.links[stream.Upstream].start()
	p.links[stream.Downstream].start()
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.end(ending{by: ByNode})
	}
	idle.stop()
	c.leave(p)
	for _, l := range p.links {
		l.close()
	}
	for _, conn := range p.conns {
		_ = conn.Close() // most are closed already
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcome.Upstream = p.links[stream.Upstream].bytes.Load()
	p.outcome.Downstream = p.links[stream.Downstream].bytes.Load()
	return p.outcome
}

// pair is two connections and the two links between them. Indexes are directions:
// the connection that is the source of that direction, and its link.
type pair struct {
	chain *Chain
	conns [2]net.Conn
	links [2]*link
	opts  Options
	// opened is when the pair began, number which of the chain's it is, from 1.
	opened time.Time
	number uint64

	// states of the toxics that act on the pair; guarded by the chain.
	states map[*toxic]pairState

	mu         sync.Mutex
	outcome    Outcome
	over       bool
	linger     bool
	ended      chan struct{}
	sourceOver [2]bool
	linkOver   [2]bool
	cut        *toxic // has made the pair a black hole
	lastRead   time.Time
}

// ending says how a pair is to end.
type ending struct {
	// by is who did it; empty leaves it to whose end came first.
	by    string
	toxic *toxic
	// abort resets both connections instead of closing them.
	abort bool
	// linger closes them with a FIN even if there are bytes that nobody has read,
	// which would turn it into a RST: they are read for lingerTime.
	linger bool
}

// lingerTime is how long a peer may take to answer a FIN.
const lingerTime = time.Second

// end ends the pair, once. It does not block: the links are taken down by Pipe.
func (p *pair) end(e ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked(e)
}

func (p *pair) endLocked(e ending) {
	if p.over {
		return
	}
	p.over = true
	p.outcome.Reset, p.outcome.Ended = e.abort, time.Now()
	p.linger = e.linger
	if e.by != "" {
		p.outcome.By, p.outcome.Err = e.by, nil
	}
	if e.toxic != nil {
		p.outcome.Toxic = e.toxic.spec()
	}
	for _, c := range p.conns {
		switch {
		case e.abort:
			abort(c)
		case e.linger:
			_ = c.SetDeadline(time.Now().Add(lingerTime)) // it may be dead already
			closeWrite(c)
		default:
			_ = c.Close() // it may be closed already
		}
	}
	close(p.ended)
}

// touch notes that a byte came from a side.
func (p *pair) touch() {
	p.mu.Lock()
	p.lastRead = time.Now()
	p.mu.Unlock()
}

// sourceEnded is called when nothing more will come from the source of d.
func (p *pair) sourceEnded(d stream.Direction, err error) {
	died := !orderly(err)
	p.mu.Lock()
	p.sourceOver[d] = true
	if !closedHere(err) {
		p.blame(d, err, died)
	}
	if p.cut != nil && p.sourceOver[0] && p.sourceOver[1] {
		p.endLocked(ending{by: ByToxic, toxic: p.cut})
	}
	p.mu.Unlock()
	if died {
		p.links[d].abortAtEnd()
	}
}

// blame notes which side ended first.
func (p *pair) blame(d stream.Direction, err error, died bool) {
	if p.over || p.outcome.By != "" {
		return
	}
	p.outcome.By = ByClient
	if d == stream.Downstream {
		p.outcome.By = ByServer
	}
	if died {
		p.outcome.Err = err
	}
}

// writeFailed is called when the destination of d takes no more. The kernel tells the
// death of a connection once: a writer that learns it leaves the reader of the
// same connection with an ordinary end, so the other direction is told here.
func (p *pair) writeFailed(d stream.Direction, err error) {
	if closedHere(err) {
		return
	}
	p.mu.Lock()
	p.blame(1-d, err, true)
	p.mu.Unlock()
	p.links[1-d].abortAtEnd()
}

// linkEnded is called when a link has written everything and come to its end.
func (p *pair) linkEnded(l *link, abort bool, fired *toxic) {
	if fired != nil {
		p.end(ending{by: ByToxic, toxic: fired})
		return
	}
	if abort {
		p.end(ending{abort: true})
		return
	}
	closeWrite(l.dest)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.linkOver[l.direction] = true
	if p.linkOver[0] && p.linkOver[1] {
		p.endLocked(ending{})
	}
}

// fired tells that a toxic acted on the pair.
func (p *pair) fired(t *toxic) {
	if p.opts.OnFire != nil {
		p.opts.OnFire(t.spec())
	}
}

// blackHole makes the pair last until both sides have ended: nothing gets through
// any more, not even the end of a stream.
func (p *pair) blackHole(t *toxic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = t
	if p.sourceOver[0] && p.sourceOver[1] {
		p.endLocked(ending{by: ByToxic, toxic: t})
	}
}

// heal takes a blackHole of that toxic back.
func (p *pair) heal(t *toxic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == t {
		p.cut = nil
	}
}

// lingers says whether what still comes is read.
func (p *pair) lingers() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.linger
}

// watchIdle starts the idle timer of the pair.
func (p *pair) watchIdle() *silence {
	if p.opts.Idle <= 0 {
		return &silence{}
	}
	return watchSilence(p.opts.Idle, p.silentFor, func() { p.end(ending{by: ByIdle}) })
}

func (p *pair) silentFor() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.lastRead)
}
