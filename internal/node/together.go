package node

import (
	"context"
	"errors"
	"sync"
)

// Together runs the parts of a node's work side by side until ctx ends or one of them
// returns, then ends the others, and returns what they failed with.
func Together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		failed  error
	)
	for _, part := range parts {
		running.Go(func() {
			defer cancel()
			if err := part(ctx); err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return failed
}
