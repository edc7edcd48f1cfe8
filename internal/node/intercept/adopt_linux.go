package intercept

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/netfilter"
	"github.com/wslab/wslab/internal/trace"
)

// An open connection is adopted in these steps.
//
//  1. Freeze: what comes in from either end is dropped. Both ends take it for
//     loss; whatever has not been acknowledged they will send again.
//  2. Probe: each end is sent a segment outside of its receive window, which it
//     answers with an ACK that says what it expects next (RFC 9293, section 3.10.7.4).
//     What an end expects next is all that the other may ever have been told, so it is
//     where a socket in the middle can take the stream up without losing or
//     repeating a byte.
//  3. Two sockets are made in TCP_REPAIR mode (tcp(7), as CRIU does), each with
//     the address of one end, and continue the two halves.
//  4. The connection table gets entries for the two halves, in place of one that
//     translated; then the freeze is lifted.
//
// Until the fourth step nothing has happened that a connection does not survive, so
// that a connection whose adoption fails stays as it was.
const (
	// settle is how long a packet that was past the freeze may take to arrive.
	settle = 20 * time.Millisecond
	// answerTime is how long an end may take to answer a probe.
	answerTime = 100 * time.Millisecond
	// probeRounds: an end answers at most one segment without data outside of its
	// window each net.ipv4.tcp_invalid_ratelimit, 500 ms unless configured.
	probeRounds  = 4
	rateLimit    = 550 * time.Millisecond
	handshake    = 50 * time.Millisecond // for half-open connections to become open
	adoptPasses  = 3
	probeBackoff = 1 << 20 // how far before what is expected a probe with data lies
)

// adoption is a connection that is being adopted.
type adoption struct {
	entry          netfilter.Entry
	client, server end
	pair           *Pair
	err            error
}

// end is what is known about one end of a connection.
type end struct {
	// expects is the sequence number of the next byte that the end has not received.
	expects uint32
	known   bool
	// confirmed says that a later probe was answered with the same.
	confirmed bool
	window    uint16
	// timestamps says that the end sends them, and clock is the latest.
	timestamps bool
	clock      uint32
}

// heard takes in a segment of the end.
func (e *end) heard(p netfilter.Packet) {
	if p.Flags&netfilter.ACK == 0 || p.Flags&(netfilter.SYN|netfilter.RST) != 0 {
		return
	}
	if e.known && int32(p.Ack-e.expects) < 0 {
		return // an older one
	}
	e.confirmed = e.known && p.Ack == e.expects
	e.known, e.expects, e.window = true, p.Ack, p.Window
	if p.Timestamps {
		e.timestamps, e.clock = true, p.TSVal
	}
}

// adopt adopts what the kernel forwards. Connections that cannot be adopted stay
// with the kernel and are told about in a log event. The caller holds switching.
func (i *Interceptor) adopt(ctx context.Context) error {
	var failed []*adoption
	adopted := 0
	for range adoptPasses {
		found, halfOpen, err := i.forwarded()
		if err != nil {
			return err
		}
		if failed = nil; len(found) > 0 {
			i.adoptThese(ctx, found)
			for _, a := range found {
				if a.err != nil {
					failed = append(failed, a)
				} else {
					adopted++
				}
			}
		}
		if !halfOpen && len(failed) == 0 {
			break
		}
		select {
		case <-time.After(handshake):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if adopted > 0 {
		i.env.Record(trace.Event{Type: trace.Log, Count: int64(adopted), Detail: fmt.Sprintf("took over %d open connections", adopted)})
	}
	if len(failed) > 0 {
		i.env.Record(trace.Event{
			Type: trace.Log, Count: int64(len(failed)),
			Detail: fmt.Sprintf("%d open connections could not be taken over and stay as they are", len(failed)),
			Err:    failed[0].err.Error(),
		})
	}
	return nil
}

// forwarded lists the open connections on the kernel's path, and says whether others
// are about to open.
func (i *Interceptor) forwarded() (found []*adoption, halfOpen bool, err error) {
	entries, err := i.table.List()
	if err != nil {
		return nil, false, err
	}
	ours, err := sockets()
	if err != nil {
		return nil, false, err
	}
	local, err := localAddrs()
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		switch {
		case e.Orig.Protocol != netfilter.TCP:
		case local[e.Orig.Src.Addr()] || local[e.Orig.Dst.Addr()]:
		case ours[e.Orig] || ours[e.Orig.Reverse()] || ours[e.Reply.Reverse()]:
		case !i.wants(e.Orig.Dst.Port()):
		case e.State == netfilter.StateSYNSent || e.State == netfilter.StateSYNReceived:
			halfOpen = true
		case e.State == netfilter.StateEstablished:
			found = append(found, &adoption{entry: e})
		}
	}
	return found, halfOpen, nil
}

func (i *Interceptor) wants(port uint16) bool {
	return i.opts.Ports == nil || slices.ContainsFunc(i.opts.Ports, func(r PortRange) bool {
		return r.First <= port && port <= r.Last
	})
}

func localAddrs() (map[netip.Addr]bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	local := make(map[netip.Addr]bool)
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			local[p.Addr()] = true
		}
	}
	return local, nil
}

// adoptThese adopts connections side by side.
func (i *Interceptor) adoptThese(ctx context.Context, all []*adoption) {
	var frozen []netfilter.Tuple
	for _, a := range all {
		frozen = append(frozen, a.entry.Orig, a.entry.Reply)
	}
	err := i.probe(ctx, all, frozen)
	for _, a := range all {
		if a.err = err; err == nil {
			a.err = i.rebuild(a)
		}
	}
	if err := i.rules.thaw(frozen...); err != nil {
		i.env.Logf("%v", err)
	}
	for _, a := range all {
		if a.err != nil {
			continue
		}
		joined := make(chan struct{})
		i.carried.Go(func() { i.carry(a.pair, false, func() { close(joined) }) })
		<-joined
	}
}

// probe freezes the connections and learns where their ends are.
func (i *Interceptor) probe(ctx context.Context, all []*adoption, frozen []netfilter.Tuple) error {
	log, err := netfilter.OpenLog(netfilter.FrozenGroup)
	if err != nil {
		return err
	}
	var (
		mu     sync.Mutex
		ends   = make(map[netfilter.Tuple]*end)
		heard  = make(chan struct{}, 1)
		reader sync.WaitGroup
	)
	defer reader.Wait()
	defer func() { _ = log.Close() }()
	for _, a := range all {
		ends[a.entry.Orig], ends[a.entry.Reply] = &a.client, &a.server
	}
	reader.Go(func() {
		_ = log.Run(func(_ string, p netfilter.Packet) { // ends with Close
			mu.Lock()
			defer mu.Unlock()
			if e, ok := ends[p.Tuple]; ok {
				e.heard(p)
				select {
				case heard <- struct{}{}:
				default:
				}
			}
		})
	})
	sender, err := newProber()
	if err != nil {
		return err
	}
	defer sender.close()
	if err := i.rules.freeze(frozen...); err != nil {
		return err
	}
	time.Sleep(settle)
	mu.Lock()
	for _, e := range ends {
		e.confirmed = false // what was said before may have been overtaken
	}
	mu.Unlock()
	for range probeRounds {
		mu.Lock()
		missing, blind := 0, false
		for tuple, e := range ends {
			if e.confirmed {
				continue
			}
			missing++
			blind = blind || !e.known
			if err = sender.send(tuple.Reverse(), *e); err != nil {
				break
			}
		}
		mu.Unlock()
		if err != nil || missing == 0 {
			return err
		}
		i.await(ctx, heard, func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range ends {
				if blind && !e.known || !blind && !e.confirmed {
					return false
				}
			}
			return true
		}, blind)
	}
	return nil
}

// await waits until enough was heard, at most as long as an answer may take.
func (i *Interceptor) await(ctx context.Context, heard <-chan struct{}, enough func() bool, blind bool) {
	patience := answerTime
	if blind {
		patience = rateLimit
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for !enough() {
		select {
		case <-heard:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// rebuild makes the two sockets of a connection whose ends are known and gives them
// its place in the connection table.
func (i *Interceptor) rebuild(a *adoption) error {
	if !a.client.confirmed || !a.server.confirmed {
		return fmt.Errorf("%s: an end did not answer", a.entry.Orig)
	}
	e := a.entry
	scaled := e.Flags[0]&e.Flags[1]&netfilter.FlagWindowScale != 0
	sack := e.Flags[0]&e.Flags[1]&netfilter.FlagSACK != 0
	toClient := repair{
		local: e.Orig.Dst, remote: e.Orig.Src,
		send: a.client.expects, receive: a.server.expects,
		scaled: scaled, sendScale: e.Scale[0], receiveScale: e.Scale[1],
		sendWindow: a.client.window, receiveWindow: a.server.window,
		sack: sack, timestamps: a.client.timestamps && a.server.timestamps, clock: a.server.clock,
	}
	toServer := repair{
		local: e.Reply.Dst, remote: e.Reply.Src,
		send: a.server.expects, receive: a.client.expects,
		scaled: scaled, sendScale: e.Scale[1], receiveScale: e.Scale[0],
		sendWindow: a.server.window, receiveWindow: a.client.window,
		sack: sack, timestamps: toClient.timestamps, clock: a.client.clock,
	}
	client, err := toClient.open()
	if err != nil {
		return fmt.Errorf("%s: %w", e.Orig, err)
	}
	server, err := toServer.open()
	if err != nil {
		_ = client.Close() // in repair mode: silently
		return fmt.Errorf("%s: %w", e.Orig, err)
	}
	a.pair = &Pair{
		Flow:   e.Orig.Flow(),
		Next:   trace.Flow{Src: e.Reply.Dst, Dst: e.Reply.Src},
		client: client, server: server,
	}
	if e.Translated() {
		err = i.split(a)
	}
	if err == nil {
		err = alive(client, server)
	}
	if err != nil {
		_, _ = client.Close(), server.Close()
		return fmt.Errorf("%s: %w", e.Orig, err)
	}
	return nil
}

// split replaces the entry that translated a connection by one for each half.
func (i *Interceptor) split(a *adoption) error {
	if i.opts.Moved != nil {
		i.opts.Moved(a.entry, a.pair)
	}
	if err := i.table.Delete(a.entry.Orig); err != nil {
		return err
	}
	if err := i.table.Create(a.pair.Inner(), i.opts.Timeout); err != nil {
		return err
	}
	return i.table.Create(a.pair.Outer(), i.opts.Timeout)
}

// randomSeq is a sequence number that lies in a window of some ten thousands only by
// a rare chance.
func randomSeq() uint32 { return rand.Uint32() }
