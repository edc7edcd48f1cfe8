package intercept

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/trace"
)

// listen opens the listener that connections are diverted to. It can be reached
// through the divert rule only.
func listen(ctx context.Context) (*net.TCPListener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: transparent}
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("intercept: %w", err)
	}
	return l.(*net.TCPListener), nil
}

// dial opens the connection that the client of flow meant, from the client's address and one of
// the ports, both ends included, that is not taken by something else than a socket. The client's own
// port would make it look like the client's own connection in the connection table.
func dial(ctx context.Context, flow trace.Flow, ports [2]uint16, taken func(trace.Flow) bool) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	first, count := int(ports[0]), int(ports[1])-int(ports[0])+1
	start := rand.IntN(count)
	for n := range count {
		from := netip.AddrPortFrom(flow.Src.Addr(), uint16(first+(start+n)%count))
		if from == flow.Src || taken(trace.Flow{Src: from, Dst: flow.Dst}) {
			continue
		}
		dialer := net.Dialer{KeepAlive: -1, LocalAddr: net.TCPAddrFromAddrPort(from), Control: transparent}
		c, err := dialer.DialContext(ctx, "tcp4", flow.Dst.String())
		if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return c.(*net.TCPConn), nil
	}
	return nil, fmt.Errorf("no port of %s is free", flow.Src.Addr())
}

// transparent lets a socket have addresses that are not the machine's own.
func transparent(_, _ string, c syscall.RawConn) error {
	return onDescriptor(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
	})
}

func control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return onDescriptor(raw, f)
}

func onDescriptor(c syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
