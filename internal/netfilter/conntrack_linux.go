package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TCPState is where conntrack has a TCP connection (enum tcp_conntrack of
// linux/netfilter/nf_conntrack_tcp.h).
type TCPState uint8

// States of a TCP connection.
const (
	StateNone TCPState = iota
	StateSYNSent
	StateSYNReceived
	StateEstablished
	StateFINWait
	StateCloseWait
	StateLastACK
	StateTimeWait
	StateClose
)

// Closing says whether a FIN or a RST has been seen.
func (s TCPState) Closing() bool { return s >= StateFINWait && s <= StateClose }

// Over says whether both FINs have been acknowledged, or a RST was seen.
func (s TCPState) Over() bool { return s == StateTimeWait || s == StateClose }

// Status bits of an entry (enum ip_conntrack_status).
const (
	SeenReply = 1 << 1
	Assured   = 1 << 2
	Confirmed = 1 << 3
)

// TCP options of one direction (IP_CT_TCP_FLAG_*).
const (
	FlagWindowScale = 1
	FlagSACK        = 2
	FlagLiberal     = 8
)

// Entry is a connection of the kernel's table.
type Entry struct {
	// ID tells entries apart that have followed each other with the same tuples.
	ID uint32
	// Orig is the first direction as it comes in, Reply the answers as they come in:
	// where addresses are translated it is not Orig's reverse.
	Orig, Reply Tuple
	Status      uint32
	// Packets of both directions; 0 without net.netfilter.nf_conntrack_acct.
	Packets uint64
	// Timeout is what is left until the entry expires, in whole seconds.
	Timeout time.Duration
	// State of a TCP connection, StateNone when the message did not say.
	State TCPState
	// Scale is the window scale that each end announced, for Orig and Reply; valid
	// with FlagWindowScale.
	Scale [2]uint8
	// Flags of Orig and Reply.
	Flags [2]uint8
}

// Translated says whether the source address or port is rewritten.
func (e Entry) Translated() bool { return e.Orig.Src != e.Reply.Dst }

// Redirected says whether the destination is rewritten.
func (e Entry) Redirected() bool { return e.Orig.Dst != e.Reply.Src }

// Netlink constants that golang.org/x/sys/unix lacks (linux/netfilter/nfnetlink*.h).
const (
	subsysConntrack = 1
	subsysLog       = 4
	subsysTimeout   = 8

	ctNew    = 0
	ctGet    = 1
	ctDelete = 2

	ctaTupleOrig     = 1
	ctaTupleReply    = 2
	ctaStatus        = 3
	ctaProtoInfo     = 4
	ctaTimeout       = 7
	ctaCountersOrig  = 9
	ctaCountersReply = 10
	ctaID            = 12

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaIPv4Src    = 1
	ctaIPv4Dst    = 2
	ctaProtoNum   = 1
	ctaSrcPort    = 2
	ctaDstPort    = 3

	ctaCountersPackets = 1

	ctaProtoInfoTCP     = 1
	ctaTCPState         = 1
	ctaTCPScaleOriginal = 2
	ctaTCPScaleReply    = 3
	ctaTCPFlagsOriginal = 4
	ctaTCPFlagsReply    = 5
)

// nfgenmsg is the header of every message of nfnetlink: family, version 0, and a number.
func nfgenmsg(family uint8, number uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, 0}, number)
}

const nfgenmsgLen = 4

// Conntrack is a conversation with the connection table. It is safe for concurrent use.
type Conntrack struct {
	conn *netlink.Conn
	// count is the sysctl net.netfilter.nf_conntrack_count, of the network namespace
	// in which it was opened; nil if there is none.
	count *os.File
}

// OpenConntrack opens the conversation. It needs CAP_NET_ADMIN.
func OpenConntrack() (*Conntrack, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("conntrack: %w", err)
	}
	c := &Conntrack{conn: conn}
	if count, err := os.Open("/proc/sys/net/netfilter/nf_conntrack_count"); err == nil {
		c.count = count
	}
	return c, nil
}

// Close ends the conversation.
func (c *Conntrack) Close() error {
	if c.count != nil {
		_ = c.count.Close() // read from only
	}
	return c.conn.Close()
}

func (c *Conntrack) execute(msg uint16, flags netlink.HeaderFlags, attributes []netlink.Attribute) ([]netlink.Message, error) {
	raw, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return nil, err
	}
	return c.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(subsysConntrack<<8 | msg), Flags: netlink.Request | flags},
		Data:   append(nfgenmsg(unix.AF_INET, 0), raw...),
	})
}

// empty says whether there is no entry, expired ones included.
func (c *Conntrack) empty() bool {
	if c.count == nil {
		return false
	}
	var text [16]byte
	n, err := c.count.ReadAt(text[:], 0)
	return (err == nil || errors.Is(err, io.EOF)) && strings.TrimSpace(string(text[:n])) == "0"
}

// List returns the table. The kernel drops entries that have expired as it goes
// through them.
//
// It goes through the buckets of the whole machine (nf_conntrack_buckets), some
// milliseconds of them, whoever's the entries are: a table without any is not read.
func (c *Conntrack) List() ([]Entry, error) {
	if c.empty() {
		return nil, nil
	}
	messages, err := c.execute(ctGet, netlink.Dump, nil)
	if err != nil {
		return nil, fmt.Errorf("conntrack: list: %w", err)
	}
	entries := make([]Entry, 0, len(messages))
	for _, m := range messages {
		if e, err := parseEntry(m.Data); err == nil {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// Flush removes every entry.
func (c *Conntrack) Flush() error {
	if _, err := c.execute(ctDelete, netlink.Acknowledge, nil); err != nil {
		return fmt.Errorf("conntrack: flush: %w", err)
	}
	return nil
}

// Delete removes the entry whose first direction is orig. One that is gone
// already is no error.
func (c *Conntrack) Delete(orig Tuple) error {
	_, err := c.execute(ctDelete, netlink.Acknowledge, []netlink.Attribute{tupleAttribute(ctaTupleOrig, orig)})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("conntrack: delete %s: %w", orig, err)
	}
	return nil
}

// Create makes an entry of an established TCP connection that is not translated.
func (c *Conntrack) Create(orig Tuple, timeout time.Duration) error {
	tcp := nest(ctaProtoInfoTCP,
		netlink.Attribute{Type: ctaTCPState, Data: []byte{byte(StateEstablished)}},
		netlink.Attribute{Type: ctaTCPFlagsOriginal, Data: []byte{FlagLiberal, FlagLiberal}},
		netlink.Attribute{Type: ctaTCPFlagsReply, Data: []byte{FlagLiberal, FlagLiberal}},
	)
	_, err := c.execute(ctNew, netlink.Acknowledge|netlink.Create|netlink.Excl, []netlink.Attribute{
		tupleAttribute(ctaTupleOrig, orig),
		tupleAttribute(ctaTupleReply, orig.Reverse()),
		{Type: ctaStatus, Data: be32(SeenReply | Assured | Confirmed)},
		{Type: ctaTimeout, Data: be32(seconds(timeout))},
		nest(ctaProtoInfo, tcp),
	})
	if err != nil {
		return fmt.Errorf("conntrack: create %s: %w", orig, err)
	}
	return nil
}

// SetTimeout lets the entry whose first direction is orig expire after that time,
// in whole seconds, without another packet. One that is gone is no error.
func (c *Conntrack) SetTimeout(orig Tuple, timeout time.Duration) error {
	_, err := c.execute(ctNew, netlink.Acknowledge, []netlink.Attribute{
		tupleAttribute(ctaTupleOrig, orig),
		{Type: ctaTimeout, Data: be32(seconds(timeout))},
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("conntrack: timeout of %s: %w", orig, err)
	}
	return nil
}

func seconds(d time.Duration) uint32 { return uint32(max(1, d.Round(time.Second)/time.Second)) }

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func be16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// nest makes an attribute of attributes, none of which can be too long to marshal.
func nest(typ uint16, attributes ...netlink.Attribute) netlink.Attribute {
	data, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		panic(err) // over 64 KiB: the code above makes no such thing
	}
	return netlink.Attribute{Type: netlink.Nested | typ, Data: data}
}

func tupleAttribute(typ uint16, t Tuple) netlink.Attribute {
	return nest(typ,
		nest(ctaTupleIP,
			netlink.Attribute{Type: ctaIPv4Src, Data: t.Src.Addr().AsSlice()},
			netlink.Attribute{Type: ctaIPv4Dst, Data: t.Dst.Addr().AsSlice()},
		),
		nest(ctaTupleProto,
			netlink.Attribute{Type: ctaProtoNum, Data: []byte{t.Protocol}},
			netlink.Attribute{Type: ctaSrcPort, Data: be16(t.Src.Port())},
			netlink.Attribute{Type: ctaDstPort, Data: be16(t.Dst.Port())},
		),
	)
}

var errMessage = errors.New("conntrack: malformed message")

// parseEntry reads a message about an IPv4 connection.
func parseEntry(data []byte) (Entry, error) {
	var e Entry
	if len(data) < nfgenmsgLen || data[0] != unix.AF_INET {
		return e, errMessage
	}
	ad, err := decoder(data[nfgenmsgLen:])
	if err != nil {
		return e, err
	}
	for ad.Next() {
		switch ad.Type() {
		case ctaTupleOrig:
			ad.Nested(e.Orig.parse)
		case ctaTupleReply:
			ad.Nested(e.Reply.parse)
		case ctaStatus:
			e.Status = ad.Uint32()
		case ctaTimeout:
			e.Timeout = time.Duration(ad.Uint32()) * time.Second
		case ctaID:
			e.ID = ad.Uint32()
		case ctaCountersOrig, ctaCountersReply:
			ad.Nested(e.parseCounters)
		case ctaProtoInfo:
			ad.Nested(e.parseProtoInfo)
		}
	}
	if err := ad.Err(); err != nil {
		return e, fmt.Errorf("%w: %w", errMessage, err)
	}
	if !e.Orig.Src.IsValid() || !e.Orig.Dst.IsValid() || !e.Reply.Src.IsValid() || !e.Reply.Dst.IsValid() {
		return e, errMessage
	}
	return e, nil
}

func decoder(data []byte) (*netlink.AttributeDecoder, error) {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	ad.ByteOrder = binary.BigEndian
	return ad, nil
}

func (t *Tuple) parse(ad *netlink.AttributeDecoder) error {
	var src, dst netip.Addr
	var srcPort, dstPort uint16
	for ad.Next() {
		switch ad.Type() {
		case ctaTupleIP:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					switch ad.Type() {
					case ctaIPv4Src:
						src, _ = netip.AddrFromSlice(ad.Bytes())
					case ctaIPv4Dst:
						dst, _ = netip.AddrFromSlice(ad.Bytes())
					}
				}
				return nil
			})
		case ctaTupleProto:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					switch ad.Type() {
					case ctaProtoNum:
						t.Protocol = ad.Uint8()
					case ctaSrcPort:
						srcPort = ad.Uint16()
					case ctaDstPort:
						dstPort = ad.Uint16()
					}
				}
				return nil
			})
		}
	}
	t.Src, t.Dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	return nil
}

func (e *Entry) parseCounters(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() == ctaCountersPackets {
			e.Packets += ad.Uint64()
		}
	}
	return nil
}

func (e *Entry) parseProtoInfo(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() == ctaProtoInfoTCP {
			ad.Nested(e.parseTCP)
		}
	}
	return nil
}

func (e *Entry) parseTCP(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case ctaTCPState:
			e.State = TCPState(ad.Uint8())
		case ctaTCPScaleOriginal:
			e.Scale[0] = ad.Uint8()
		case ctaTCPScaleReply:
			e.Scale[1] = ad.Uint8()
		case ctaTCPFlagsOriginal, ctaTCPFlagsReply:
			if b := ad.Bytes(); len(b) > 0 {
				e.Flags[ad.Type()-ctaTCPFlagsOriginal] = b[0]
			}
		}
	}
	return nil
}
