package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/toxics"
)

// lastWords is how long a client that was told of the end may take to end its side.
const lastWords = 2 * time.Second

// Who ended a connection, beside what package toxics knows.
const (
	byLifetime = "lifetime"
	byLimit    = "limit"
	byDrain    = "drain"
)

// closeDropped is the detail of a connection whose close frame was kept back.
const closeDropped = "close frame dropped"

// tunnel is a connection after its Upgrade: bytes pass unchanged both ways, while the
// frames that they make are followed, and timers run. It ends with its connections, or
// when the proxy ends it.
type tunnel struct {
	proxy *proxy
	// pair records how it ends; abort resets the client's connection; cancel closes
	// it, whatever is still under way.
	pair   *relay.Pair
	abort  func()
	cancel context.CancelFunc

	client, upstream net.Conn

	start time.Time
	// active is when the last activity was, in nanoseconds after start.
	active atomic.Int64

	// up is followed by who reads the client.
	up frameReader

	// writing is held by who writes to the client, and guards the fields below.
	writing sync.Mutex
	down    frameReader
	scratch []byte
	opened  bool // the client has the answer to its Upgrade
	told    bool // the client has been told of the end: nothing else goes to it

	ending sync.Once
	ended  atomic.Bool
}

func newTunnel(p *proxy, conn *clientConn, client, upstream net.Conn, frames bool) *tunnel {
	follow := frameReader{
		maxFrame: uint64(p.settings.MaxFrame), maxMessage: uint64(p.settings.MaxMessage),
		stopAtClose: p.settings.CloseFrames == drop, opaque: !frames,
	}
	return &tunnel{
		proxy: p, pair: conn.pair, abort: conn.abort, cancel: conn.cancel,
		client: client, upstream: upstream, start: time.Now(), up: follow, down: follow,
	}
}

// open writes the head of the answer to the client. From when the client has it the
// tunnel can be ended, so it has to be known before.
func (t *tunnel) open(head []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.told {
		return net.ErrClosed
	}
	_, err := t.client.Write(head)
	t.opened = err == nil
	return err
}

// run carries bytes until the tunnel is over.
func (t *tunnel) run(ctx context.Context) {
	s := t.proxy.settings
	if s.IdleTimeout > 0 {
		idle := t.watch(t.proxy.env.Wall(s.IdleTimeout))
		defer idle()
	}
	if s.MaxLifetime > 0 {
		timer := time.AfterFunc(t.proxy.env.Wall(s.MaxLifetime), func() { t.end(byLifetime, s.OnLifetime, "") })
		defer timer.Stop()
	}
	upstream := t.upstream
	if s.OnReset == endFIN {
		upstream = &tunnelUpstream{Conn: upstream, tunnel: t}
	}
	toxics.NewChain(1).Pipe(ctx, &tunnelClient{Conn: t.client, tunnel: t}, upstream, toxics.Options{})
}

// watch ends the tunnel after a silence. It returns what ends the watch.
func (t *tunnel) watch(limit time.Duration) (stop func()) {
	var mu sync.Mutex
	var timer *time.Timer
	stopped := false
	check := func() {
		rest := limit - (time.Since(t.start) - time.Duration(t.active.Load()))
		mu.Lock()
		over := rest <= 0 && !stopped
		if rest > 0 && !stopped {
			timer.Reset(rest)
		}
		mu.Unlock()
		if over {
			t.end(toxics.ByIdle, t.proxy.settings.OnIdle, "")
		}
	}
	mu.Lock()
	timer = time.AfterFunc(limit, check)
	mu.Unlock()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// touch notes bytes that pass; data says whether some were of a data frame.
func (t *tunnel) touch(direction string, data bool) {
	switch t.proxy.settings.Activity {
	case activityData:
		if !data {
			return
		}
	case activityUpstream, activityDownstream:
		if direction != t.proxy.settings.Activity {
			return
		}
	}
	t.active.Store(int64(time.Since(t.start)))
}

// end ends the tunnel, once: by says why, how what the client sees, detail what is
// recorded of it ("" for how).
func (t *tunnel) end(by, how, detail string) {
	t.ending.Do(func() {
		if detail == "" {
			detail = how
		}
		t.pair.Ends(by, detail)
		t.ended.Store(true)
		time.AfterFunc(lastWords, t.cancel) // it may be over long before
		code, err := strconv.Atoi(how)
		switch {
		case how == endReset:
			t.abort()
		case err == nil && t.tell(closeFrame(code, "")):
			// It reads on until the client has ended its side as well.
		default:
			_ = t.client.Close() // what it still sends is answered with a RST, as of any closed socket
		}
		_ = t.upstream.Close()
	})
}

// tell writes last words to the client, and ends the half that we write. It returns
// false where that is not possible: in the middle of a frame.
func (t *tunnel) tell(words []byte) bool {
	_ = t.client.SetWriteDeadline(time.Now().Add(lingerTimeout)) // who writes to a client that does not read lets go then
	t.writing.Lock()
	defer t.writing.Unlock()
	before := t.told
	t.told = true
	if before || !t.opened || !t.down.between() {
		return false
	}
	if _, err := t.client.Write(words); err != nil {
		return false
	}
	endHalf(t.client)
	return true
}

// endHalf ends the half that we write, at every layer: a FIN behind TLS's close_notify.
func endHalf(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	_ = half.CloseWrite() // the client has gone: its reader tells
	if wrapper, ok := c.(interface{ NetConn() net.Conn }); ok {
		endHalf(wrapper.NetConn())
	}
}

// stopped ends the tunnel because of a frame that came from a side.
func (t *tunnel) stopped(from string, err error) {
	if errors.Is(err, errCloseFrame) {
		t.end(from, endFIN, closeDropped)
		return
	}
	t.end(byLimit, strconv.Itoa(websocket.CloseMessageTooBig), fmt.Sprintf("from the %s: %v", from, err))
}

// tunnelClient is the client's connection as the pipe sees it: what is read from it and
// written to it is followed.
type tunnelClient struct {
	net.Conn // the client's
	*tunnel
	// raw is what is read into, waiting what has been read and is not taken yet.
	raw     []byte
	room    []byte
	waiting []byte
	err     error
	// stop ends the tunnel once what waits is taken.
	stop error
}

// NetConn returns the connection itself.
func (c *tunnelClient) NetConn() net.Conn { return c.client }

// Read returns what of the client's bytes goes on.
func (c *tunnelClient) Read(b []byte) (int, error) {
	for len(c.waiting) == 0 {
		if c.stop != nil {
			c.stopped(toxics.ByClient, c.stop)
			c.stop = nil
		}
		if c.err != nil {
			return 0, c.err
		}
		if c.raw == nil {
			c.raw = make([]byte, 4<<10)
		}
		n, err := c.client.Read(c.raw)
		c.err = err
		if c.ended.Load() {
			continue // it is listened to until its end, no more
		}
		pass, data, stop := c.up.feed(c.room[:0], c.raw[:n])
		if n > 0 {
			c.touch(activityUpstream, data)
		}
		if err != nil {
			pass = append(pass, c.up.rest()...)
		}
		c.room, c.waiting, c.stop = pass, pass, stop
	}
	n := copy(b, c.waiting)
	c.waiting = c.waiting[n:]
	return n, nil
}

// Write writes what goes on to the client.
func (c *tunnelClient) Write(b []byte) (int, error) {
	stop, err := c.write(b)
	if stop != nil {
		c.stopped(toxics.ByServer, stop)
		return len(b), nil
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *tunnelClient) write(b []byte) (stop, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.told {
		return nil, nil
	}
	var data bool
	c.scratch, data, stop = c.down.feed(c.scratch[:0], b)
	c.touch(activityDownstream, data)
	if len(c.scratch) > 0 {
		if _, err = c.client.Write(c.scratch); err != nil {
			return nil, err
		}
	}
	return stop, nil
}

// CloseWrite ends our half of the client's connection.
func (c *tunnelClient) CloseWrite() error {
	c.writing.Lock()
	if rest := c.down.rest(); !c.told && len(rest) > 0 {
		_, _ = c.client.Write(rest) // a stream that breaks off in a header breaks off there
	}
	c.told = true
	c.writing.Unlock()
	if half, ok := c.client.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.client.Close()
}

// tunnelUpstream is the upstream's connection where its RST is not passed on.
type tunnelUpstream struct {
	net.Conn
	tunnel *tunnel
}

// NetConn returns the connection itself.
func (c *tunnelUpstream) NetConn() net.Conn { return c.Conn }

// CloseWrite ends our half of the connection.
func (c *tunnelUpstream) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}

// Read ends the tunnel with a FIN where the upstream has reset the connection.
func (c *tunnelUpstream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, syscall.ECONNRESET) {
		c.tunnel.end(toxics.ByServer, endFIN, "reset by the server")
		err = net.ErrClosed // as the client's side is by now
	}
	return n, err
}

// Write passes over that the upstream has reset the connection: the reader tells.
func (c *tunnelUpstream) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		c.tunnel.end(toxics.ByServer, endFIN, "reset by the server")
		err = net.ErrClosed
	}
	return n, err
}
