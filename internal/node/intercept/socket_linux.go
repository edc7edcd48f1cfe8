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

// Ports that onward connections leave from: below those that clients' kernels choose
// from (net.ipv4.ip_local_port_range, 32768 and up), because a client's own address
// and port would make the onward connection look like the client's own in the
// connection table.
const (
	firstPort = 16384
	lastPort  = 32767
)

// dial opens the connection that the client of flow meant, from the client's address.
func dial(ctx context.Context, flow trace.Flow) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	const ports = lastPort - firstPort + 1
	start := rand.IntN(ports)
	for n := range ports {
		from := netip.AddrPortFrom(flow.Src.Addr(), uint16(firstPort+(start+n)%ports))
		if from == flow.Src {
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
