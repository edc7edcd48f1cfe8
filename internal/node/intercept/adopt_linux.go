package intercept

import (
	"context"
	"errors"
	"fmt"
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
	probeRounds  = 3
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
	peer *end
	// expects is the sequence number of the next byte that the end has not received.
	expects uint32
	known   bool
	// gone says that the end knows no such connection: the kernel's entry is of one
	// that has ended unseen.
	gone bool
	// confirmed says that a later probe was answered with the same.
	confirmed bool
	window    uint16
	// timestamps says that the end sends them, and clock is the latest.
	timestamps bool
	clock      uint32
}

// heard takes in a segment of the end.
func (e *end) heard(p netfilter.Packet) {
	if p.Flags&netfilter.RST != 0 {
		e.gone = true
		return
	}
	if p.Flags&netfilter.ACK == 0 || p.Flags&netfilter.SYN != 0 {
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
	if i.opts.Stateless {
		i.env.Logf("without state nobody knows which connections are open: they stay with the kernel, beyond the reach of toxics")
		return nil
	}
	tried := make(map[netfilter.Tuple]error)
	for range adoptPasses {
		found, halfOpen, err := i.forwarded()
		if err != nil {
			return err
		}
		found = slices.DeleteFunc(found, func(a *adoption) bool {
			_, again := tried[a.entry.Orig]
			return again
		})
		if len(found) > 0 {
			i.adoptThese(ctx, found)
			for _, a := range found {
				tried[a.entry.Orig] = a.err
			}
		}
		if !halfOpen {
			break
		}
		select {
		case <-time.After(handshake):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	i.tell(tried)
	return nil
}

// tell records how many connections were adopted, and how many could not be.
func (i *Interceptor) tell(tried map[netfilter.Tuple]error) {
	adopted, failed := 0, trace.Event{Type: trace.Log}
	for _, err := range tried {
		if err == nil {
			adopted++
			continue
		}
		if !errors.Is(err, errGone) { // there is nothing left to reach
			failed.Count++
			failed.Err = err.Error()
		}
	}
	if adopted > 0 {
		i.env.Record(trace.Event{Type: trace.Log, Count: int64(adopted), Detail: "open connections taken over from the kernel"})
	}
	if failed.Count > 0 {
		failed.Detail = "open connections could not be taken over: they stay with the kernel, beyond the reach of toxics"
		i.env.Record(failed)
	}
}

// forwarded lists the open connections on the kernel's path, and says whether others
// are about to open.
func (i *Interceptor) forwarded() (found []*adoption, halfOpen bool, err error) {
	entries, err := i.table.List()
	if err != nil || len(entries) == 0 {
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
		case e.Orig.Protocol != netfilter.TCP, e.Redirected():
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

// adoptThese adopts connections side by side, and notes in each what stood in its way.
func (i *Interceptor) adoptThese(ctx context.Context, all []*adoption) {
	for _, a := range all {
		a.err = errSilent
	}
	if err := i.probe(ctx, all); err != nil {
		for _, a := range all {
			if a.pair == nil {
				a.err = err
			}
		}
	}
	for _, a := range all {
		if a.err != nil {
			a.err = fmt.Errorf("%s: %w", a.entry.Orig, a.err)
		}
	}
}

var (
	errSilent = errors.New("an end did not answer")
	errGone   = errors.New("an end does not know the connection any more")
)

// ends is what is known about the ends of connections, by the tuple of what they send.
type ends struct {
	mu    sync.Mutex
	of    map[netfilter.Tuple]*end
	heard chan struct{} // has an element when something new was heard
}

func (e *ends) packet(_ string, p netfilter.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if end, ok := e.of[p.Tuple]; ok {
		end.heard(p)
		select {
		case e.heard <- struct{}{}:
		default:
		}
	}
}

// doubt takes back what was confirmed: it may have been overtaken.
func (e *ends) doubt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, end := range e.of {
		end.confirmed = false
	}
}

// all says whether something is so for every end.
func (e *ends) all(is func(*end) bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, end := range e.of {
		if !is(end) {
			return false
		}
	}
	return true
}

func known(e *end) bool     { return e.known || e.gone }
func confirmed(e *end) bool { return e.confirmed || e.gone }

// probe freezes the connections, learns where their ends are, and finishes each as
// soon as that is known.
func (i *Interceptor) probe(ctx context.Context, all []*adoption) (err error) {
	log, err := netfilter.OpenLog(netfilter.FrozenGroup)
	if err != nil {
		return err
	}
	e := &ends{of: make(map[netfilter.Tuple]*end), heard: make(chan struct{}, 1)}
	for _, a := range all {
		a.client.peer, a.server.peer = &a.server, &a.client
		e.of[a.entry.Orig], e.of[a.entry.Reply] = &a.client, &a.server
	}
	var reader sync.WaitGroup
	defer reader.Wait()
	defer func() { _ = log.Close() }()
	reader.Go(func() { _ = log.Run(e.packet) }) // until it is closed
	sender, err := newProber()
	if err != nil {
		return err
	}
	defer sender.close()
	if err := i.rules.freeze(tuples(all)...); err != nil {
		return err
	}
	left := all
	defer func() { err = errors.Join(err, i.rules.thaw(tuples(left)...)) }()
	time.Sleep(settle)
	e.doubt()
	for range probeRounds {
		if err := e.probe(sender); err != nil {
			return err
		}
		if e.all(known) {
			e.await(ctx, confirmed, answerTime)
		} else {
			e.await(ctx, known, rateLimit)
		}
		if left, err = i.finish(e, sender, left); err != nil || len(left) == 0 {
			return err
		}
	}
	return nil
}

func tuples(all []*adoption) []netfilter.Tuple {
	var list []netfilter.Tuple
	for _, a := range all {
		list = append(list, a.entry.Orig, a.entry.Reply)
	}
	return list
}

// probe sends a probe to each end that is still in question.
func (e *ends) probe(sender *prober) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for tuple, end := range e.of {
		if confirmed(end) {
			continue
		}
		if err := sender.probe(tuple.Reverse(), *end, *end.peer); err != nil {
			return err
		}
	}
	return nil
}

// await waits until something is so for every end, no longer than patience.
func (e *ends) await(ctx context.Context, is func(*end) bool, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for !e.all(is) {
		select {
		case <-e.heard:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// finish rebuilds the connections of which both ends are known by now, lifts the
// freeze from them, and returns the others.
func (i *Interceptor) finish(e *ends, sender *prober, all []*adoption) (left []*adoption, err error) {
	var ready []*adoption
	e.mu.Lock()
	for _, a := range all {
		if confirmed(&a.client) && confirmed(&a.server) {
			ready = append(ready, a)
			delete(e.of, a.entry.Orig)
			delete(e.of, a.entry.Reply)
		} else {
			left = append(left, a)
		}
	}
	e.mu.Unlock()
	for _, a := range ready {
		if a.err = errGone; !a.client.gone && !a.server.gone {
			a.err = i.rebuild(a)
		}
	}
	if len(ready) > 0 {
		err = i.rules.thaw(tuples(ready)...)
	}
	for _, a := range ready {
		if a.err != nil {
			continue
		}
		if a.entry.Translated() {
			err = errors.Join(err,
				sender.nudge(a.pair.Inner().Reverse(), a.client, a.server),
				sender.nudge(a.pair.Outer(), a.server, a.client))
		}
		joined := make(chan struct{})
		i.carried.Go(func() { i.carry(a.pair, false, func() { close(joined) }) })
		<-joined
	}
	return left, err
}

// rebuild makes the two sockets of a connection whose ends are known and gives them
// its place in the connection table.
func (i *Interceptor) rebuild(a *adoption) error {
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
		return err
	}
	server, err := toServer.open()
	if err != nil {
		_ = client.Close() // in repair mode: silently
		return err
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
		return err
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
