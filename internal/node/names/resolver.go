package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Resolver looks names up at one name server and nowhere else: not in /etc/hosts, which
// would have an answer while the server is made to fail. It is safe for concurrent use.
type Resolver struct {
	// Server is the address of the name server.
	Server string
	// Timeout of one question, Attempts how often it is asked: 5 s and 2 by default, as
	// resolv.conf(5) has them.
	Timeout  time.Duration
	Attempts int
}

// Lookup returns the IPv4 address of a name. The error is a [*net.DNSError].
func (r *Resolver) Lookup(ctx context.Context, name string) (netip.Addr, error) {
	client := &dns.Client{Timeout: 5 * time.Second}
	if r.Timeout > 0 {
		client.Timeout = r.Timeout
	}
	attempts := 2
	if r.Attempts > 0 {
		attempts = r.Attempts
	}
	failed := &net.DNSError{Name: name, Server: r.Server, Err: "no answer"}
	for range attempts {
		answer, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), r.Server)
		var timeout net.Error
		switch {
		case ctx.Err() != nil:
			failed.Err, failed.UnwrapErr = context.Cause(ctx).Error(), context.Cause(ctx)
			failed.IsTimeout = errors.Is(ctx.Err(), context.DeadlineExceeded)
			return netip.Addr{}, failed
		case errors.As(err, &timeout) && timeout.Timeout():
			failed.Err, failed.IsTimeout = "i/o timeout", true
			continue
		case err != nil:
			failed.Err, failed.UnwrapErr = err.Error(), err
			continue
		}
		switch answer.Rcode {
		case dns.RcodeSuccess:
		case dns.RcodeNameError:
			failed.Err, failed.IsNotFound = "no such host", true
			return netip.Addr{}, failed
		default: // as Go's own resolver says it
			failed.Err, failed.IsTemporary = "server misbehaving ("+dns.RcodeToString[answer.Rcode]+")", true
			continue
		}
		for _, record := range answer.Answer {
			if a, ok := record.(*dns.A); ok {
				if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
					return addr, nil
				}
			}
		}
		failed.Err, failed.IsNotFound = "no such host", true
		return netip.Addr{}, failed
	}
	return netip.Addr{}, failed
}

// DialFunc opens connections, as net.Dialer's DialContext.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Dialer returns a dial that looks names up with r and opens connections with dial. What is
// an address, or this machine's own loopback, is not looked up.
func (r *Resolver) Dialer(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || host == "localhost" {
			return dial(ctx, network, address)
		}
		if _, err := netip.ParseAddr(host); err == nil {
			return dial(ctx, network, address)
		}
		addr, err := r.Lookup(ctx, host)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		return dial(ctx, network, net.JoinHostPort(addr.String(), port))
	}
}
