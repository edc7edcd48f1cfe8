package strategy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// network is an in-memory network with one server on it. It works under virtual time.
type network struct {
	// latency one way.
	latency atomic.Int64
	// hole swallows everything, in both directions, of every connection.
	hole atomic.Bool
	// forgets is after how long a silence a connection is forgotten, as by a NAT that drops; 0 is never.
	forgets atomic.Int64
	// local is the client's address on new connections, if it is set.
	local atomic.Pointer[net.TCPAddr]
	// refuse refuses new connections.
	refuse atomic.Bool

	listener *listener
	server   *http.Server
	mu       sync.Mutex
	conns    []net.Conn
	routes   []*route
	serving  sync.WaitGroup
}

// route is the way of one connection.
type route struct {
	network *network
	// gone: it was forgotten.
	gone atomic.Bool
	// last is when something passed, in nanoseconds.
	last atomic.Int64
}

// passes says whether something that comes now is let through.
func (r *route) passes() bool {
	now := time.Now().UnixNano()
	if f := r.network.forgets.Load(); f > 0 && now-r.last.Swap(now) >= f {
		r.gone.Store(true)
	}
	return !r.gone.Load() && !r.network.hole.Load()
}

// swallow forgets the connections that are open.
func (n *network) swallow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.routes {
		r.gone.Store(true)
	}
}

// addressed is a connection with an address of one's own.
type addressed struct {
	net.Conn
	local net.Addr
}

func (a addressed) LocalAddr() net.Addr { return a.local }

// newNetwork starts a server that hands each of its connections to serve.
func newNetwork(t testing.TB, serve func(*websocket.Conn)) *network {
	t.Helper()
	n := &network{listener: &listener{conns: make(chan net.Conn), closed: make(chan struct{})}}
	n.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		defer func() { _ = ws.Close() }()
		serve(ws)
	})}
	n.serving.Go(func() { _ = n.server.Serve(n.listener) })
	return n
}

// echo sends everything back as it came.
func echo(ws *websocket.Conn) {
	for {
		opcode, data, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(opcode, data) != nil {
			return
		}
	}
}

// close ends the network and waits for everything on it.
func (n *network) close() {
	_ = n.server.Close()
	n.reset()
	n.serving.Wait()
}

// reset ends every connection at once.
func (n *network) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

func (n *network) dial(ctx context.Context) (*websocket.Conn, error) {
	d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return n.connect() }}
	ws, response, err := d.DialContext(ctx, "ws://server/", nil)
	if response != nil {
		_ = response.Body.Close()
	}
	return ws, err
}

var errRefused = errors.New("connection refused")

func (n *network) connect() (net.Conn, error) {
	if n.refuse.Load() {
		return nil, errRefused
	}
	client, clientFar := net.Pipe()
	serverFar, server := net.Pipe()
	way := &route{network: n}
	way.last.Store(time.Now().UnixNano())
	n.mu.Lock()
	n.conns = append(n.conns, clientFar, serverFar)
	n.routes = append(n.routes, way)
	n.mu.Unlock()
	n.pump(way, clientFar, serverFar)
	n.pump(way, serverFar, clientFar)
	select {
	case n.listener.conns <- server:
	case <-n.listener.closed:
		return nil, errRefused
	}
	if local := n.local.Load(); local != nil {
		return addressed{client, local}, nil
	}
	return client, nil
}

// pump carries one direction of a connection.
func (n *network) pump(way *route, from, to net.Conn) {
	type segment struct {
		data []byte
		due  time.Time
	}
	queue := make(chan segment, 1024)
	n.serving.Go(func() {
		defer close(queue)
		for {
			buf := make([]byte, 4096)
			k, err := from.Read(buf)
			if err != nil {
				return
			}
			if way.passes() {
				queue <- segment{buf[:k], time.Now().Add(time.Duration(n.latency.Load()))}
			}
		}
	})
	n.serving.Go(func() {
		for s := range queue {
			time.Sleep(time.Until(s.due))
			if _, err := to.Write(s.data); err != nil {
				_ = from.Close()
			}
		}
		if !n.hole.Load() && !way.gone.Load() {
			_ = to.Close()
		}
	})
}

// listener accepts the in-memory connections.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.IPAddr{} }
