package link

import (
	"math"
	"math/rand/v2"
	"time"
)

// queueTime bounds how long a packet may wait for the rate, in lab time: what would wait
// longer is dropped, as by a router whose buffer is full.
const queueTime = 250 * time.Millisecond

// queueLeast is how many packets may wait for the rate whatever it is, so that a slow
// link still carries a burst.
const queueLeast = 20

// Fate is what becomes of a packet.
type Fate struct {
	// Lost packets go nowhere, because of chance or because the queue is full.
	Lost, Full bool
	// Due is when the packet goes on, Copies how often.
	Due    time.Time
	Copies int
}

// shaper decides what becomes of the packets of one direction. It is a state machine
// with the time passed in: the same packets, times and seed give the same fates, and of the
// fates that do not depend on time (loss, duplicates, reordering, jitter) the n-th packet's
// depends on the seed and on n alone. It is not safe for concurrent use.
type shaper struct {
	c      Conditions
	seed   uint64
	number uint64
	buffer time.Duration // queueTime in wall time
	// busy is when the link has sent everything that was given to it, waiting how
	// many packets that is.
	busy time.Time
	sent []time.Time
	last time.Time // due time of the last packet that was not reordered
}

func newShaper(c Conditions, seed uint64) *shaper {
	return &shaper{c: c, seed: seed, buffer: queueTime}
}

// change takes new conditions; what is on its way stays on it.
func (s *shaper) change(c Conditions) { s.c = c }

// offer says what becomes of a packet of that many bytes.
func (s *shaper) offer(now time.Time, size int) Fate {
	s.number++
	random := rand.New(rand.NewPCG(s.seed, s.number))
	// All are drawn every time, so that a change of one figure leaves the others' draws alone.
	lost := random.Float64() < float64(s.c.Loss)/100
	twice := random.Float64() < float64(s.c.Duplicate)/100
	early := random.Float64() < float64(s.c.Reorder)/100
	jitter := time.Duration(float64(s.c.Jitter) * (2*random.Float64() - 1))
	if lost {
		return Fate{Lost: true}
	}
	start, ok := s.transmit(now, size)
	if !ok {
		return Fate{Lost: true, Full: true}
	}
	f := Fate{Due: start, Copies: 1}
	if twice {
		f.Copies = 2
	}
	if early {
		return f // ahead of those that are delayed
	}
	f.Due = start.Add(max(0, s.c.Delay+jitter))
	if f.Due.Before(s.last) {
		f.Due = s.last // jitter keeps the order
	}
	s.last = f.Due
	return f
}

// transmit returns when the packet has left at the rate, or false if the queue is full.
func (s *shaper) transmit(now time.Time, size int) (time.Time, bool) {
	if s.c.Rate <= 0 {
		return now, true
	}
	for len(s.sent) > 0 && !s.sent[0].After(now) {
		s.sent = s.sent[1:]
	}
	if s.busy.Before(now) {
		s.busy = now
	}
	if s.busy.Sub(now) > s.buffer && len(s.sent) >= queueLeast {
		return now, false
	}
	seconds := float64(size) * 8 / float64(s.c.Rate)
	s.busy = s.busy.Add(time.Duration(math.Round(seconds * float64(time.Second))))
	s.sent = append(s.sent, s.busy)
	return s.busy, true
}
