package netfilter

import (
	"net"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// From matches packets whose source is in the range.
func From(p netip.Prefix) Part { return address(12, p) }

// To matches packets whose destination is in the range.
func To(p netip.Prefix) Part { return address(16, p) }

// address compares an address at an offset of the IPv4 header.
func address(offset uint32, p netip.Prefix) Part {
	return Part{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(p.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

// SrcPorts matches the source port; the rule must have matched the protocol before.
func SrcPorts(first, last uint16) Part {
	return Part{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: be16(first), ToData: be16(last)},
	}
}

// OnlySYN matches TCP segments that open a connection; the rule must have matched the
// protocol before.
func OnlySYN() Part { return tcpFlags(FIN|SYN|RST|ACK, expr.CmpOpEq, SYN) }

// FromOthers matches packets whose source is no address of this machine: those of
// sockets that have IP_TRANSPARENT.
func FromOthers() Part {
	local := binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)
	return Part{
		&expr.Fib{Register: 1, FlagSADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: local},
	}
}
