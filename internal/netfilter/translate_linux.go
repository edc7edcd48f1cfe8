package netfilter

import (
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// destinationNAT is IPS_DST_NAT of enum ip_conntrack_status.
const destinationNAT = 1 << 5

func ctStatus(bit uint32, op expr.CmpOp) Part {
	return Part{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATUS},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bit), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: make([]byte, 4)},
	}
}

// Redirected matches packets of connections whose destination was rewritten.
func Redirected() Part { return ctStatus(destinationNAT, expr.CmpOpNeq) }

// NotRedirected matches packets of connections whose destination was not rewritten. Of a
// new connection that is not known before the translation of destinations (-100).
func NotRedirected() Part { return ctStatus(destinationNAT, expr.CmpOpEq) }

// MasqueradeRandomly is [Masquerade] with a port that is chosen at random for each
// connection (`masquerade fully-random`), instead of its own as long as that is free.
func MasqueradeRandomly() Part { return Part{&expr.Masq{FullyRandom: true}} }

// RewriteSource makes addr the source.
func RewriteSource(addr netip.Addr, random bool) Part {
	return Part{
		&expr.Immediate{Register: 1, Data: addr.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, FullyRandom: random},
	}
}

// RewriteDestination makes to the destination.
func RewriteDestination(to netip.AddrPort) Part {
	return Part{
		&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: be16(to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	}
}

// MoreThan matches a packet that opens a connection while there are that many already
// that the rule has let pass and that are still in the connection table. Those that
// are over (TIME_WAIT, CLOSE) do not count (nf_conncount in the kernel).
func MoreThan(connections uint32) Part {
	return Part{&expr.Connlimit{Count: connections, Flags: expr.NFT_CONNLIMIT_F_INV}}
}
