package netfilter

import (
	"fmt"
	"net/netip"

	"github.com/wslab/wslab/internal/trace"
)

// Protocols of IP (IANA).
const (
	ICMP uint8 = 1
	TCP  uint8 = 6
	UDP  uint8 = 17
)

// Tuple is one direction of a flow, as packets of that direction carry it.
type Tuple struct {
	Protocol uint8
	Src, Dst netip.AddrPort
}

// Flow returns the tuple as the trace has it.
func (t Tuple) Flow() trace.Flow { return trace.Flow{Src: t.Src, Dst: t.Dst} }

// Reverse returns the tuple of the answers, if nothing translates them.
func (t Tuple) Reverse() Tuple { return Tuple{t.Protocol, t.Dst, t.Src} }

// String returns "tcp src > dst".
func (t Tuple) String() string { return ProtocolName(t.Protocol) + " " + t.Flow().String() }

// TCPTuple is the tuple of a TCP flow's first direction.
func TCPTuple(f trace.Flow) Tuple { return Tuple{TCP, f.Src, f.Dst} }

// ProtocolName returns "tcp", "udp", "icmp", or "protocol N".
func ProtocolName(protocol uint8) string {
	switch protocol {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", protocol)
}
