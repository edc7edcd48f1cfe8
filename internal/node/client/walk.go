package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/wslab/wslab/strategy"
)

// walkTimeout bounds the connecting of a walk, and then the wait for the echo; wall
// time, because a walk measures the machine as well.
const walkTimeout = 10 * time.Second

// Walk is one way to the server, tried once.
type Walk struct {
	Path string `json:"path"`
	OK   bool   `json:"ok"`
	// Stage that failed ("tcp", "proxy", "tls", "websocket", "echo") and the error, when not OK.
	Stage string `json:"stage,omitempty"`
	Error string `json:"error,omitempty"`
	// Seconds until the echo or the failure, in lab time.
	Seconds float64 `json:"seconds"`
}

// walkAll tries every path once, all at the same time, until asked or the node ends.
func (c *client) walkAll(asked, ctx context.Context) []Walk {
	walks := make([]Walk, len(c.paths))
	var all sync.WaitGroup
	for i, path := range c.paths {
		all.Go(func() { walks[i] = c.walk(asked, ctx, path) })
	}
	all.Wait()
	return walks
}

// walk tries a path: a connection, one numbered message and its echo.
func (c *client) walk(asked, ctx context.Context, path Path) Walk {
	start := time.Now()
	w := Walk{Path: path.Name}
	w.Stage, w.Error = c.walkTo(asked, ctx, path)
	w.OK = w.Stage == ""
	w.Seconds = time.Since(start).Seconds() * c.env.Spec.Speed
	return w
}

// walkTo returns the stage that failed and why, or two empty strings.
func (c *client) walkTo(asked, ctx context.Context, path Path) (stage, text string) {
	id := "walk-" + path.Name + "-" + rand.Text()[:8]
	s, err := c.begin(ctx, id, path, strategy.Strategy{ConnectTimeout: walkTimeout}, 0)
	if err != nil {
		return stageTCP, err.Error()
	}
	defer c.stop([]string{id})
	select {
	case <-s.opened:
		s.send(asked, 0)
	case <-s.ended:
		if s.failure != nil {
			stage, _, text = stageOf(s.failure)
			return stage, text
		}
	case <-asked.Done():
		return stageTCP, context.Cause(asked).Error()
	}
	echo, cancel := context.WithTimeoutCause(asked, walkTimeout, fmt.Errorf("no echo within %s", walkTimeout))
	defer cancel()
	select {
	case <-s.firstAck:
		return "", ""
	case <-s.ended:
		return stageEcho, "the connection ended before the echo came"
	case <-echo.Done():
		return stageEcho, context.Cause(echo).Error()
	}
}
