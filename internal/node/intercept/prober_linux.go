package intercept

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/netfilter"
)

// prober sends TCP segments with addresses that are not this machine's. It needs CAP_NET_RAW.
type prober struct{ fd int }

func newProber() (*prober, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	p := &prober{fd}
	if err := p.mark(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *prober) close() { _ = unix.Close(p.fd) }

// probe sends the destination of the tuple a segment that it has to answer and that
// changes nothing for it. peer is the other end, as whose segment it appears.
//
// As long as nothing is known about the end, that is a bare ACK with a random
// sequence number. The end answers it, or, if the number is in its window by chance, drops
// it because of its acknowledgment number. Once it is known what the end expects it is a
// byte of long ago, whose answer is not subject to a rate limit.
func (p *prober) probe(t netfilter.Tuple, e, peer end) error {
	seq, ack := rand.Uint32(), rand.Uint32()
	if peer.known {
		ack = peer.expects
	}
	if !e.known {
		return p.send(t, seq, ack, nil)
	}
	return p.send(t, e.expects-probeBackoff, ack, []byte{0})
}

// nudge sends the last byte that the destination of the tuple has received once more,
// as keepalive does, past the connection table, which learns from this and from the
// answer where the two ends are: it takes the first segments that it sees of a
// connection for the truth.
func (p *prober) nudge(t netfilter.Tuple, e, peer end) error {
	if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_MARK, 0); err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	err := p.send(t, e.expects-1, peer.expects, []byte{0})
	return errors.Join(err, p.mark())
}

// mark keeps what is sent from now on out of the connection table.
func (p *prober) mark() error {
	if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_MARK, probeMark); err != nil {
		return fmt.Errorf("mark a raw socket: %w", err)
	}
	return nil
}

func (p *prober) send(t netfilter.Tuple, seq, ack uint32, payload []byte) error {
	segment := buildSegment(t, seq, ack, payload)
	if err := unix.Sendto(p.fd, segment, 0, &unix.SockaddrInet4{Addr: t.Dst.Addr().As4()}); err != nil {
		return fmt.Errorf("probe %s: %w", t.Dst, err)
	}
	return nil
}

// buildSegment returns an IPv4 packet with an ACK. The kernel fills in the IPv4 checksum.
func buildSegment(t netfilter.Tuple, seq, ack uint32, payload []byte) []byte {
	const ipLen, tcpLen = 20, 20
	b := make([]byte, ipLen+tcpLen, ipLen+tcpLen+len(payload))
	b = append(b, payload...)
	src, dst := t.Src.Addr().As4(), t.Dst.Addr().As4()
	b[0] = 4<<4 | ipLen/4
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8], b[9] = 64, unix.IPPROTO_TCP
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	tcp := b[ipLen:]
	binary.BigEndian.PutUint16(tcp, t.Src.Port())
	binary.BigEndian.PutUint16(tcp[2:], t.Dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], ack)
	tcp[12], tcp[13] = tcpLen/4<<4, netfilter.ACK
	binary.BigEndian.PutUint16(tcp[14:], 1024) // a window
	pseudo := append(append(src[:], dst[:]...), 0, unix.IPPROTO_TCP, 0, byte(len(tcp)))
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))
	return b
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
