package strategy

import (
	"math"
	"time"
)

// Delay returns the wait before try n, counted from 1. random, from 0 to under 1,
// decides the part of the wait that is left to chance. Zero fields of r have their defaults.
func (r Reconnect) Delay(n int, random float64) time.Duration {
	r = *Strategy{Reconnect: &r}.WithDefaults().Reconnect
	// The power may be infinite; the comparison is then still right.
	wait := math.Min(float64(r.Base)*math.Pow(r.Factor, float64(max(n, 1)-1)), float64(r.Max))
	return time.Duration(wait*(1-r.Jitter) + wait*r.Jitter*random)
}
