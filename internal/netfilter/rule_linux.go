package netfilter

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Log groups of the nodes.
const (
	// BlockedGroup is for packets that a rule stops; see [Blocked].
	BlockedGroup = 1
	// FrozenGroup is for packets of connections that are being taken over.
	FrozenGroup = 2
)

// Part is a piece of a rule: a condition or an action.
type Part []expr.Any

// Rule puts a rule together.
func Rule(parts ...Part) []expr.Any { return slices.Concat(asAny(parts)...) }

func asAny(parts []Part) [][]expr.Any {
	all := make([][]expr.Any, len(parts))
	for i, p := range parts {
		all[i] = p
	}
	return all
}

func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func meta(key expr.MetaKey, op expr.CmpOp, data []byte) Part {
	return Part{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: data},
	}
}

// In matches packets that came in on the interface.
func In(name string) Part { return meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, ifname(name)) }

// Out matches packets that go out on the interface.
func Out(name string) Part { return meta(expr.MetaKeyOIFNAME, expr.CmpOpEq, ifname(name)) }

// NotOut matches packets that go out on another interface.
func NotOut(name string) Part { return meta(expr.MetaKeyOIFNAME, expr.CmpOpNeq, ifname(name)) }

// NotIn matches packets that came in on another interface.
func NotIn(name string) Part { return meta(expr.MetaKeyIIFNAME, expr.CmpOpNeq, ifname(name)) }

// FromHardware matches packets that came from the Ethernet address. The rule must have
// matched an Ethernet interface before.
func FromHardware(address []byte) Part {
	return Part{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address},
	}
}

// Protocol matches packets of that protocol of IP.
func Protocol(p uint8) Part { return meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{p}) }

// Mark matches packets with that mark.
func Mark(mark uint32) Part {
	return meta(expr.MetaKeyMARK, expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(mark))
}

// SetMark marks the packet.
func SetMark(mark uint32) Part {
	return Part{
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

// States of a packet's connection, to be combined.
const (
	Invalid     = expr.CtStateBitINVALID
	Established = expr.CtStateBitESTABLISHED
	Related     = expr.CtStateBitRELATED
	New         = expr.CtStateBitNEW
)

// State matches packets whose connection is in one of the states.
func State(bits uint32) Part {
	return Part{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// NotTranslated matches packets of connections whose source is not rewritten. Of a new
// connection that is not known before postrouting.
func NotTranslated() Part {
	const sourceNAT = 1 << 4 // IPS_SRC_NAT
	return Part{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATUS},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(sourceNAT), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)},
	}
}

// tcpFlags compares some flags of a segment.
func tcpFlags(mask uint8, op expr.CmpOp, value uint8) Part {
	return Part{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{value}},
	}
}

// NotSYN matches TCP segments that do not open a connection; the rule must have
// matched the protocol before.
func NotSYN() Part { return tcpFlags(FIN|SYN|RST|ACK, expr.CmpOpNeq, SYN) }

// NotRST matches TCP segments that are no RST; the rule must have matched the
// protocol before.
func NotRST() Part { return tcpFlags(RST, expr.CmpOpEq, 0) }

// DstPorts matches the destination port; the rule must have matched the protocol before.
func DstPorts(first, last uint16) Part {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	if first == last {
		return Part{load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be16(first)}}
	}
	return Part{load, &expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: be16(first), ToData: be16(last)}}
}

// ForOthers matches packets that are to be forwarded: their destination is no address of this
// machine, and not everybody on the network either (a broadcast, or a multicast such as IGMP's
// reports), which no router passes on.
func ForOthers() Part {
	part := Part{&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}}
	for _, own := range []uint32{unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_MULTICAST} {
		part = append(part, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(own)})
	}
	return part
}

// Transparent matches packets of a socket of this machine that has IP_TRANSPARENT.
func Transparent() Part {
	return Part{
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}},
	}
}

// Divert hands packets to the transparent listener at that address. They also need
// a mark that routes them to this machine.
func Divert(to netip.AddrPort) Part {
	return Part{
		&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: be16(to.Port())},
		&expr.TProxy{Family: unix.NFPROTO_IPV4, RegAddr: 1, RegPort: 2},
	}
}

// InSet matches packets whose tuple is in a set of type [TupleSet].
func InSet(s *nftables.Set) Part {
	// 32-bit registers, one for each part of the key: 1 is the first of them, 9 to 11 follow.
	return Part{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Payload{DestRegister: 9, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Payload{DestRegister: 10, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Payload{DestRegister: 11, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetID: s.ID, SetName: s.Name},
	}
}

// TupleSet is an empty set of tuples.
func TupleSet(t *nftables.Table, name string) *nftables.Set {
	return &nftables.Set{
		Table: t,
		Name:  name,
		KeyType: nftables.MustConcatSetType(
			nftables.TypeIPAddr, nftables.TypeInetService, nftables.TypeIPAddr, nftables.TypeInetService,
		),
		Concatenation: true,
	}
}

// Element is a tuple as an element of a [TupleSet].
func Element(t Tuple) nftables.SetElement {
	var key []byte
	for _, end := range []netip.AddrPort{t.Src, t.Dst} {
		key = append(key, end.Addr().AsSlice()...)
		key = binary.BigEndian.AppendUint16(key, end.Port())
		key = append(key, 0, 0) // each part fills a register
	}
	return nftables.SetElement{Key: key}
}

// LogTo copies the packet's headers to the readers of a group.
func LogTo(group uint16, prefix string) Part {
	return Part{&expr.Log{
		Key:        1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_SNAPLEN | 1<<unix.NFTA_LOG_QTHRESHOLD,
		Group:      group,
		Snaplen:    snapLen,
		QThreshold: 1,
		Data:       []byte(prefix),
	}}
}

// Accept lets the packet pass this chain.
func Accept() Part { return Part{&expr.Verdict{Kind: expr.VerdictAccept}} }

// Drop takes the packet away.
func Drop() Part { return Part{&expr.Verdict{Kind: expr.VerdictDrop}} }

// Jump goes on in another chain.
func Jump(chain string) Part { return Part{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}} }

// Untracked keeps the packet out of the connection table.
func Untracked() Part { return Part{&expr.Notrack{}} }

// Masquerade makes the outgoing interface's address the source.
func Masquerade() Part { return Part{&expr.Masq{}} }

// Reset answers a TCP segment with a RST and drops it.
func Reset() Part { return Part{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }

// Prohibit answers a packet with ICMP "communication administratively prohibited"
// (RFC 1812, section 5.2.7.1) and drops it.
func Prohibit() Part {
	const administrativelyProhibited = 13
	return Part{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: administrativelyProhibited}}
}

// BaseChain is a chain of a table at a hook. The default is to accept.
func BaseChain(t *nftables.Table, name string, typ nftables.ChainType, hook *nftables.ChainHook, priority int) *nftables.Chain {
	return &nftables.Chain{
		Table:    t,
		Name:     name,
		Type:     typ,
		Hooknum:  hook,
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)),
	}
}
