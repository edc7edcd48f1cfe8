//go:build unix

package toxics

import (
	"io"
	"net"
	"os"
	"syscall"
)

// socket returns the socket of a connection, nil if it is closed.
func socket(c *net.TCPConn) syscall.RawConn {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// readWhenReady takes a buffer only once there is something to put into it.
func (r *reader) readWhenReady() ([]byte, error) {
	var n int
	var failed error
	err := r.raw.Read(func(fd uintptr) bool {
		r.take()
		for {
			n, failed = syscall.Read(int(fd), r.buffer[:])
			if failed != syscall.EINTR {
				break
			}
		}
		if failed == syscall.EAGAIN {
			r.release()
			return false
		}
		return true
	})
	switch {
	case err != nil: // closed, or its deadline
		return nil, err
	case failed != nil:
		return nil, &net.OpError{
			Op: "read", Net: "tcp", Source: r.conn.LocalAddr(), Addr: r.conn.RemoteAddr(),
			Err: os.NewSyscallError("read", failed),
		}
	case n == 0:
		return nil, io.EOF
	}
	return r.buffer[:n], nil
}

// writeNow writes what the socket takes without waiting, which may be nothing.
func writeNow(raw syscall.RawConn, data []byte) (n int, err error) {
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for {
			n, failed = syscall.Write(int(fd), data)
			if failed != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case err != nil: // closed, or its deadline
		return 0, err
	case failed == syscall.EAGAIN:
		return 0, nil
	case failed != nil:
		return 0, os.NewSyscallError("write", failed)
	}
	return n, nil
}
