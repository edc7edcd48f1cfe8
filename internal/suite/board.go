package suite

import (
	"context"
	"sync"
	"time"
)

// State is how far a run is.
type State struct {
	// Done of Total plays have ended, or will not be played.
	Done, Total int
	// Running are the plays under way, those that began first in front.
	Running []string
	// Left is about how long the rest takes.
	Left time.Duration
}

// Timing is how long a run took, and how long it had to take at least.
type Timing struct {
	// Wall is how long it took altogether.
	Wall time.Duration
	// Lab is the sum of what the steps of the plays take at their speed.
	Lab time.Duration
	// Played is the sum of how long each play was under way, without bringing its lab up.
	Played time.Duration
	// Plays that came to an end, and how many of them ran at once at most.
	Plays, Most int
}

// SideBySide is how many plays ran at once on the average.
func (t Timing) SideBySide() float64 { return over(t.Played, t.Wall) }

// Ratio is how long the run took, as a multiple of what it had to take: the lab time of its plays
// divided by how many of them ran side by side on the average.
func (t Timing) Ratio() float64 { return t.SideBySide() * over(t.Wall, t.Lab) }

func over(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return a.Seconds() / b.Seconds()
}

// overheadAtFirst is how much longer than its steps a play takes, as long as none has ended.
const overheadAtFirst = 2500 * time.Millisecond

// board keeps the state of a run. It is safe for concurrent use.
type board struct {
	begun time.Time
	pace  *pace
	watch func(State)

	mu       sync.Mutex
	total    int
	done     int
	running  []*job
	since    map[*job]time.Time
	pending  time.Duration // steps of what has not begun
	waiting  int           // plays that have not begun
	overhead time.Duration
	timing   Timing
}

func newBoard(jobs []*job, p *pace, watch func(State)) *board {
	b := &board{begun: time.Now(), pace: p, watch: watch, total: len(jobs), waiting: len(jobs), since: make(map[*job]time.Time), overhead: overheadAtFirst}
	for _, j := range jobs {
		b.pending += j.lasts()
	}
	return b
}

// begin says that a play begins.
func (b *board) begin(j *job) {
	b.mu.Lock()
	b.running, b.since[j] = append(b.running, j), time.Now()
	b.waiting--
	b.pending -= j.lasts()
	b.mu.Unlock()
	b.tell()
}

// end says that a play has ended, or was not begun and never will be.
func (b *board) end(j *job) {
	b.mu.Lock()
	b.done++
	if since, begun := b.since[j]; begun {
		for i, r := range b.running {
			if r == j {
				b.running = append(b.running[:i:i], b.running[i+1:]...)
				break
			}
		}
		if j.result != nil {
			took := time.Since(since)
			b.timing.Plays++
			b.timing.Lab += j.lasts()
			b.timing.Played += took
			b.overhead += (max(0, took-j.lasts()) - b.overhead) / 4
		}
	} else {
		b.waiting--
		b.pending -= j.lasts()
	}
	b.mu.Unlock()
	b.tell()
}

// state is how far the run is.
func (b *board) state() State {
	limit, _ := b.pace.sideBySide()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := State{Done: b.done, Total: b.total}
	rest := b.pending + time.Duration(b.waiting)*b.overhead
	var longest time.Duration
	for _, j := range b.running {
		s.Running = append(s.Running, j.String())
		left := max(0, j.lasts()+b.overhead-time.Since(b.since[j]))
		rest += left
		longest = max(longest, left)
	}
	at := max(1, min(limit, b.waiting+len(b.running)))
	s.Left = max(longest, rest/time.Duration(at))
	return s
}

func (b *board) tell() {
	if b.watch != nil {
		b.watch(b.state())
	}
}

// watchEvery is how often the state is told while nothing else changes.
const watchEvery = 500 * time.Millisecond

// follow tells the state until ctx ends.
func (b *board) follow(ctx context.Context) {
	if b.watch == nil {
		return
	}
	for tick := time.NewTicker(watchEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			b.tell()
		}
	}
}

// sum is the timing of the run so far.
func (b *board) sum() Timing {
	_, most := b.pace.sideBySide()
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.timing
	t.Wall, t.Most = time.Since(b.begun), most
	return t
}
