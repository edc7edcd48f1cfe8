package docker

import (
	"context"
	"sync"
)

// promise is the ID of something that is being made.
type promise struct {
	once sync.Once
	done chan struct{}
	id   string
}

func newPromise() *promise { return &promise{done: make(chan struct{})} }

// keep keeps the promise. Only the first time counts.
func (p *promise) keep(id string) {
	p.once.Do(func() {
		p.id = id
		close(p.done)
	})
}

// wait returns the ID when it is known.
func (p *promise) wait(ctx context.Context) (string, error) {
	select {
	case <-p.done:
		return p.id, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
