package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/wslab/wslab/internal/node/relay"
)

// SOCKS5 on the wire: RFC 1928, user name and password RFC 1929.
const (
	socksVersion = 5
	authVersion  = 1

	methodNone     = 0x00
	methodPassword = 0x02
	methodNoneFits = 0xff

	commandConnect = 1

	addressIPv4   = 1
	addressDomain = 3
	addressIPv6   = 4
)

// Reply codes of RFC 1928 section 6.
const (
	replySucceeded = iota
	replyGeneral
	replyNotAllowed
	replyNetworkUnreachable
	replyHostUnreachable
	replyRefused
	replyTTLExpired
	replyCommand
	replyAddressType
)

// socksError ends a SOCKS5 handshake.
type socksError struct {
	// code of the reply, or the status of RFC 1929, or 255 when no method fits.
	code   int
	reason string
	// silent: the reply has been sent already, or there is no way to send one.
	silent bool
}

// Error returns the reason.
func (e *socksError) Error() string { return e.reason }

// serveSOCKS5 serves a client of the SOCKS5 proxy: one CONNECT, then bytes.
func (p *proxy) serveSOCKS5(ctx context.Context, c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(p.handshake)) // a connection without deadlines is not served worse
	target, err := p.negotiate(c)
	if err != nil {
		p.refuseSOCKS5(c, err)
		return
	}
	server, err := p.dial(ctx, target)
	if err != nil {
		if ctx.Err() != nil {
			return // the node is going down
		}
		p.refuseSOCKS5(c, &socksError{code: replyFor(err), reason: fmt.Sprintf("cannot reach %s: %v", target, err)})
		return
	}
	_ = c.SetDeadline(time.Now().Add(p.handshake))
	if _, err := c.Write(socksReply(replySucceeded, relay.Opened(server).Src)); err != nil {
		_ = server.Close() // the client has gone
		return
	}
	_ = c.SetDeadline(time.Time{})
	p.relay.Pipe(ctx, c, server, relay.Accepted(c), relay.Opened(server))
}

func (p *proxy) refuseSOCKS5(c net.Conn, err error) {
	var no *socksError
	if !errors.As(err, &no) {
		return // the client has gone, or takes too long
	}
	p.refused(c, no.code, no.reason)
	if !no.silent {
		_ = c.SetWriteDeadline(time.Now().Add(lingerTimeout))
		if _, err := c.Write(socksReply(byte(no.code), netip.AddrPort{})); err != nil {
			return
		}
	}
	linger(c)
}

// negotiate speaks with the client up to its request, and returns the target as host:port.
// It reads not one byte more than the handshake has.
func (p *proxy) negotiate(c io.ReadWriter) (string, error) {
	if err := p.chooseMethod(c); err != nil {
		return "", err
	}
	return readSOCKS5Request(c)
}

// chooseMethod is RFC 1928 section 3, and RFC 1929.
func (p *proxy) chooseMethod(c io.ReadWriter) error {
	head, err := read(c, 2)
	if err != nil {
		return err
	}
	if head[0] != socksVersion {
		return &socksError{code: replyGeneral, reason: fmt.Sprintf("the client speaks no SOCKS5: its first byte is 0x%02x", head[0]), silent: true}
	}
	methods, err := read(c, int(head[1]))
	if err != nil {
		return err
	}
	method := byte(methodNone)
	if len(p.settings.Users) > 0 {
		method = methodPassword
	}
	if !slices.Contains(methods, method) {
		if _, err := c.Write([]byte{socksVersion, methodNoneFits}); err != nil {
			return err
		}
		return &socksError{code: methodNoneFits, reason: fmt.Sprintf("the client offers methods %v, the proxy wants %d", methods, method), silent: true}
	}
	if _, err := c.Write([]byte{socksVersion, method}); err != nil {
		return err
	}
	if method == methodPassword {
		return p.checkPassword(c)
	}
	return nil
}

// checkPassword is RFC 1929 section 2. A status other than 0 is followed by closing.
func (p *proxy) checkPassword(c io.ReadWriter) error {
	version, err := read(c, 1)
	if err != nil {
		return err
	}
	name, err := readCounted(c)
	if err != nil {
		return err
	}
	password, err := readCounted(c)
	if err != nil {
		return err
	}
	if version[0] != authVersion || !p.knows(string(name), string(password)) {
		if _, err := c.Write([]byte{authVersion, 1}); err != nil {
			return err
		}
		return &socksError{code: 1, reason: fmt.Sprintf("wrong name or password for user %q", name), silent: true}
	}
	_, err = c.Write([]byte{authVersion, 0})
	return err
}

// readSOCKS5Request is RFC 1928 section 4.
func readSOCKS5Request(r io.Reader) (string, error) {
	head, err := read(r, 4)
	if err != nil {
		return "", err
	}
	if head[0] != socksVersion {
		return "", &socksError{code: replyGeneral, reason: fmt.Sprintf("the request is of version %d", head[0])}
	}
	var host string
	switch head[3] {
	case addressIPv4, addressIPv6:
		size := 4
		if head[3] == addressIPv6 {
			size = 16
		}
		raw, err := read(r, size)
		if err != nil {
			return "", err
		}
		address, _ := netip.AddrFromSlice(raw) // of the right size
		host = address.Unmap().String()
	case addressDomain:
		raw, err := readCounted(r)
		if err != nil {
			return "", err
		}
		host = string(raw)
	default:
		return "", &socksError{code: replyAddressType, reason: fmt.Sprintf("address type %d is not known", head[3])}
	}
	port, err := read(r, 2)
	if err != nil {
		return "", err
	}
	if head[1] != commandConnect {
		return "", &socksError{code: replyCommand, reason: fmt.Sprintf("command %d is not CONNECT", head[1])}
	}
	target, err := parseTarget(net.JoinHostPort(host, strconv.Itoa(int(port[0])<<8|int(port[1]))))
	if err != nil {
		return "", &socksError{code: replyGeneral, reason: err.Error()}
	}
	return target, nil
}

// replyFor says why a dial failed in the words of RFC 1928. A name that cannot be
// resolved is an unreachable host.
func replyFor(err error) int {
	var unresolved *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return replyRefused
	case errors.Is(err, syscall.ENETUNREACH), isAddressError(err):
		return replyNetworkUnreachable
	case errors.Is(err, syscall.EHOSTUNREACH), errors.As(err, &unresolved), timedOut(err):
		return replyHostUnreachable
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return replyNotAllowed
	}
	return replyGeneral
}

// isAddressError says whether the address is of a family that the lab does not have.
func isAddressError(err error) bool {
	var family *net.AddrError
	return errors.As(err, &family) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// socksReply is RFC 1928 section 6.
func socksReply(code byte, bound netip.AddrPort) []byte {
	if !bound.Addr().IsValid() {
		bound = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	kind := byte(addressIPv4)
	if bound.Addr().Is6() {
		kind = addressIPv6
	}
	reply := append([]byte{socksVersion, code, 0, kind}, bound.Addr().AsSlice()...)
	return append(reply, byte(bound.Port()>>8), byte(bound.Port()))
}

func read(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("the handshake ended early: %w", err)
	}
	return b, nil
}

// readCounted reads a field that begins with its length in one byte.
func readCounted(r io.Reader) ([]byte, error) {
	n, err := read(r, 1)
	if err != nil {
		return nil, err
	}
	return read(r, int(n[0]))
}
