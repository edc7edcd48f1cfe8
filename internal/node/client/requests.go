package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wslab/wslab/strategy"
)

// quietTimeout bounds the wait for a message that is being written when a talk
// ends: a connection that takes no data must not hold the answer up. Wall time.
const quietTimeout = time.Second

// mostPadding bounds how many bytes a message has beyond its number.
const mostPadding = 256 << 10

// sessions is the parameter of requests about sessions.
type sessions struct {
	IDs []string `json:"ids"`
}

// handle registers what the host may ask. ctx is the node's.
func (c *client) handle(ctx context.Context) {
	c.env.Handle("walk", decoded(func(asked context.Context, _ struct{}) (any, error) {
		return c.walkAll(asked, ctx), nil
	}))
	c.env.Handle("session.start", decoded(func(_ context.Context, p start) (any, error) { return nil, c.start(ctx, p) }))
	type talk struct {
		sessions
		Interval time.Duration `json:"interval"`
		// Size is how many bytes each message has beyond its number.
		Size int `json:"size"`
	}
	c.env.Handle("session.talk", decoded(func(_ context.Context, p talk) (any, error) {
		if p.Interval <= 0 {
			return nil, errors.New("a talk needs an interval over 0")
		}
		if p.Size < 0 || p.Size > mostPadding {
			return nil, fmt.Errorf("a message can have 0 to %d bytes more, not %d", mostPadding, p.Size)
		}
		return nil, c.each(p.IDs, func(s *session) {
			s.talk(c.env.Wall(p.Interval), p.Size)
		})
	}))
	c.env.Handle("session.quiet", decoded(func(asked context.Context, p sessions) (any, error) {
		bounded, cancel := context.WithTimeout(asked, quietTimeout)
		defer cancel()
		return nil, c.each(p.IDs, func(s *session) { s.talking.quiet(bounded) })
	}))
	type stall struct {
		sessions
		For time.Duration `json:"for"`
	}
	c.env.Handle("session.stall", decoded(func(_ context.Context, p stall) (any, error) {
		if p.For <= 0 {
			return nil, errors.New("a program stands still for more than 0")
		}
		return nil, c.each(p.IDs, func(s *session) { s.stall(c.env.Wall(p.For)) })
	}))
	c.env.Handle("session.record", decoded(func(_ context.Context, p sessions) (any, error) { return c.records(p.IDs), nil }))
	c.env.Handle("crowd.open", decoded(func(asked context.Context, p crowd) (any, error) { return c.gather(asked, ctx, p) }))
	c.env.Handle("crowd.close", decoded(func(_ context.Context, p crowd) (any, error) { return nil, c.disperse(p) }))
	c.env.Handle("session.stop", decoded(func(_ context.Context, p sessions) (any, error) { return c.stop(p.IDs), nil }))
}

// decoded is a handler for requests with parameters of type P.
func decoded[P any](f func(context.Context, P) (any, error)) func(context.Context, json.RawMessage) (any, error) {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var p P
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, err
		}
		return f(ctx, p)
	}
}

// start is the parameter of session.start.
type start struct {
	// ID names the session everywhere; Name is its strategy's, for people.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Strategy in lab time.
	Strategy strategy.Strategy `json:"strategy"`
	// Path is the name of one of the node's paths; empty is the first.
	Path string `json:"path"`
	// URL instead of the path's.
	URL string `json:"url"`
	// Seed of what the strategy draws at random, 0 for another each time.
	Seed uint64 `json:"seed"`
}

func (c *client) start(ctx context.Context, p start) error {
	if p.ID == "" {
		return errors.New("a session needs an id")
	}
	path, err := c.path(p.Path)
	if err != nil {
		return err
	}
	if p.URL != "" {
		path.URL = p.URL
	}
	_, err = c.begin(ctx, p.ID, path, p.Strategy.Scale(c.env.Spec.Speed), p.Seed)
	return err
}

func (c *client) find(id string) (*session, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[id]
	return s, ok
}

// each calls f with each session, all at once. A session that is not there is an error.
func (c *client) each(ids []string, f func(*session)) error {
	var errs []error
	var all sync.WaitGroup
	for _, id := range ids {
		if s, ok := c.find(id); ok {
			all.Go(func() { f(s) })
		} else {
			errs = append(errs, fmt.Errorf("there is no session %q", id))
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// records returns the sessions' records; a session that is not there has an empty one.
func (c *client) records(ids []string) map[string]Record {
	records := make(map[string]Record)
	for _, id := range ids {
		records[id] = Record{}
		if s, ok := c.find(id); ok {
			records[id] = s.account.read()
		}
	}
	return records
}

// stop ends sessions with a closing handshake and returns their records as they
// were before it.
func (c *client) stop(ids []string) map[string]Record {
	records := c.records(ids)
	var all sync.WaitGroup
	for _, id := range ids {
		if s, ok := c.find(id); ok {
			all.Go(func() {
				s.stop()
				<-s.ended
			})
		}
	}
	all.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		delete(c.sessions, id)
	}
	return records
}
