// Package client is the clients of a lab: WebSocket sessions with a server, each
// kept up by a strategy, directly or through a proxy.
package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

// Kind is the client kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:     "client",
			Summary:  "Keeps WebSocket sessions with a server, each by a strategy, directly or through a proxy.",
			Settings: func() any { return new(Settings) },
			Check:    check,
			Moves:    true,
		},
		Run: run,
	}
}

// client is a running client.
type client struct {
	env   *node.Env
	roots *x509.CertPool
	paths []Path
	// header of handshakes beside what RFC 6455 asks for.
	header http.Header

	mu       sync.Mutex
	sessions map[string]*session
}

func run(ctx context.Context, env *node.Env) error {
	var settings Settings
	if err := env.Settings(&settings); err != nil {
		return err
	}
	roots, err := ca.Pool(env.Spec.CA)
	if err != nil {
		return err
	}
	c := &client{env: env, roots: roots, paths: settings.Paths, header: settings.header(), sessions: make(map[string]*session)}
	ctx, cancel := context.WithCancel(ctx)
	defer c.wait()
	defer cancel()
	c.handle(ctx)
	env.Ready()
	<-ctx.Done()
	return nil
}

// wait waits for the sessions to end.
func (c *client) wait() {
	c.mu.Lock()
	all := c.sessions
	c.sessions = nil // no more can be started
	c.mu.Unlock()
	for _, s := range all {
		<-s.ended
	}
}

// path returns the path of that name.
func (c *client) path(name string) (Path, error) {
	if len(c.paths) == 0 {
		return Path{}, errors.New("this client has no way to a server")
	}
	if name == "" {
		return c.paths[0], nil
	}
	var names []string
	for _, p := range c.paths {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Path{}, fmt.Errorf("no way to the server is called %q; there is: %s", name, strings.Join(names, ", "))
}

// begin starts a session; the strategy is in wall time.
func (c *client) begin(ctx context.Context, id string, path Path, s strategy.Strategy, seed uint64) (*session, error) {
	dial, err := c.dialFunc(id, path, s)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil {
		return nil, errors.New("the client is about to end")
	}
	if _, taken := c.sessions[id]; taken {
		return nil, fmt.Errorf("there is a session %q already", id)
	}
	e := newSession(id, path, s, dial, c.env, seed)
	c.sessions[id] = e
	e.begin(ctx)
	return e, nil
}

// dialFunc opens connections on a path for a session.
func (c *client) dialFunc(id string, path Path, s strategy.Strategy) (strategy.DialFunc, error) {
	targets, err := s.URLs(path.URL)
	if err != nil {
		return nil, err
	}
	d := &dialer{dial: c.env.Dial, roots: c.roots, header: c.header}
	if path.Proxy != "" {
		if d.proxy, err = url.Parse(path.Proxy); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
	}
	ways := make([]strategy.DialFunc, len(targets))
	for i, target := range targets {
		if target, err = withSession(target, id, s.Keepalive.Server); err != nil {
			return nil, fmt.Errorf("WebSocket URL: %w", err)
		}
		ways[i] = func(ctx context.Context) (*websocket.Conn, error) { return d.open(ctx, target) }
	}
	return strategy.Alternate(ways...), nil
}
