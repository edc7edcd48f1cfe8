package strategy

import (
	"math"
	"time"

	"github.com/gorilla/websocket"
)

// Where the random share of a wait lies.
const (
	// SpreadBelow: between (1-Jitter) of the wait and all of it.
	SpreadBelow = "below"
	// SpreadAbove: between the wait and (1+Jitter) of it, which may be more than Max.
	SpreadAbove = "above"
	// SpreadAround: between (1-Jitter) and (1+Jitter) of the wait. It is cut to Max
	// afterwards, so that long waits have no jitter left.
	SpreadAround = "around"
	// SpreadOnce: the base is between Base and (1+Jitter) of it, drawn once.
	SpreadOnce = "once"
	// SpreadDecorrelated: between Base and three times the wait before, at most Max, whatever
	// Factor and Jitter are (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
	SpreadDecorrelated = "decorrelated"
)

// Waits returns the function that tells the wait before try n, counted from 1. random
// returns numbers from 0 to under 1; what it decides lasts as long as the function. Zero fields of r
// have their defaults. The function is not safe for concurrent use.
func (r Reconnect) Waits(random func() float64) func(n int) time.Duration {
	r = *Strategy{Reconnect: &r}.WithDefaults().Reconnect
	base, most := float64(r.Base), float64(r.Max)
	if r.Spread == SpreadOnce {
		base *= 1 + r.Jitter*random()
	}
	previous := base
	return func(n int) time.Duration {
		n = max(n, 1)
		if n <= len(r.First) {
			previous = base
			return time.Duration(float64(r.First[n-1]) * (1 - r.FirstJitter + r.FirstJitter*random()))
		}
		n -= len(r.First)
		if n == 1 {
			previous = base
		}
		// The power may be infinite; the comparison is then still right.
		wait := math.Min(base*math.Pow(r.Factor, float64(n-1)), most)
		add := float64(r.Add)
		if r.AddJitter > 0 {
			add += float64(r.AddJitter) * random()
		}
		switch r.Spread {
		case SpreadAbove:
			wait = wait*(1+r.Jitter*random()) + add
		case SpreadAround:
			unclipped := math.Min(base*math.Pow(r.Factor, float64(n-1)), math.MaxInt64/4)
			wait = math.Min(unclipped*(1-r.Jitter+2*r.Jitter*random())+add, most)
		case SpreadOnce:
			wait += add
		case SpreadDecorrelated:
			previous = math.Min(base+(3*previous-base)*random(), most)
			wait = previous + add
		default:
			wait = wait*(1-r.Jitter) + wait*r.Jitter*random()
			if add > 0 {
				wait = math.Min(wait+add, max(most, add))
			}
		}
		return time.Duration(wait)
	}
}

// WaitsRefused returns the function that tells the wait before try n, counted from 1, of a client whose
// connection ended without a close frame and whose every try is refused at once. It is that of
// [Reconnect.Waits] but for an [AdaptiveReconnect].
func (r Reconnect) WaitsRefused(random func() float64) func(n int) time.Duration {
	waits := r.Waits(random)
	a := Strategy{Reconnect: &r}.WithDefaults().Reconnect.Adaptive
	if a == nil || !contain(a.AtOnce, websocket.CloseAbnormalClosure) {
		return waits
	}
	return func(n int) time.Duration {
		if n <= 1 {
			return 0
		}
		return waits(n - 1)
	}
}
