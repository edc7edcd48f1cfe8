package link

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Burst is packets that one node sends to another of the same network, to measure what
// arrives. Times are wall time.
type Burst struct {
	To      netip.AddrPort `json:"to"`
	Packets int            `json:"packets"`
	// Size of a packet in bytes, IP and UDP headers included.
	Size int `json:"size"`
	// Every is the time from one packet to the next.
	Every time.Duration `json:"every"`
}

// Arrived is what came of a burst.
type Arrived struct {
	// Packets that came, those of them that had come before, and those that came before
	// one that was sent earlier.
	Packets  int `json:"packets"`
	Again    int `json:"again"`
	Overtook int `json:"overtook"`
	// Median and quartiles of the times from sending to arrival; both nodes read the same
	// machine's clock.
	Median time.Duration `json:"median"`
	Low    time.Duration `json:"low"`
	High   time.Duration `json:"high"`
	// Bits that arrived after the first packet, headers included, and for how long.
	Bits int64         `json:"bits"`
	Span time.Duration `json:"span"`
}

// Bounds of a burst, so that no request occupies a node for long.
const (
	burstPackets  = 100_000
	burstLength   = time.Minute
	burstPatience = 10 * time.Second
	headerBytes   = 28 // IPv4 and UDP
	stampBytes    = 16 // when it was sent, and which it is
)

// meter receives a burst.
type meter struct {
	conn *net.UDPConn
	done chan struct{}

	mu          sync.Mutex
	delays      []time.Duration
	order       []uint64
	bits        int64
	first, last time.Time
}

// read takes packets until the socket is closed.
func (m *meter) read() {
	defer close(m.done)
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := m.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		now := time.Now()
		if n < stampBytes {
			continue
		}
		sent := time.Unix(0, int64(binary.BigEndian.Uint64(buffer)))
		m.mu.Lock()
		if m.first.IsZero() {
			m.first = now
		} else {
			m.bits += int64(n+headerBytes) * 8
		}
		m.last = now
		if len(m.delays) < burstPackets {
			m.delays = append(m.delays, now.Sub(sent))
			m.order = append(m.order, binary.BigEndian.Uint64(buffer[8:]))
		}
		m.mu.Unlock()
	}
}

// close ends the reading.
func (m *meter) close() {
	_ = m.conn.Close() // it was only read
	<-m.done
}

// arrived sums up what came.
func (m *meter) arrived() Arrived {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := Arrived{Packets: len(m.delays), Bits: m.bits, Span: m.last.Sub(m.first)}
	if n := len(m.delays); n > 0 {
		slices.Sort(m.delays)
		a.Median, a.Low, a.High = m.delays[n/2], m.delays[n/4], m.delays[n*3/4]
	}
	a.Again, a.Overtook = ordered(m.order)
	return a
}

// ordered counts the packets that have come before, and those that came before one that was
// sent earlier, in the order in which packets have come.
func ordered(order []uint64) (again, overtook int) {
	came := make(map[uint64]bool, len(order))
	var first []uint64
	for _, n := range order {
		if came[n] {
			again++
			continue
		}
		came[n] = true
		first = append(first, n)
	}
	earliest := uint64(math.MaxUint64)
	for _, n := range slices.Backward(first) {
		if n > earliest {
			overtook++
		}
		earliest = min(earliest, n)
	}
	return again, overtook
}

// HandleListen answers link.listen {network}: the node counts what arrives at the address
// that it returns, until link.arrived.
func (l *Links) HandleListen(_ context.Context, params json.RawMessage) (any, error) {
	var r struct {
		Network string `json:"network"`
	}
	if err := json.Unmarshal(params, &r); err != nil {
		return nil, fmt.Errorf("link.listen: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.ends, func(e *end) bool { return e.network == r.Network })
	if i < 0 {
		return nil, fmt.Errorf("link.listen: node %s is not on network %q", l.node, r.Network)
	}
	l.endMeter()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.ends[i].addr, 0)))
	if err != nil {
		return nil, fmt.Errorf("link.listen: %w", err)
	}
	_ = conn.SetReadBuffer(4 << 20) // as much of it as the machine allows
	l.meter = &meter{conn: conn, done: make(chan struct{})}
	go l.meter.read()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

// endMeter ends a measurement that is under way.
func (l *Links) endMeter() {
	if l.meter != nil {
		l.meter.close()
		l.meter = nil
	}
}

// HandleSend answers link.send, a [Burst], when all of it is sent.
func (l *Links) HandleSend(ctx context.Context, params json.RawMessage) (any, error) {
	var b Burst
	if err := json.Unmarshal(params, &b); err != nil {
		return nil, fmt.Errorf("link.send: %w", err)
	}
	if b.Packets < 1 || b.Packets > burstPackets || b.Size < headerBytes+stampBytes || b.Size > 1500 ||
		b.Every < 0 || time.Duration(b.Packets)*b.Every > burstLength {
		return nil, errors.New("link.send: a burst out of bounds")
	}
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(b.To))
	if err != nil {
		return nil, fmt.Errorf("link.send: %w", err)
	}
	defer func() { _ = conn.Close() }() // it was only written to
	packet := make([]byte, b.Size-headerBytes)
	start := time.Now()
	for i := range b.Packets {
		if wait := time.Until(start.Add(time.Duration(i) * b.Every)); wait > 0 {
			time.Sleep(wait)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		binary.BigEndian.PutUint64(packet[8:], uint64(i))
		binary.BigEndian.PutUint64(packet, uint64(time.Now().UnixNano()))
		if _, err := conn.Write(packet); err != nil {
			return nil, fmt.Errorf("link.send: %w", err)
		}
	}
	return nil, nil
}

// HandleArrived answers link.arrived {quiet} with an [Arrived], when nothing has come for
// that long in wall time, and ends the counting.
func (l *Links) HandleArrived(ctx context.Context, params json.RawMessage) (any, error) {
	var r struct {
		Quiet time.Duration `json:"quiet"`
	}
	if err := json.Unmarshal(params, &r); err != nil {
		return nil, fmt.Errorf("link.arrived: %w", err)
	}
	l.mu.Lock()
	m := l.meter
	l.meter = nil
	l.mu.Unlock()
	if m == nil {
		return nil, errors.New("link.arrived: nothing is measured")
	}
	defer m.close()
	tick := time.NewTicker(max(time.Millisecond, min(r.Quiet, burstPatience)))
	defer tick.Stop()
	for before := -1; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		a := m.arrived()
		if a.Packets == before {
			return a, nil
		}
		before = a.Packets
	}
}
