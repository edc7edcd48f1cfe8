package tracking

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/trace"
)

func tuple(src, dst string) netfilter.Tuple {
	return netfilter.Tuple{Protocol: netfilter.TCP, Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

// TestMappings checks what becomes of what the kernel tells, in whatever order.
func TestMappings(t *testing.T) {
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	entry := func(id uint32, packets uint64, state netfilter.TCPState, left time.Duration) netfilter.Entry {
		return netfilter.Entry{
			ID: id, Packets: packets, State: state, Timeout: left,
			Orig:  tuple("10.20.0.2:5000", "203.0.113.2:443"),
			Reply: tuple("203.0.113.2:443", "203.0.113.1:5000"),
		}
	}
	const (
		open   = netfilter.StateEstablished
		second = time.Second
	)
	for _, test := range []struct {
		name string
		play func(m *mappings)
		want []trace.Type
	}{
		{"expires", func(m *mappings) {
			m.announced(at(0), entry(1, 1, netfilter.StateSYNSent, 120*second))
			m.announced(at(0), entry(1, 3, open, 30*second))
			m.destroyed(at(30*second), entry(1, 3, open, 0))
		}, []trace.Type{trace.MappingCreated, trace.MappingExpired}},
		{"is refreshed", func(m *mappings) {
			m.announced(at(0), entry(1, 3, open, 30*second))
			m.listed(at(20*second), at(20*second), []netfilter.Entry{entry(1, 4, open, 30*second)})
			m.listed(at(20*second), at(20500*time.Millisecond), []netfilter.Entry{entry(1, 5, open, 30*second)})
		}, []trace.Type{trace.MappingCreated, trace.MappingRefreshed}},
		{"is closed once", func(m *mappings) {
			m.announced(at(0), entry(1, 3, open, 30*second))
			m.announced(at(second), entry(1, 7, netfilter.StateTimeWait, 120*second))
			m.destroyed(at(121*second), entry(1, 7, netfilter.StateTimeWait, 0))
		}, []trace.Type{trace.MappingCreated, trace.MappingClosed}},
		{"is closed by a FIN without an answer", func(m *mappings) {
			m.announced(at(0), entry(1, 3, open, 30*second))
			m.announced(at(second), entry(1, 4, netfilter.StateFINWait, 120*second))
			m.destroyed(at(121*second), entry(1, 4, netfilter.StateFINWait, 0))
		}, []trace.Type{trace.MappingCreated, trace.MappingClosed}},
		{"is flushed", func(m *mappings) {
			m.announced(at(0), entry(1, 3, open, 30*second))
			if n, err := m.flush(func() error { return nil }); n != 1 || err != nil {
				t.Errorf("flushed %d, %v", n, err)
			}
			m.destroyed(at(second), entry(1, 3, open, 0))
		}, []trace.Type{trace.MappingCreated, trace.MappingFlushed}},
		{"is flushed and announced at once", func(m *mappings) {
			m.announced(at(0), entry(1, 3, open, 30*second))
			n, err := m.flush(func() error {
				m.destroyed(at(second), entry(1, 3, open, 0))
				return nil
			})
			if n != 1 || err != nil {
				t.Errorf("flushed %d, %v", n, err)
			}
		}, []trace.Type{trace.MappingCreated, trace.MappingFlushed}},
		{"is flushed by somebody else", func(m *mappings) {
			m.announced(at(0), entry(1, 3, open, 30*second))
			m.destroyed(at(second), entry(1, 3, open, 0))
		}, []trace.Type{trace.MappingCreated, trace.MappingFlushed}},
		{"was read before it ended", func(m *mappings) {
			m.announced(at(0), entry(1, 3, netfilter.StateClose, 10*second))
			read := time.Now()
			m.destroyed(at(0), entry(1, 3, netfilter.StateClose, 0))
			m.listed(read, time.Now(), []netfilter.Entry{entry(1, 3, netfilter.StateClose, 10*second)})
		}, []trace.Type{trace.MappingCreated, trace.MappingClosed}},
		{"was read before it was replaced", func(m *mappings) {
			m.announced(at(0), entry(1, 3, open, 30*second))
			m.move(entry(1, 0, 0, 0).Orig, tuple("203.0.113.1:5000", "203.0.113.2:443"))
			read := time.Now()
			m.destroyed(at(0), entry(1, 3, open, 0))
			m.listed(read, time.Now(), []netfilter.Entry{entry(1, 3, open, 30*second)})
		}, []trace.Type{trace.MappingCreated}},
		{"takes the port of another", func(m *mappings) {
			m.announced(at(0), entry(1, 7, netfilter.StateTimeWait, 120*second))
			m.announced(at(second), entry(2, 1, netfilter.StateSYNSent, 120*second))
			m.destroyed(at(second), entry(1, 7, netfilter.StateTimeWait, 0))
		}, []trace.Type{trace.MappingCreated, trace.MappingClosed, trace.MappingCreated}},
		{"is adopted", func(m *mappings) {
			m.announced(at(0), entry(1, 3, open, 30*second))
			outer := netfilter.Entry{
				ID: 2, State: open, Timeout: 30 * second, Packets: 1,
				Orig:  tuple("203.0.113.1:5000", "203.0.113.2:443"),
				Reply: tuple("203.0.113.2:443", "203.0.113.1:5000"),
			}
			m.move(entry(1, 0, 0, 0).Orig, outer.Orig)
			m.announced(at(second), entry(1, 4, open, 30*second))
			m.destroyed(at(second), entry(1, 4, open, 0))
			m.announced(at(second), outer)
			m.destroyed(at(31*second), outer)
		}, []trace.Type{trace.MappingCreated, trace.MappingExpired}},
		{"is not translated", func(m *mappings) {
			e := entry(1, 3, open, 30*second)
			e.Reply = e.Orig.Reverse()
			m.announced(at(0), e)
			m.destroyed(at(30*second), e)
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []trace.Type
			m := newMappings(func(e trace.Event) {
				got = append(got, e.Type)
				if e.Flow.String() != "10.20.0.2:5000 > 203.0.113.2:443" || e.Next.String() != "203.0.113.1:5000 > 203.0.113.2:443" {
					t.Errorf("%s of %v, outside %v", e.Type, e.Flow, e.Next)
				}
			}, second, 30*second)
			test.play(m)
			if !slices.Equal(got, test.want) {
				t.Errorf("events %v, not %v", got, test.want)
			}
		})
	}
}

// TestConnections tells a firewall's story: nothing is translated, and both legs of an
// adopted connection are one entry.
func TestConnections(t *testing.T) {
	start := time.Now()
	entry := func(packets uint64) netfilter.Entry {
		return netfilter.Entry{
			ID: 1, Packets: packets, State: netfilter.StateEstablished, Timeout: 30 * time.Second,
			Orig:  tuple("10.20.0.2:5000", "203.0.113.2:443"),
			Reply: tuple("203.0.113.2:443", "10.20.0.2:5000"),
		}
	}
	var got []trace.Type
	m := newMappings(func(e trace.Event) {
		got = append(got, e.Type)
		if e.Next != nil || e.Flow.Src.Port() != 5000 {
			t.Errorf("recorded %v", e)
		}
	}, time.Second, 30*time.Second)
	m.events = Connections()
	m.concern = func(e netfilter.Entry) bool { return e.Orig.Src.Port() == 5000 }
	m.announced(start, netfilter.Entry{ID: 2, Orig: tuple("10.20.0.2:5001", "203.0.113.2:443"), Reply: tuple("203.0.113.2:443", "10.20.0.2:5001")})
	m.announced(start, entry(3))
	m.link(entry(0).Orig, entry(0).Orig)
	for n := range uint64(3) {
		at := start.Add(time.Duration(n+1) * 10 * time.Second)
		m.listed(at, at, []netfilter.Entry{entry(4 + n)})
		if late := m.balance(at, entry(4+n), entry(4+n)); late != nil {
			t.Errorf("late: %v", late)
		}
	}
	if !m.forgotten(entry(0).Orig, entry(0).Orig) {
		t.Error("the entry was never seen")
	}
	m.destroyed(start.Add(60*time.Second), entry(6))
	want := []trace.Type{
		trace.ConnectionTracked, trace.ConnectionRefreshed, trace.ConnectionRefreshed, trace.ConnectionRefreshed, trace.ConnectionExpired,
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded %v", got)
	}
}

// TestCut: a connection that was taken over ends with the first of its two entries that
// goes, and not with one that stood there before.
func TestCut(t *testing.T) {
	entry := func(id uint32, orig netfilter.Tuple) netfilter.Entry {
		return netfilter.Entry{ID: id, Packets: 3, State: netfilter.StateEstablished, Orig: orig}
	}
	inner := entry(1, tuple("10.20.0.2:5000", "203.0.113.2:443"))
	outer := entry(2, tuple("10.20.0.2:20000", "203.0.113.2:443"))
	m := newMappings(func(trace.Event) {}, time.Second, 30*time.Second)
	cut := func(gone netfilter.Entry) bool {
		t.Helper()
		in, out, ok := m.cut(gone)
		if ok && (in != inner.Orig || out != outer.Orig) {
			t.Errorf("legs %v and %v", in, out)
		}
		return ok
	}
	m.link(inner.Orig, outer.Orig)
	if cut(inner) {
		t.Error("a leg that was never seen has gone")
	}
	m.balance(time.Now(), inner, outer)
	if cut(entry(9, inner.Orig)) || cut(entry(3, tuple("10.20.0.2:5001", "203.0.113.2:443"))) {
		t.Error("the entry is of something else")
	}
	if !cut(inner) || !cut(outer) {
		t.Error("a leg has gone, and nothing is said")
	}
	m.unlink(inner.Orig, outer.Orig)
	if cut(inner) {
		t.Error("the connection was over before")
	}
}

// TestOldest chooses what has to make room.
func TestOldest(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	entry := func(id uint32, packets uint64, state netfilter.TCPState) netfilter.Entry {
		return netfilter.Entry{
			ID: id, Packets: packets, State: state, Timeout: time.Minute,
			Orig:  netfilter.Tuple{Protocol: netfilter.TCP, Src: netip.AddrPortFrom(netip.MustParseAddr("10.20.0.2"), uint16(id)), Dst: netip.MustParseAddrPort("203.0.113.2:443")},
			Reply: netfilter.Tuple{Protocol: netfilter.TCP, Src: netip.MustParseAddrPort("203.0.113.2:443"), Dst: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(id))},
		}
	}
	var events []trace.Event
	m := newMappings(func(e trace.Event) { events = append(events, e) }, time.Second, time.Minute)
	const open = netfilter.StateEstablished
	for id := uint32(1); id <= 4; id++ {
		m.announced(at(int(id)), entry(id, 1, open))
	}
	m.announced(at(5), entry(1, 9, open))
	m.announced(at(5), entry(2, 9, netfilter.StateTimeWait)) // it is over, and does not count
	if orig, ok := m.oldest(at(6), 3); ok {
		t.Errorf("%s has to go, of three", orig)
	}
	orig, ok := m.oldest(at(6), 2)
	if !ok || orig.Src.Port() != 3 {
		t.Fatalf("%s has to go, %t", orig, ok)
	}
	if orig, ok := m.oldest(at(6), 2); ok {
		t.Errorf("%s has to go as well", orig)
	}
	events = nil
	m.destroyed(at(7), entry(3, 2, open)) // its last packet came meanwhile
	if len(events) == 0 || events[len(events)-1].Type != trace.MappingEvicted || events[len(events)-1].Dur != 3*time.Second {
		t.Errorf("events %v", events)
	}
}
