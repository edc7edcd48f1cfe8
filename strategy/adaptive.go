package strategy

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// AddressError says that the machine has lost the address that a connection was bound to.
type AddressError struct {
	Address string
}

// Error names the address.
func (e *AddressError) Error() string { return "this machine no longer has the address " + e.Address }

// adaptive is an [Adaptive] at work on one connection.
type adaptive struct {
	Adaptive
	link            *link
	path            string
	ping, heartbeat *prober
	// stirred wakes run: something was sent that is not answered yet, or heard while in doubt.
	stirred chan struct{}
	// doubts tells the session that doubted has changed.
	doubts  chan struct{}
	doubted atomic.Bool
	// reading is when the program was handed a message that it has not come back from, in
	// nanoseconds of the link's age; 0 if there is none.
	reading atomic.Int64

	mu sync.Mutex
	activity
}

// activity is what was heard and sent on a connection. Times are zero where there was none.
type activity struct {
	// heard is when anything came, moved when anything went either way, data when a message did.
	heard, moved, data time.Time
	// asked is when the first thing was sent since something came, quiet how long nothing had moved
	// before it.
	asked time.Time
	quiet time.Duration
	// probed is when the ping was sent whose answer is awaited, hurried says that it was for
	// something that the program had sent.
	probed  time.Time
	hurried bool
	// inVain counts how often in a row only a ping was answered, not what the program had sent.
	inVain int
}

func newAdaptive(l *link, a Adaptive) *adaptive {
	g := &adaptive{
		Adaptive: a, link: l, path: pathOf(l.ws),
		stirred: make(chan struct{}, 1), doubts: make(chan struct{}, 1),
		activity: activity{heard: l.opened, moved: l.opened, data: l.opened},
	}
	g.ping = newPing(l, Ping{Timeout: a.Limit})
	g.ping.probe = func(seq int64) probe {
		payload := ""
		if g.ping.key != "" {
			payload = string(rune('a' + seq%26)) // an earlier answer may still come
		}
		return probe{adaptiveKey(payload), len(payload), func(deadline time.Time) error {
			return l.ws.WriteControl(websocket.PingMessage, []byte(payload), deadline)
		}}
	}
	g.heartbeat = newHeartbeat(l, Heartbeat{Timeout: a.Limit})
	return g
}

// adaptiveKey is the key of a ping by its payload, which costs bytes and is empty if it can be.
func adaptiveKey(payload string) string { return "adaptive " + payload }

// pathOf names the path of a connection: its addresses, without the ports.
func pathOf(ws *websocket.Conn) string {
	return hostOf(ws.LocalAddr()) + " > " + hostOf(ws.RemoteAddr())
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// learn calls f with what is known about the connection's path.
func (g *adaptive) learn(f func(*Learned)) {
	g.link.session.options.Memory.use(g.path, func(l *Learned) {
		l.bound(g.Adaptive)
		f(l)
	})
}

// wake wakes run, if it is not about to wake already.
func (g *adaptive) wake() { notify(g.stirred) }

// notify puts something into a channel that holds one thing, if it is empty.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// heardOf notes that a frame came, or a part of one.
func (g *adaptive) heardOf(data bool) {
	now := time.Now()
	g.mu.Lock()
	if !g.asked.IsZero() && g.quiet >= g.Least {
		quiet := g.quiet
		g.learn(func(l *Learned) { l.borne(quiet, g.Adaptive) })
	}
	if !g.probed.IsZero() {
		took := now.Sub(g.probed)
		g.learn(func(l *Learned) { l.answered(took) })
		if g.hurried && !data {
			g.inVain++
		}
		g.probed = time.Time{}
	}
	g.heard, g.moved, g.asked = now, now, time.Time{}
	if data {
		g.data, g.inVain = now, 0
	}
	g.mu.Unlock()
	if g.doubted.Load() {
		g.wake()
	}
}

// sent notes that something is being sent.
func (g *adaptive) sent(data bool) {
	now := time.Now()
	g.mu.Lock()
	first := g.asked.IsZero()
	if first {
		g.asked, g.quiet = now, now.Sub(g.moved)
	}
	g.moved = now
	if data {
		g.data = now
	}
	g.mu.Unlock()
	if first {
		g.wake()
	}
}

// handling notes that the program has a message, and done that it has come back.
func (g *adaptive) handling() { g.reading.Store(max(1, int64(time.Since(g.link.opened)))) }

func (g *adaptive) done() {
	if begun := g.reading.Swap(0); time.Since(g.link.opened)-time.Duration(begun) < g.look() {
		return
	}
	// What came meanwhile is only about to be read.
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.heard, g.asked = now, time.Time{}
	if !g.probed.IsZero() {
		g.probed = now
	}
}

// look is how often the clock and the addresses are looked at.
func (g *adaptive) look() time.Duration { return g.Patience / 2 }

// addressesEvery is at how many looks of a connection in good order the addresses are looked at.
const addressesEvery = 5

// run looks after the connection until ctx ends, or gives it up.
func (g *adaptive) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var slept bool
	for looks := 1; ; looks++ {
		plan := g.plan(time.Now(), slept)
		if plan.probe {
			g.ask(plan.data)
		}
		if plan.over {
			return g.giveUp(g.Limit)
		}
		if g.doubted.Swap(plan.doubt) != plan.doubt {
			notify(g.doubts)
		}
		if plan.waits || looks%addressesEvery == 0 {
			if err := g.hasAddress(); err != nil {
				return err
			}
		}
		due := time.Now().Add(min(plan.next, g.look()))
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return nil
		case <-g.stirred:
			slept = false
		case <-timer.C:
			// The wall clock goes on while a machine is asleep, the other one may not.
			now := time.Now()
			slept = max(now.Sub(due), now.Round(0).Sub(due.Round(0))) > g.Patience
		}
	}
}

// plan is what is to be done about a connection now.
type plan struct {
	// probe: a ping is due, or with data a heartbeat.
	probe, data bool
	// doubt: another connection should be opened beside; over: this one is to be given up.
	doubt, over bool
	// waits: an answer is awaited.
	waits bool
	// next is when to look again at the latest.
	next time.Duration
}

// plan says what is to be done. slept says that the machine was asleep, or the program had no turn.
func (g *adaptive) plan(now time.Time, slept bool) plan {
	var quiet, patience, hungry time.Duration
	g.learn(func(l *Learned) { quiet, patience, hungry = l.Quiet, l.patience(g.Adaptive), l.hungry(g.Adaptive) })
	g.mu.Lock()
	defer g.mu.Unlock()
	p := plan{waits: !g.asked.IsZero(), next: patience}
	if g.reading.Load() != 0 {
		return p // nobody listens
	}
	if !g.probed.IsZero() {
		if slept {
			g.probed = now.Add(-patience) // what it waited before does not count
		}
		waited := now.Sub(g.probed)
		p.over = waited >= g.Limit
		p.doubt = waited >= patience
		if !p.doubt {
			p.next = patience - waited
		}
		if g.link.session.strategy.Reconnect == nil {
			p.doubt = false
		}
		return p
	}
	due := g.heard.Add(quiet)
	if hungry > 0 && g.data.Add(hungry).Before(due) {
		due = g.data.Add(hungry)
	}
	hurry := !g.asked.IsZero()
	if hurry {
		// Who never gets an answer is not helped by asking after each message.
		soon := g.asked.Add(min(patience/2<<min(g.inVain, 20), quiet))
		hurry = soon.Before(due)
		if hurry {
			due = soon
		}
	}
	if p.next = due.Sub(now); p.next > 0 && !slept {
		return p
	}
	g.probed, g.hurried = now, hurry
	p.probe, p.data, p.waits, p.next = true, hungry > 0 && now.Sub(g.data) >= hungry, true, patience
	return p
}

// ask sends a ping, or a heartbeat. Nobody waits until it is written: a connection that takes nothing must
// not hold up what looks after it.
func (g *adaptive) ask(data bool) {
	p := g.ping
	if data {
		p = g.heartbeat
	}
	_, write, deadline := p.begin(p.seq + 1)
	g.sent(data)
	// If it cannot be written there will be no answer either.
	g.link.session.background.Go(func() { _ = write(deadline) })
}

// giveUp reports that nothing was heard for so long, and returns the reason.
func (g *adaptive) giveUp(after time.Duration) error {
	p := g.ping
	if h := g.heartbeat; h.lastSent().After(p.lastSent()) {
		p = h
	}
	if !p.expire(after) {
		g.link.report(Event{Type: KeepaliveTimeout, Conn: g.link.number, Means: MeansSilence, Dur: after})
		return &TimeoutError{Means: MeansSilence, Timeout: after}
	}
	return &TimeoutError{Means: p.means, Timeout: after}
}

// silent says whether the connection still has not answered.
func (g *adaptive) silent() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.probed.IsZero() && g.reading.Load() == 0
}

// replaced gives the connection up because another one is open, which was sought for so long.
func (g *adaptive) replaced(sought time.Duration) error {
	g.mu.Lock()
	waited, quiet := time.Since(g.probed), g.quiet
	g.mu.Unlock()
	if sought < g.Patience {
		// The path itself is in order: it was this connection that it had forgotten.
		g.learn(func(l *Learned) { l.broken(quiet, g.Adaptive) })
	}
	return g.giveUp(waited.Round(time.Millisecond))
}

// ended notes how the connection ended on its own.
func (g *adaptive) ended(e ending) {
	if e.code != websocket.CloseAbnormalClosure || e.by != ByNetwork {
		return
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	quiet, noData := now.Sub(g.moved), now.Sub(g.data)
	if !g.asked.IsZero() {
		quiet = g.quiet
	}
	g.learn(func(l *Learned) {
		if quiet >= g.Least && quiet > l.Borne {
			l.broken(quiet, g.Adaptive)
			return
		}
		l.starved(noData, g.Adaptive)
	})
}

// hasAddress says whether the machine still has the address that the connection is bound to.
func (g *adaptive) hasAddress() error {
	local, ok := g.link.ws.LocalAddr().(*net.TCPAddr)
	if !ok || local.IP.IsUnspecified() {
		return nil
	}
	all, err := g.link.session.options.Addresses()
	if err != nil || len(all) == 0 {
		return nil // nobody knows
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(local.IP) {
			return nil
		}
	}
	return &AddressError{Address: local.IP.String()}
}

// movedBy notes that something was sent that is no question: the answer to a ping.
func (g *adaptive) movedBy() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = time.Now()
}
