package proxy

import (
	"net"
	"net/http"
	"sync"
)

// oneConn is a listener of one connection: an http.Server serves it, and is done when
// the connection is.
type oneConn struct {
	conns chan net.Conn
	addr  net.Addr
	done  chan struct{}
	once  sync.Once
}

func newOneConn(c net.Conn) *oneConn {
	o := &oneConn{conns: make(chan net.Conn, 1), addr: c.LocalAddr(), done: make(chan struct{})}
	o.conns <- c
	return o
}

// Accept returns the connection, then blocks until it is over.
func (o *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-o.conns:
		return c, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (o *oneConn) Close() error {
	o.once.Do(func() { close(o.done) })
	return nil
}

// Addr returns the address that the connection was accepted at.
func (o *oneConn) Addr() net.Addr { return o.addr }

// state ends Accept when the connection is closed, or taken over by a handler.
func (o *oneConn) state(_ net.Conn, s http.ConnState) {
	if s == http.StateClosed || s == http.StateHijacked {
		_ = o.Close()
	}
}

// waitFor makes a handler count as running, also after it has taken the connection over.
func (o *oneConn) waitFor(h http.Handler, running *sync.WaitGroup) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1) // the Serve goroutine counts as well, so this is not from zero
		defer running.Done()
		h.ServeHTTP(w, r)
	})
}
