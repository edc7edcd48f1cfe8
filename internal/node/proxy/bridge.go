package proxy

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// bridgeEnd is one end of an in-memory connection that behaves as TCP does in what
// a proxy has to carry on: it can be closed by halves, and a close with a linger time of zero
// is a reset for the other end.
type bridgeEnd struct {
	net.Conn // the half that is read
	out      net.Conn
	// linger0 of this end, reset of the other one.
	linger0     atomic.Bool
	reset       *atomic.Bool
	otherReset  *atomic.Bool
	local, peer net.Addr
	closed      atomic.Bool
}

// newBridge returns the two ends. The inner one has the addresses of client, so that it
// can be served in its place.
func newBridge(client net.Conn) (outer, inner *bridgeEnd) {
	r1, w1 := net.Pipe()
	r2, w2 := net.Pipe()
	a, b := new(atomic.Bool), new(atomic.Bool)
	local, remote := client.LocalAddr(), client.RemoteAddr()
	outer = &bridgeEnd{Conn: r1, out: w2, reset: a, otherReset: b, local: remote, peer: local}
	inner = &bridgeEnd{Conn: r2, out: w1, reset: b, otherReset: a, local: local, peer: remote}
	return outer, inner
}

// Read returns ECONNRESET where the other end was closed with a reset.
func (e *bridgeEnd) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if err != nil && e.reset.Load() && errors.Is(err, io.EOF) {
		err = syscall.ECONNRESET
	}
	return n, err
}

// Write returns ECONNRESET where the other end was closed with a reset, and EPIPE where it
// was closed: the kernel answers a segment for a closed socket with a RST.
func (e *bridgeEnd) Write(b []byte) (int, error) {
	n, err := e.out.Write(b)
	switch {
	case err == nil:
	case e.reset.Load():
		err = syscall.ECONNRESET
	case errors.Is(err, io.ErrClosedPipe) && !e.closed.Load():
		err = syscall.EPIPE
	}
	return n, err
}

// SetLinger makes the next Close a reset if seconds is 0.
func (e *bridgeEnd) SetLinger(seconds int) error {
	e.linger0.Store(seconds == 0)
	return nil
}

// CloseWrite ends the half that is written.
func (e *bridgeEnd) CloseWrite() error {
	e.closed.Store(true)
	return e.out.Close()
}

// Close ends both halves.
func (e *bridgeEnd) Close() error {
	if e.linger0.Load() {
		e.otherReset.Store(true)
	}
	e.closed.Store(true)
	return errors.Join(e.out.Close(), e.Conn.Close())
}

// LocalAddr returns the address of the client's connection that this end stands for.
func (e *bridgeEnd) LocalAddr() net.Addr { return e.local }

// RemoteAddr returns the address of the other side of that connection.
func (e *bridgeEnd) RemoteAddr() net.Addr { return e.peer }

// SetWriteDeadline sets it on the half that is written.
func (e *bridgeEnd) SetWriteDeadline(t time.Time) error { return e.out.SetWriteDeadline(t) }

// SetDeadline sets it on both halves.
func (e *bridgeEnd) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}
