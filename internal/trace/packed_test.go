package trace

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestPack: what is unpacked is what was packed.
func TestPack(t *testing.T) {
	start := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	flow := &Flow{netip.MustParseAddrPort("192.168.1.2:40001"), netip.MustParseAddrPort("203.0.113.3:443")}
	next := &Flow{netip.MustParseAddrPort("203.0.113.2:40001"), flow.Dst}
	all := New(start, start.Add(3*time.Second), 5, []Event{
		{Time: start.Add(-20 * time.Microsecond), Type: MappingCreated, Node: "nat", Flow: flow, Next: next},
		{Time: start, Type: StepStart, Node: "runner", Seq: 1, Detail: "talk: 5s"},
		{Time: start.Add(time.Second), Type: Acked, Node: "alice", Session: "none-1", Conn: 2, Seq: 7, Dur: 1500 * time.Microsecond, Flow: flow},
		{Time: start.Add(time.Second), Type: SessionResumed, Node: "alice", Session: "none-1", Conn: 3, Count: -4, Detail: "fresh"},
		{
			Time: start.Add(2 * time.Second), Type: Close, Node: "alice", Session: "none-1", Conn: 3, Attempt: 2, Code: 1006, Status: 502,
			Network: "home", Stage: "tls", By: "network", Err: "read: connection timed out",
		},
	})
	all.Machines = map[netip.Addr]string{flow.Src.Addr(): "alice"}
	packed := all.Pack()
	if packed.Len() != len(all.Events) {
		t.Errorf("%d events", packed.Len())
	}
	same := cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})
	if diff := cmp.Diff(all, packed.Unpack(5), same); diff != "" {
		t.Errorf("-packed +unpacked:\n%s", diff)
	}
	again := &Packed{Start: packed.Start, End: packed.End, Machines: packed.Machines, Texts: packed.Texts, Flows: packed.Flows}
	for row := range packed.Rows() {
		if err := again.Append(row); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(all, again.Unpack(5), same); diff != "" {
		t.Errorf("by rows (-packed +unpacked):\n%s", diff)
	}
	if empty := New(start, start, 1, nil).Pack().Unpack(1); len(empty.Events) != 0 {
		t.Errorf("%v", empty.Events)
	}
}

// TestAppend refuses what is no event of the trace.
func TestAppend(t *testing.T) {
	p := &Packed{Texts: []string{"", "open"}, Flows: make([]Flow, 1)}
	if err := p.Append([]int64{5, 1, 0, 0, 1, 0, 0, 0, 1}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		row  []int64
		want string
	}{
		{make([]int64, len(PackedFields())+1), "event 1 has 19 columns, there are 18"},
		{[]int64{0, 2}, "event 1: type is text 2, there are 2"},
		{[]int64{0, 1, -1}, "event 1: node is text -1, there are 2"},
		{[]int64{0, 1, 0, 0, 0, 0, 0, 0, 0, 2}, "event 1: next is flow 2, there are 1"},
	} {
		if err := p.Append(test.row); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %s", test.row, err, test.want)
		}
	}
	if p.Len() != 1 {
		t.Errorf("%d events", p.Len())
	}
}
