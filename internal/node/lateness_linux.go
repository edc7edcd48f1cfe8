package node

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/lateness"
)

// latenessPeriod is short enough to see what delays a message, and long enough to cost nothing.
const latenessPeriod = 25 * time.Millisecond

// handleLateness answers how late this process was woken at worst since it was asked last. It
// measures from the first time on, until it is asked to stop: a node that nobody plays on sleeps.
func (p *process) handleLateness(ctx context.Context) {
	var mu sync.Mutex
	var meter *lateness.Meter
	var stop context.CancelFunc
	p.server.Handle("lateness", func(_ context.Context, params json.RawMessage) (any, error) {
		var r struct {
			Stop bool `json:"stop"`
		}
		if err := json.Unmarshal(params, &r); err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		var worst time.Duration
		if meter != nil {
			worst = meter.Take()
		}
		switch {
		case r.Stop && meter != nil:
			stop()
			meter = nil
		case !r.Stop && meter == nil:
			var measuring context.Context
			measuring, stop = context.WithCancel(ctx)
			meter = lateness.Start(measuring, latenessPeriod)
		}
		return worst, nil
	})
}
