// Package lateness measures how late a process is woken when its timers are due: what a
// machine that has more to do than it can bends first. It measures its own process only.
package lateness

import (
	"context"
	"sync"
	"time"
)

// Meter sets itself a timer again and again and keeps how late it was woken. It is safe for
// concurrent use.
type Meter struct {
	mu    sync.Mutex
	worst time.Duration
}

// Start measures with a timer of that period until ctx ends.
func Start(ctx context.Context, period time.Duration) *Meter {
	m := &Meter{}
	go m.run(ctx, period)
	return m
}

func (m *Meter) run(ctx context.Context, period time.Duration) {
	timer := time.NewTimer(period)
	defer timer.Stop()
	for set := time.Now(); ; set = time.Now() {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		m.record(time.Since(set) - period)
		timer.Reset(period)
	}
}

func (m *Meter) record(late time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.worst = max(m.worst, late)
}

// Take returns the worst since the last call, or since the start.
func (m *Meter) Take() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	worst := m.worst
	m.worst = 0
	return worst
}
