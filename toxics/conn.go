package toxics

import (
	"errors"
	"io"
	"net"
)

// as finds T in a connection or in what it wraps (NetConn, as tls.Conn has it).
func as[T any](c net.Conn) (T, bool) {
	for {
		if t, ok := c.(T); ok {
			return t, true
		}
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			var none T
			return none, false
		}
		c = wrapper.NetConn()
	}
}

// abort closes a connection with a RST where it can: with a linger time of zero
// the kernel drops what it has not sent yet and sends a RST (socket(7), tcp(7)).
// What a wrapper would still write, such as TLS's close_notify, is not written.
func abort(c net.Conn) {
	if raw, ok := as[lingerer](c); ok {
		_ = raw.SetLinger(0) // the connection is dead already: Close says no more
		_ = raw.Close()
	}
	_ = c.Close()
}

type lingerer interface {
	SetLinger(seconds int) error
	Close() error
}

// closeWrite ends the half that we write to: at every layer, so that behind TLS's
// close_notify goes a FIN. A connection that cannot be closed by halves is closed.
func closeWrite(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		_ = c.Close() // the peer is gone already: its reader tells
		return
	}
	_ = half.CloseWrite()
	if wrapper, ok := c.(interface{ NetConn() net.Conn }); ok {
		closeWrite(wrapper.NetConn())
	}
}

// orderly says whether a reader's error is the end of the stream, or our own closing,
// rather than the death of the connection. A FIN without TLS's close_notify before it,
// as of a killed process, is still a FIN.
func orderly(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || closedHere(err)
}

func closedHere(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
