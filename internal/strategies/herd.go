package strategies

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wslab/wslab/strategy"
)

// Crowd is how many clients lose their connections at the same moment, because the server is gone for a
// while. It refuses them at once as long as it is down, and takes every one from then on.
type Crowd struct {
	Clients int
	Down    time.Duration
	// Seed of what strategies draw at random.
	Seed uint64
}

// peakWithin is the time in which arrivals are counted that come together.
const peakWithin = 100 * time.Millisecond

// Herd is how the clients of one strategy come back.
type Herd struct {
	Strategy string
	// Attempts per client, the one that succeeds included.
	Attempts float64
	// Peak is the most clients that arrive within 100 ms once the server is up.
	Peak int
	// Back counts the clients that come back; the others have given up.
	Back int
	// Last is how long after the server was up again the last of them was back.
	Last time.Duration
}

// Gather lets the clients of each strategy lose their connections and come back. A strategy that does not
// reconnect is left out. The one with the highest peak comes first.
func (c Crowd) Gather(all []strategy.Named) []Herd {
	var herds []Herd
	for _, n := range all {
		if n.Reconnect != nil {
			herds = append(herds, c.herd(n))
		}
	}
	slices.SortStableFunc(herds, func(a, b Herd) int {
		return cmp.Or(cmp.Compare(b.Peak, a.Peak), cmp.Compare(b.Attempts, a.Attempts))
	})
	return herds
}

func (c Crowd) herd(n strategy.Named) Herd {
	h := Herd{Strategy: n.Name}
	r := *n.WithDefaults().Reconnect
	var arrivals []time.Duration
	attempts := 0
	for i := range c.Clients {
		random := rand.New(rand.NewPCG(c.Seed, uint64(i)))
		waits := r.WaitsRefused(random.Float64)
		at := time.Duration(0)
		for try := 1; r.Tries < 0 || try <= r.Tries; try++ {
			at += waits(try)
			attempts++
			if at >= c.Down {
				arrivals = append(arrivals, at-c.Down)
				break
			}
		}
	}
	slices.Sort(arrivals)
	h.Attempts, h.Back = float64(attempts)/float64(max(1, c.Clients)), len(arrivals)
	if len(arrivals) > 0 {
		h.Last = arrivals[len(arrivals)-1]
	}
	first := 0
	for i, at := range arrivals {
		for at-arrivals[first] >= peakWithin {
			first++
		}
		h.Peak = max(h.Peak, i-first+1)
	}
	return h
}
