package suite

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/lateness"
)

// How many plays run side by side where nobody has said it.
const (
	playsPerCore    = 3  // at first
	maxPlaysPerCore = 12 // whatever the machine bears
)

// A process that is woken that late, at worst within paceEvery, keeps the next play waiting:
// so much lab time, but not less or more than any machine is late by now and then. Under a third of
// it one more play may run.
const (
	busyLab   = 250 * time.Millisecond
	busyLeast = 15 * time.Millisecond
	busyMost  = 100 * time.Millisecond

	paceEvery  = time.Second
	pacePeriod = 10 * time.Millisecond
)

// pace decides when a lab is brought up and when a play begins. It is safe for concurrent use.
type pace struct {
	fixed bool
	cores int
	busy  time.Duration

	mu                       sync.Mutex
	changed                  chan struct{} // closed and replaced with each change
	limit                    int           // of plays side by side
	comingUp, ready, playing int
	most                     int // that ever played

	// bears is how many side by side are not known to bend one another's timing.
	bears   int
	lowered time.Time // when it was found to be less
	kept    int       // plays that kept their timing since bears has changed
}

func newPace(parallel int, speed float64) *pace {
	p := &pace{changed: make(chan struct{}), limit: parallel, fixed: parallel > 0, cores: runtime.GOMAXPROCS(0)}
	p.busy = min(busyMost, max(busyLeast, time.Duration(float64(busyLab)/speed)))
	if !p.fixed {
		p.limit = playsPerCore * p.cores
	}
	p.bears = maxPlaysPerCore * p.cores
	return p
}

// adapt lets the limit follow what the machine bears, until ctx ends.
func (p *pace) adapt(ctx context.Context) {
	if p.fixed {
		return
	}
	meter := lateness.Start(ctx, pacePeriod)
	for tick := time.NewTicker(paceEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			p.observe(meter.Take())
		}
	}
}

// observe draws the consequence of how late this process was woken at worst.
func (p *pace) observe(late time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case late > p.busy && p.limit > p.cores:
		p.apply(func() { p.limit-- })
	case late < p.busy/3 && p.playing >= p.limit && p.limit < p.bears:
		p.apply(func() { p.limit++ })
	}
}

// ends draws the consequence of whether a play that ends kept its timing: its nodes may be late where
// this process is not, as in containers. What has bent one has bent those beside it as well, and
// counts once.
func (p *pace) ends(began time.Time, trusted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.fixed || began.Before(p.lowered):
	case !trusted:
		p.apply(func() {
			p.bears = max(1, min(p.bears, p.playing)-1)
			p.limit = min(p.limit, p.bears)
			p.lowered, p.kept = time.Now(), 0
		})
	default:
		if p.kept++; p.kept > p.bears && p.bears < maxPlaysPerCore*p.cores {
			p.bears++
			p.kept = 0
		}
	}
}

// apply changes something and wakes who waits. The caller holds mu.
func (p *pace) apply(f func()) {
	f()
	p.most = max(p.most, p.playing)
	close(p.changed)
	p.changed = make(chan struct{})
}

// await waits until ok says yes, and then does at once what do does.
func (p *pace) await(ctx context.Context, ok func() bool, do func()) error {
	for {
		p.mu.Lock()
		if ctx.Err() == nil && ok() {
			p.apply(do)
			p.mu.Unlock()
			return nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// bringUp waits until a lab may come up. Few do at a time, since that takes all of a processor and
// those that play wait for it meanwhile; and one is ready before it can play.
func (p *pace) bringUp(ctx context.Context) error {
	return p.await(ctx, func() bool {
		return p.comingUp < max(1, p.cores/2) && p.comingUp+p.ready+p.playing < p.limit+max(1, p.cores/2)
	}, func() { p.comingUp++ })
}

// isUp says that it has come up, or has not.
func (p *pace) isUp(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apply(func() {
		p.comingUp--
		if ok {
			p.ready++
		}
	})
}

// play waits until a play may begin on a lab that is ready.
func (p *pace) play(ctx context.Context) error {
	err := p.await(ctx, func() bool { return p.playing < p.limit }, func() {
		p.ready--
		p.playing++
	})
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.apply(func() { p.ready-- })
	}
	return err
}

// played says that it has ended; again says that the next one on the same lab may begin.
func (p *pace) played(again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apply(func() {
		p.playing--
		if again {
			p.ready++
		}
	})
}

// sideBySide is how many plays may run at the moment, and how many ran at once at most.
func (p *pace) sideBySide() (limit, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit, p.most
}
