package netfilter

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
)

var example = Tuple{TCP, netip.MustParseAddrPort("10.20.0.2:5000"), netip.MustParseAddrPort("203.0.113.2:443")}

func exampleEntry(t testing.TB) []byte {
	t.Helper()
	raw, err := netlink.MarshalAttributes([]netlink.Attribute{
		tupleAttribute(ctaTupleOrig, example),
		tupleAttribute(ctaTupleReply, example.Reverse()),
		{Type: ctaTimeout, Data: be32(30)},
		{Type: ctaID, Data: be32(7)},
		nest(ctaCountersOrig, netlink.Attribute{Type: ctaCountersPackets, Data: []byte{0, 0, 0, 0, 0, 0, 0, 3}}),
		nest(ctaCountersReply, netlink.Attribute{Type: ctaCountersPackets, Data: []byte{0, 0, 0, 0, 0, 0, 0, 2}}),
		nest(ctaProtoInfo, nest(ctaProtoInfoTCP,
			netlink.Attribute{Type: ctaTCPState, Data: []byte{byte(StateEstablished)}},
			netlink.Attribute{Type: ctaTCPScaleReply, Data: []byte{9}},
			netlink.Attribute{Type: ctaTCPFlagsOriginal, Data: []byte{FlagSACK, 0}},
		)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(nfgenmsg(2, 0), raw...)
}

func TestParseEntry(t *testing.T) {
	got, err := parseEntry(exampleEntry(t))
	want := Entry{
		ID: 7, Orig: example, Reply: example.Reverse(), Packets: 5, Timeout: 30 * time.Second,
		State: StateEstablished, Scale: [2]uint8{0, 9}, Flags: [2]uint8{FlagSACK, 0},
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v\nnot %+v", got, err, want)
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add(exampleEntry(f))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parseEntry(data) })
}

func FuzzParseLogged(f *testing.F) {
	raw, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: nfulaPrefix, Data: []byte("rule\x00")},
		{Type: nfulaPayload, Data: examplePacket},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(nfgenmsg(2, 1), raw...))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _, _ = parseLogged(data) })
}

// examplePacket is a TCP segment with timestamps, as it was captured.
var examplePacket = []byte{
	0x45, 0, 0, 52, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 20, 0, 2, 203, 0, 113, 2,
	0x13, 0x88, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x10, 0x01, 0, 0, 0, 0, 0,
	1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8,
}

func TestParsePacket(t *testing.T) {
	got, err := ParsePacket(examplePacket)
	want := Packet{Tuple: example, Seq: 1, Ack: 2, Flags: ACK, Window: 256, Timestamps: true, TSVal: 9}
	if err != nil || got != want {
		t.Errorf("%+v, %v\nnot %+v", got, err, want)
	}
	for n := range examplePacket {
		_, _ = ParsePacket(examplePacket[:n]) // a short packet must not panic
	}
}

func FuzzParsePacket(f *testing.F) {
	f.Add(examplePacket)
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = ParsePacket(b) })
}
