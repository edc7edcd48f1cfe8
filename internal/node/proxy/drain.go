package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/toxics"
)

// farewellPatience is how long a proxy that goes down waits for its last words to be
// on their way. It is less than what an engine waits for the process.
const farewellPatience = 300 * time.Millisecond

// tunnels are those that are open. The zero value has none. It is safe for concurrent use.
type tunnels struct {
	mu   sync.Mutex
	open map[*tunnel]struct{}
	gone chan struct{} // closed and replaced when one has gone
}

// add returns what takes the tunnel away again.
func (ts *tunnels) add(t *tunnel) (remove func()) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open == nil {
		ts.open, ts.gone = make(map[*tunnel]struct{}), make(chan struct{})
	}
	ts.open[t] = struct{}{}
	return func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.open, t)
		close(ts.gone)
		ts.gone = make(chan struct{})
	}
}

// all returns the tunnels that are open, and a channel that is closed when one has gone.
func (ts *tunnels) all() ([]*tunnel, <-chan struct{}) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	open := make([]*tunnel, 0, len(ts.open))
	for t := range ts.open {
		open = append(open, t)
	}
	return open, ts.gone
}

// endAll ends the tunnels side by side.
func endAll(open []*tunnel, by, how, detail string) {
	var ending sync.WaitGroup
	for _, t := range open {
		ending.Go(func() { t.end(by, how, detail) })
	}
	ending.Wait()
}

// handleDrain registers the request "drain": the tunnels that are open now end when
// the grace (lab time) is over, as on_drain says, those that come meanwhile go on. It is what a
// proxy does whose configuration is replaced: new workers take new connections, the old ones
// finish theirs (nginx's worker_shutdown_timeout, HAProxy's hard-stop-after).
func (r *reverse) handleDrain(ctx context.Context) {
	r.env.OnRestart(r.farewell)
	r.env.Handle("drain", func(_ context.Context, params json.RawMessage) (any, error) {
		var p struct {
			Grace time.Duration `json:"grace"`
		}
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, fmt.Errorf("drain: %w", err)
		}
		if p.Grace < 0 {
			return nil, fmt.Errorf("drain: grace is %v, less than nothing", p.Grace)
		}
		open, _ := r.tunnels.all()
		grace := r.env.Wall(p.Grace)
		r.env.Record(trace.Event{Type: trace.Draining, Dur: grace, Count: int64(len(open))})
		timer := time.AfterFunc(grace, func() { endAll(open, byDrain, r.settings.OnDrain, "") })
		context.AfterFunc(ctx, func() { timer.Stop() })
		return map[string]int{"connections": len(open)}, nil
	})
}

// farewell tells the clients that the proxy goes down, if the lab file wants it, and
// waits until they have been told.
func (r *reverse) farewell() {
	if r.settings.OnRestart == "" {
		return
	}
	patience := time.After(farewellPatience)
	open, _ := r.tunnels.all()
	endAll(open, toxics.ByNode, r.settings.OnRestart, "restart")
	if r.settings.OnRestart == endReset {
		r.relay.Reset() // here and now: the process may be gone before the tunnels are
	}
	for {
		open, gone := r.tunnels.all()
		if len(open) == 0 {
			return
		}
		select {
		case <-gone:
		case <-patience:
			return
		}
	}
}
