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

// socksRequest is what a client asks for. The zero request is that of a client that
// has not come so far.
type socksRequest struct {
	command byte
	// host is a name or an address.
	host string
	port uint16
	// address is DST.ADDR and DST.PORT with their type, as they came.
	address []byte
}

// target is where the request goes, as host:port.
func (r *socksRequest) target() string {
	return net.JoinHostPort(r.host, strconv.Itoa(int(r.port)))
}

// network to reach the target over: a lab has IPv4, but an IPv6 address is asked the kernel.
func (r *socksRequest) network() string {
	if a, err := netip.ParseAddr(r.host); err == nil && a.Is6() {
		return "tcp6"
	}
	return "tcp4"
}

// serveSOCKS5 serves a client of the SOCKS5 proxy: one CONNECT, then bytes.
func (p *proxy) serveSOCKS5(ctx context.Context, c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(p.handshake)) // a connection without deadlines is not served worse
	request, err := p.negotiate(ctx, c)
	if err == nil {
		err = p.permitSOCKS5(ctx, request)
	}
	if err != nil {
		p.refuseSOCKS5(ctx, c, request, err)
		return
	}
	server, err := p.dialOver(ctx, request.network(), request.target())
	if err != nil {
		// What it would have connected from is not known any more.
		p.refuseSOCKS5(ctx, c, nil, &socksError{code: replyFor(err), reason: fmt.Sprintf("cannot reach %s: %v", request.target(), err)})
		return
	}
	if !p.pause(ctx, p.settings.ReplyDelay) {
		_ = server.Close() // the node is going down
		return
	}
	_ = c.SetDeadline(time.Now().Add(p.handshake))
	if _, err := c.Write(p.socksReply(replySucceeded, bound(relay.Opened(server).Src))); err != nil {
		_ = server.Close() // the client has gone
		return
	}
	_ = c.SetDeadline(time.Time{})
	p.relay.Pipe(ctx, c, server, relay.Accepted(c), relay.Opened(server))
}

// permitSOCKS5 says no to what the ruleset denies, and what the lab file wants refused.
func (p *proxy) permitSOCKS5(ctx context.Context, r *socksRequest) error {
	port := strconv.Itoa(int(r.port))
	if code, ok := p.settings.forced(r.host, port); ok {
		return &socksError{code: code, reason: fmt.Sprintf("%s: the lab file wants it", r.target())}
	}
	if p.settings.denies(r.host, port, p.resolver(ctx)) {
		return &socksError{code: replyNotAllowed, reason: fmt.Sprintf("%s is not allowed by the ruleset", r.target())}
	}
	return nil
}

// resolver looks names up as the dial does: those of the lab first.
func (p *proxy) resolver(ctx context.Context) resolver {
	return func(name string) ([]netip.Addr, error) {
		if a, ok := p.env.Spec.Hosts[name]; ok {
			return []netip.Addr{a}, nil
		}
		ctx, cancel := context.WithTimeout(ctx, p.dialPatience())
		defer cancel()
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
}

// pause waits for a lab time. It returns false if the node goes down meanwhile.
func (p *proxy) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(p.env.Wall(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// refuseSOCKS5 answers and closes. r is what the reply names, or nil.
func (p *proxy) refuseSOCKS5(ctx context.Context, c net.Conn, r *socksRequest, err error) {
	var no *socksError
	if !errors.As(err, &no) || ctx.Err() != nil {
		return // the client has gone, or takes too long; or the node goes down
	}
	p.refused(c, no.code, no.reason)
	if !no.silent {
		if !p.pause(ctx, p.settings.ReplyDelay) {
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(lingerTimeout))
		var address []byte
		if r != nil {
			address = r.address
		}
		if _, err := c.Write(p.socksReply(byte(no.code), address)); err != nil {
			return
		}
	}
	linger(c)
}

// negotiate speaks with the client up to its request. It reads not one byte more than
// the handshake has.
func (p *proxy) negotiate(ctx context.Context, c io.ReadWriter) (*socksRequest, error) {
	if err := p.chooseMethod(ctx, c); err != nil {
		return nil, err
	}
	return readSOCKS5Request(c)
}

// chooseMethod is RFC 1928 section 3, and RFC 1929.
func (p *proxy) chooseMethod(ctx context.Context, c io.ReadWriter) error {
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
	takes := p.settings.methods()
	i := slices.IndexFunc(takes, func(m byte) bool { return slices.Contains(methods, m) })
	if !p.pause(ctx, p.settings.MethodDelay) {
		return context.Cause(ctx)
	}
	if i < 0 {
		if _, err := c.Write([]byte{socksVersion, methodNoneFits}); err != nil {
			return err
		}
		return &socksError{code: methodNoneFits, reason: fmt.Sprintf("the client offers methods %v, the proxy takes %v", methods, takes), silent: true}
	}
	method := takes[i]
	if _, err := c.Write([]byte{socksVersion, method}); err != nil {
		return err
	}
	if method == methodPassword {
		return p.checkPassword(c)
	}
	return nil
}

// checkPassword is RFC 1929 section 2. A status other than 0 is followed by closing;
// another version of the negotiation is not answered, as Dante does it.
func (p *proxy) checkPassword(c io.ReadWriter) error {
	version, err := read(c, 1)
	if err != nil {
		return err
	}
	if version[0] != authVersion {
		return &socksError{code: 1, reason: fmt.Sprintf("the password negotiation is of version %d", version[0]), silent: true}
	}
	name, err := readCounted(c)
	if err != nil {
		return err
	}
	password, err := readCounted(c)
	if err != nil {
		return err
	}
	if !p.knows(string(name), string(password)) {
		if _, err := c.Write([]byte{authVersion, 1}); err != nil {
			return err
		}
		return &socksError{code: 1, reason: fmt.Sprintf("wrong name or password for user %q", name), silent: true}
	}
	_, err = c.Write([]byte{authVersion, 0})
	return err
}

// readSOCKS5Request is RFC 1928 section 4. The request comes with the error that its
// content gives rise to.
func readSOCKS5Request(r io.Reader) (*socksRequest, error) {
	head, err := read(r, 4)
	if err != nil {
		return nil, err
	}
	if head[0] != socksVersion {
		return nil, &socksError{code: replyGeneral, reason: fmt.Sprintf("the request is of version %d", head[0])}
	}
	request := &socksRequest{command: head[1], address: []byte{head[3]}}
	if err := request.readHost(r); err != nil {
		return nil, err
	}
	port, err := read(r, 2)
	if err != nil {
		return nil, err
	}
	request.address = append(request.address, port...)
	request.port = uint16(port[0])<<8 | uint16(port[1])
	if request.command != commandConnect {
		return request, &socksError{code: replyCommand, reason: fmt.Sprintf("command %d is not CONNECT", request.command)}
	}
	if _, err := parseTarget(request.target()); err != nil {
		code := replyGeneral
		if request.port != 0 {
			code = replyHostUnreachable // a name that no host can have
		}
		return request, &socksError{code: code, reason: err.Error()}
	}
	return request, nil
}

// readHost reads DST.ADDR, of which the type has been read.
func (r *socksRequest) readHost(from io.Reader) error {
	switch kind := r.address[0]; kind {
	case addressIPv4, addressIPv6:
		size := 4
		if kind == addressIPv6 {
			size = 16
		}
		raw, err := read(from, size)
		if err != nil {
			return err
		}
		address, _ := netip.AddrFromSlice(raw) // of the right size
		r.host, r.address = address.Unmap().String(), append(r.address, raw...)
	case addressDomain:
		raw, err := readCounted(from)
		if err != nil {
			return err
		}
		r.host, r.address = string(raw), append(append(r.address, byte(len(raw))), raw...)
	default:
		return &socksError{code: replyAddressType, reason: fmt.Sprintf("address type %d is not known", kind)}
	}
	return nil
}

// replyFor says why a dial failed in the words of RFC 1928, as Dante does: a name that
// cannot be resolved is an unreachable host, and where no answer came to a SYN the
// packets may as well have expired on their way.
func replyFor(err error) int {
	var unresolved *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return replyRefused
	case errors.Is(err, syscall.ENETUNREACH), isAddressError(err):
		return replyNetworkUnreachable
	case errors.Is(err, syscall.EHOSTUNREACH), errors.As(err, &unresolved):
		return replyHostUnreachable
	case timedOut(err):
		return replyTTLExpired
	}
	return replyGeneral
}

// isAddressError says whether the address is of a family that the lab does not have.
func isAddressError(err error) bool {
	var family *net.AddrError
	return errors.As(err, &family) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// socksReply is RFC 1928 section 6: address is BND.ADDR and BND.PORT with their type,
// nil where there is none to name.
func (p *proxy) socksReply(code byte, address []byte) []byte {
	if address == nil || p.settings.Bound == boundZero {
		address = bound(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	}
	return append([]byte{socksVersion, code, 0}, address...)
}

// bound is an address as a reply has it.
func bound(a netip.AddrPort) []byte {
	if !a.IsValid() {
		a = netip.AddrPortFrom(netip.IPv4Unspecified(), 0) // in-memory connections have none
	}
	kind := byte(addressIPv4)
	if a.Addr().Is6() {
		kind = addressIPv6
	}
	field := append([]byte{kind}, a.Addr().AsSlice()...)
	return append(field, byte(a.Port()>>8), byte(a.Port()))
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
