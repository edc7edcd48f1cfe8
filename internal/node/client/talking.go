package client

import (
	"context"
	"sync"
	"time"
)

// talking is a session's numbered messages in regular intervals. Its zero value is quiet.
type talking struct {
	mu   sync.Mutex
	stop context.CancelFunc
	done chan struct{}
}

// talk calls send at once and then each interval until quiet is called or ctx ends. It
// takes the place of an earlier talk.
func (t *talking) talk(ctx context.Context, interval time.Duration, send func(context.Context)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil {
		t.stop()
	}
	ctx, stop := context.WithCancel(ctx)
	earlier, done := t.done, make(chan struct{})
	t.stop, t.done = stop, done
	go func() {
		defer close(done)
		if earlier != nil {
			<-earlier
		}
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for ctx.Err() == nil {
			send(ctx)
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}()
}

// quiet ends the talk and waits for a message that is being written, until ctx ends.
func (t *talking) quiet(ctx context.Context) {
	t.mu.Lock()
	stop, done := t.stop, t.done
	t.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
