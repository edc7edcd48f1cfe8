package netfilter

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// TCP flags (RFC 9293, section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Packet is what a node looks at in a packet: the headers of IPv4 (RFC 791) and TCP
// (RFC 9293).
type Packet struct {
	Tuple Tuple
	// Seq, Ack, Flags and Window of a TCP segment; Window is not scaled.
	Seq, Ack uint32
	Flags    uint8
	Window   uint16
	// Timestamps says whether the segment has the option of RFC 7323, and TSVal is its
	// sender's clock.
	Timestamps bool
	TSVal      uint32
}

var errPacket = errors.New("not an IPv4 packet that can be understood")

// ParsePacket reads the headers of a packet, the rest of which may be missing. A
// packet that is neither TCP nor UDP, and a later fragment, has ports 0.
func ParsePacket(b []byte) (Packet, error) {
	var p Packet
	if len(b) < 20 || b[0]>>4 != 4 {
		return p, errPacket
	}
	header := int(b[0]&0xf) * 4
	if header < 20 || len(b) < header {
		return p, errPacket
	}
	p.Tuple.Protocol = b[9]
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	fragment := binary.BigEndian.Uint16(b[6:8])&0x1fff != 0
	b = b[header:]
	var srcPort, dstPort uint16
	if !fragment && len(b) >= 4 && (p.Tuple.Protocol == TCP || p.Tuple.Protocol == UDP) {
		srcPort, dstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	}
	p.Tuple.Src, p.Tuple.Dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	if p.Tuple.Protocol == TCP && !fragment && len(b) >= 20 {
		p.parseTCP(b)
	}
	return p, nil
}

func (p *Packet) parseTCP(b []byte) {
	p.Seq = binary.BigEndian.Uint32(b[4:])
	p.Ack = binary.BigEndian.Uint32(b[8:])
	p.Flags = b[13]
	p.Window = binary.BigEndian.Uint16(b[14:])
	header := min(int(b[12]>>4)*4, len(b))
	if header < 20 {
		return
	}
	const (
		end        = 0
		noop       = 1
		timestamps = 8
	)
	for options := b[20:header]; len(options) > 0 && options[0] != end; {
		if options[0] == noop {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return
		}
		if options[0] == timestamps && options[1] == 10 {
			p.Timestamps, p.TSVal = true, binary.BigEndian.Uint32(options[2:])
		}
		options = options[options[1]:]
	}
}
