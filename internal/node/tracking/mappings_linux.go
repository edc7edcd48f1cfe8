package tracking

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/trace"
)

const (
	// early is how much sooner than its timeout an entry has to go for something
	// else than the timeout to have removed it. The kernel tells timeouts in whole seconds.
	early = 1500 * time.Millisecond
	// remembered bounds how many mappings that are gone are remembered.
	remembered = 1024
)

// mappings is what a node knows about the kernel's entries that concern it: a NAT's
// are those that translate. It is told by what the table shows and what the kernel
// announces, in any order, and turns it into events. It is safe for concurrent use.
type mappings struct {
	record  func(trace.Event)
	events  Events
	concern func(netfilter.Entry) bool
	silence time.Duration
	timeout time.Duration // of an established connection

	mu    sync.Mutex
	known map[netfilter.Tuple]*mapping // by the entry's first direction
	legs  map[netfilter.Tuple]leg      // of connections that are intercepted, by the entry's first direction
	// replaced are the entries in whose place others stand, with their IDs, until the
	// kernel has announced that they are gone.
	replaced map[netfilter.Tuple]uint32
	// ended is when an entry was learnt to be gone: the table may have been read before.
	ended map[netfilter.Tuple]time.Time
	gone  []*mapping // the latest of those that are gone
}

// leg is an entry of a connection that is intercepted, as it was last balanced.
type leg struct {
	inner, outer netfilter.Tuple // of the connection: the leg is one of them
	id           uint32
	packets      uint64 // 0 until the entry is seen
}

// mapping is one mapping.
type mapping struct {
	inside, outside trace.Flow
	protocol        uint8
	id              uint32 // of the entry; 0 takes the next that comes
	packets         uint64
	last            time.Time // when the last packet passed, as far as is known
	expires         time.Time // when the kernel would remove it
	state           netfilter.TCPState
	over            bool          // recorded as closed
	doomed          bool          // being flushed
	evicted         bool          // to make room
	silent          time.Duration // for how long, when it was evicted
}

func newMappings(record func(trace.Event), silence, timeout time.Duration) *mappings {
	return &mappings{
		record:  record,
		events:  Mappings(),
		concern: netfilter.Entry.Translated,
		silence: silence,
		timeout: timeout,
		known:   make(map[netfilter.Tuple]*mapping),
		legs:    make(map[netfilter.Tuple]leg),

		replaced: make(map[netfilter.Tuple]uint32),
		ended:    make(map[netfilter.Tuple]time.Time),
	}
}

// listed takes in the table as it was read between start and now.
func (m *mappings) listed(start, now time.Time, entries []netfilter.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		if end, ok := m.ended[e.Orig]; !ok || end.Before(start) {
			m.see(now, e)
		}
	}
	maps.DeleteFunc(m.ended, func(_ netfilter.Tuple, end time.Time) bool { return end.Before(start) })
}

// idle says that there is no mapping that silence could end: none at all, or only
// some of connections that are over.
func (m *mappings) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.known {
		if !p.over {
			return false
		}
	}
	return len(m.legs) == 0
}

// announced takes in what the kernel announces about an entry that is there.
func (m *mappings) announced(now time.Time, e netfilter.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.see(now, e)
}

func (m *mappings) see(now time.Time, e netfilter.Entry) {
	if id, ok := m.replaced[e.Orig]; ok && id == e.ID {
		return
	}
	p, ok := m.known[e.Orig]
	if ok && p.id == 0 {
		p.id, p.packets = e.ID, e.Packets
	}
	if ok && p.id != e.ID { // the old one went unseen
		m.end(now, e.Orig, p)
		ok = false
	}
	if !ok {
		if !m.concern(e) {
			return
		}
		p = &mapping{inside: e.Orig.Flow(), outside: e.Reply.Reverse().Flow(), protocol: e.Orig.Protocol, id: e.ID, last: now}
		m.known[e.Orig] = p
		m.event(now, m.events.Created, p, 0)
		p.packets = e.Packets
	}
	m.update(now, p, e)
}

// update takes in what an entry says about its mapping.
func (m *mappings) update(now time.Time, p *mapping, e netfilter.Entry) {
	if e.Timeout > 0 {
		p.expires = now.Add(e.Timeout)
	}
	if e.State != netfilter.StateNone {
		p.state = e.State
	}
	if e.Packets > p.packets {
		p.packets = e.Packets
		m.passed(now, p)
	}
	if p.state.Over() && !p.over {
		p.over = true
		m.event(now, m.events.Closed, p, 0)
	}
}

// passed notes that packets have passed.
func (m *mappings) passed(now time.Time, p *mapping) {
	quiet := now.Sub(p.last)
	p.last = now
	if quiet >= m.silence && !p.state.Closing() {
		m.event(now, m.events.Refreshed, p, quiet)
	}
}

// destroyed takes in that an entry is gone.
func (m *mappings) destroyed(now time.Time, e netfilter.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[e.Orig] = time.Now()
	if m.replaced[e.Orig] == e.ID {
		delete(m.replaced, e.Orig)
	}
	p, ok := m.known[e.Orig]
	if !ok || p.id != e.ID {
		return
	}
	e.Timeout = 0
	m.update(now, p, e)
	m.end(now, e.Orig, p)
}

// crowded says whether there are more than most, those that are over included.
func (m *mappings) crowded(most int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.known) > most
}

// oldest returns the entry that has to go for no more than most to be left, if one has
// to: that which has been silent for longest. Those that are over do not count.
func (m *mappings) oldest(now time.Time, most int) (orig netfilter.Tuple, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var oldest *mapping
	count := 0
	for o, p := range m.known {
		if p.over || p.evicted {
			continue
		}
		count++
		if oldest == nil || p.last.Before(oldest.last) {
			orig, oldest = o, p
		}
	}
	if count <= most {
		return orig, false
	}
	oldest.evicted, oldest.silent = true, now.Sub(oldest.last)
	return orig, true
}

// end records the end of a mapping, for the reason that its state tells.
func (m *mappings) end(now time.Time, orig netfilter.Tuple, p *mapping) {
	switch {
	case p.over:
	case p.evicted:
		m.event(now, m.events.Evicted, p, p.silent)
	case p.doomed:
		m.event(now, m.events.Flushed, p, now.Sub(p.last))
	case p.state.Closing():
		m.event(now, m.events.Closed, p, 0)
	case now.Before(p.expires.Add(-early)):
		m.event(now, m.events.Flushed, p, now.Sub(p.last))
	default:
		// The kernel counts from the last packet, of which only the tick is known here.
		quiet := now.Sub(p.last)
		if p.state == netfilter.StateEstablished {
			quiet = max(quiet, m.timeout)
		}
		m.event(now, m.events.Expired, p, quiet)
	}
	m.forget(orig, p)
}

func (m *mappings) forget(orig netfilter.Tuple, p *mapping) {
	delete(m.known, orig)
	m.ended[orig] = time.Now()
	if len(m.gone) == remembered {
		m.gone = slices.Delete(m.gone, 0, 1)
	}
	m.gone = append(m.gone, p)
}

// flush has remove take every entry out of the kernel's table, records that the
// mappings were taken away, and returns how many there were that were not over already.
func (m *mappings) flush(remove func() error) (int, error) {
	m.mu.Lock()
	n := 0
	for _, p := range m.known {
		p.doomed = true
		if !p.over {
			n++
		}
	}
	m.mu.Unlock()
	err := remove() // the kernel's announcements come meanwhile, or later
	m.mu.Lock()
	defer m.mu.Unlock()
	for orig, p := range m.known {
		switch {
		case err != nil:
			p.doomed = false
		case p.doomed:
			m.end(time.Now(), orig, p)
		}
	}
	return n, err
}

// move lets a mapping go on under another entry: an adopted connection's outer leg
// takes the place of the entry that translated it.
func (m *mappings) move(from, to netfilter.Tuple) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.known[from]
	if !ok {
		return
	}
	delete(m.known, from)
	m.replaced[from] = p.id
	m.ended[from] = time.Now()
	p.id = 0
	m.known[to] = p
}

// link notes that two entries are the legs of one connection.
func (m *mappings) link(inner, outer netfilter.Tuple) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.legs[inner] = leg{inner: inner, outer: outer}
	m.legs[outer] = leg{inner: inner, outer: outer}
}

func (m *mappings) unlink(inner, outer netfilter.Tuple) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.legs, inner)
	delete(m.legs, outer)
}

// balance compares the two legs of an intercepted connection with what they were, and
// returns the first direction of those on which nothing passed while something did
// on the other.
func (m *mappings) balance(now time.Time, inner, outer netfilter.Entry) []netfilter.Tuple {
	m.mu.Lock()
	defer m.mu.Unlock()
	innerMoved := m.moved(inner)
	outerMoved := m.moved(outer)
	if inner.Orig == outer.Orig { // adopted where nothing is translated: one entry for both
		return nil
	}
	if inner.State != netfilter.StateEstablished || outer.State != netfilter.StateEstablished || innerMoved == outerMoved {
		return nil
	}
	if outerMoved {
		return []netfilter.Tuple{inner.Orig}
	}
	if p, ok := m.known[outer.Orig]; ok {
		m.passed(now, p)
	}
	return []netfilter.Tuple{outer.Orig}
}

func (m *mappings) moved(e netfilter.Entry) bool {
	l := m.legs[e.Orig]
	was := l.packets
	l.id, l.packets = e.ID, e.Packets
	m.legs[e.Orig] = l
	return e.Packets > was
}

// forgotten says whether a connection's legs have both been in the table.
func (m *mappings) forgotten(inner, outer netfilter.Tuple) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen(inner, outer)
}

func (m *mappings) seen(inner, outer netfilter.Tuple) bool {
	return m.legs[inner].packets > 0 && m.legs[outer].packets > 0
}

// cut returns the legs of the connection that an entry was one of, if both have been in
// the table.
func (m *mappings) cut(gone netfilter.Entry) (inner, outer netfilter.Tuple, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.legs[gone.Orig]
	return l.inner, l.outer, ok && l.id == gone.ID && m.seen(l.inner, l.outer)
}

// byInside returns how a flow of the inside looked outside.
func (m *mappings) byInside(inside trace.Flow) (trace.Flow, bool) {
	p, ok := m.find(func(p *mapping) bool { return p.inside == inside })
	if !ok {
		return trace.Flow{}, false
	}
	return p.outside, true
}

// byOutside returns how a flow of the outside looked inside.
func (m *mappings) byOutside(outside trace.Flow) (trace.Flow, bool) {
	p, ok := m.find(func(p *mapping) bool { return p.outside == outside })
	if !ok {
		return trace.Flow{}, false
	}
	return p.inside, true
}

// find returns the latest mapping that matches, gone or not.
func (m *mappings) find(match func(*mapping) bool) (*mapping, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.known {
		if match(p) {
			return p, true
		}
	}
	for _, p := range slices.Backward(m.gone) {
		if match(p) {
			return p, true
		}
	}
	return nil, false
}

func (m *mappings) event(now time.Time, t trace.Type, p *mapping, d time.Duration) {
	e := trace.Event{Time: now, Type: t, Flow: &p.inside, Dur: d}
	if p.outside != p.inside {
		e.Next = &p.outside
	}
	if p.protocol != netfilter.TCP {
		e.Detail = netfilter.ProtocolName(p.protocol)
	}
	m.record(e)
}
