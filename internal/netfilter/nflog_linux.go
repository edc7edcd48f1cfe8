package netfilter

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Constants of linux/netfilter/nfnetlink_log.h.
const (
	nfulnlPacket = 0
	nfulnlConfig = 1

	nfulaCfgCmd      = 1
	nfulaCfgMode     = 2
	nfulaCfgTimeout  = 4
	nfulaCfgQThresh  = 5
	nfulnlCmdBind    = 1
	nfulnlCopyPacket = 2

	nfulaPayload = 9
	nfulaPrefix  = 10
)

// snapLen is how much of a packet is copied: the headers of IPv4 and TCP with all options.
const snapLen = 120

// Log is the packets that rules with one log group see.
type Log struct{ conn *netlink.Conn }

// OpenLog binds the group. It needs CAP_NET_ADMIN; a group has one reader.
func OpenLog(group uint16) (*Log, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("packet log: %w", err)
	}
	_ = conn.SetReadBuffer(watchBuffer) // the default will do for less traffic
	raw, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: nfulaCfgCmd, Data: []byte{nfulnlCmdBind}},
		{Type: nfulaCfgMode, Data: append(be32(snapLen), nfulnlCopyPacket, 0)},
		// Each packet at once, instead of hundreds of them each second.
		{Type: nfulaCfgTimeout, Data: be32(1)},
		{Type: nfulaCfgQThresh, Data: be32(1)},
	})
	if err == nil {
		_, err = conn.Execute(netlink.Message{
			Header: netlink.Header{Type: subsysLog<<8 | nfulnlConfig, Flags: netlink.Request | netlink.Acknowledge},
			Data:   append(nfgenmsg(unix.AF_UNSPEC, group), raw...),
		})
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("packet log %d: %w", group, err)
	}
	return &Log{conn}, nil
}

// Close ends Run.
func (l *Log) Close() error { return l.conn.Close() }

// Run calls f for each packet, with the prefix that its rule gives, until the log is
// closed. Packets that are not IPv4 are left out.
func (l *Log) Run(f func(prefix string, p Packet)) error {
	for {
		messages, err := l.conn.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			continue
		}
		if err != nil {
			return fmt.Errorf("packet log: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type != subsysLog<<8|nfulnlPacket {
				continue
			}
			if prefix, p, err := parseLogged(m.Data); err == nil {
				f(prefix, p)
			}
		}
	}
}

// parseLogged reads a message about a packet.
func parseLogged(data []byte) (prefix string, p Packet, err error) {
	if len(data) < nfgenmsgLen {
		return "", p, errMessage
	}
	ad, err := decoder(data[nfgenmsgLen:])
	if err != nil {
		return "", p, err
	}
	var payload []byte
	for ad.Next() {
		switch ad.Type() {
		case nfulaPayload:
			payload = ad.Bytes()
		case nfulaPrefix:
			prefix = string(bytes.TrimRight(ad.Bytes(), "\x00"))
		}
	}
	if err := ad.Err(); err != nil {
		return "", p, fmt.Errorf("%w: %w", errMessage, err)
	}
	p, err = ParsePacket(payload)
	return prefix, p, err
}
