package scenarios

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/trace"
)

// recorder collects the events of all nodes and wakes who waits for one. It is
// safe for concurrent use.
type recorder struct {
	mu      sync.Mutex
	events  []trace.Event
	changed chan struct{} // closed and replaced with each event
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

// Record takes an event.
func (r *recorder) Record(e trace.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	close(r.changed)
	r.changed = make(chan struct{})
}

// note records an event of the runner's own.
func (r *recorder) note(e trace.Event) {
	e.Time, e.Node = time.Now(), runnerName
	r.Record(e)
}

// runnerName is the node of the runner's own events.
const runnerName = "runner"

// mark is the place in the record where what is waited for may begin.
func (r *recorder) mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

// snapshot returns the events so far.
func (r *recorder) snapshot() []trace.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// until waits until ok says yes to the events so far, of which it is asked anew
// with each new one. It returns the cause of ctx's end if that comes first.
func (r *recorder) until(ctx context.Context, ok func([]trace.Event) bool) error {
	for {
		r.mu.Lock()
		// The slice is only ever appended to, so its elements may be read without the lock.
		events, changed := r.events[:len(r.events):len(r.events)], r.changed
		r.mu.Unlock()
		if ok(events) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wait waits for an event from a mark on.
func (r *recorder) wait(ctx context.Context, from int, match ...trace.Match) error {
	return r.until(ctx, func(events []trace.Event) bool {
		return slices.ContainsFunc(events[from:], func(e trace.Event) bool {
			for _, m := range match {
				if !m(e) {
					return false
				}
			}
			return true
		})
	})
}
