package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wslab/wslab/strategy"
)

// Limits of a crowd.
const (
	// crowdTimeout is how long one of its connections may take, in wall time: what is
	// not answered by then has been refused in silence.
	crowdTimeout = 3 * time.Second
	// crowdDoors is how many connect at the same time.
	crowdDoors = 16
	// crowdMost is the largest crowd.
	crowdMost = 10000
)

// crowd is the parameter of crowd.open: sessions that connect, and then say nothing,
// as those of other people do.
type crowd struct {
	// ID names the crowd; its sessions are ID-1, ID-2, ...
	ID          string `json:"id"`
	Connections int    `json:"connections"`
}

// gathered says how many of a crowd have a connection.
type gathered struct {
	Open int `json:"open"`
}

func (k crowd) ids() []string {
	ids := make([]string, k.Connections)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%d", k.ID, i+1)
	}
	return ids
}

func (k crowd) check() error {
	switch {
	case k.ID == "":
		return errors.New("a crowd needs an id")
	case k.Connections < 1 || k.Connections > crowdMost:
		return fmt.Errorf("a crowd is of 1 to %d connections, not %d", crowdMost, k.Connections)
	}
	return nil
}

// gather opens the connections of a crowd by the client's first way, and returns when
// each is open or has failed. They stay until disperse, or the node's end.
func (c *client) gather(asked, ctx context.Context, k crowd) (gathered, error) {
	if err := k.check(); err != nil {
		return gathered{}, err
	}
	path, err := c.path("")
	if err != nil {
		return gathered{}, err
	}
	var (
		mu   sync.Mutex
		all  sync.WaitGroup
		open int
		errs []error
	)
	doors := make(chan struct{}, crowdDoors)
	for _, id := range k.ids() {
		doors <- struct{}{}
		all.Go(func() {
			defer func() { <-doors }()
			in, err := c.join(asked, ctx, id, path)
			mu.Lock()
			defer mu.Unlock()
			if in {
				open++
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	return gathered{open}, errors.Join(errs...)
}

// join opens one connection of a crowd. That it was refused is no error.
func (c *client) join(asked, ctx context.Context, id string, path Path) (in bool, err error) {
	s, err := c.begin(ctx, id, path, strategy.Strategy{ConnectTimeout: crowdTimeout}, 0)
	if err != nil {
		return false, err
	}
	select {
	case <-s.opened:
		return true, nil
	case <-s.ended:
		return false, nil
	case <-asked.Done():
		return false, context.Cause(asked)
	}
}

// disperse ends the connections of a crowd.
func (c *client) disperse(k crowd) error {
	if err := k.check(); err != nil {
		return err
	}
	c.stop(k.ids())
	return nil
}
