// Package proxy is the proxies of a lab: an HTTP proxy (CONNECT and forwarding), one that
// opens TLS as well, a SOCKS5 proxy and a reverse proxy. Each ends the client's TCP connection and opens its own: what
// lives in TCP, keepalive included, does not pass it.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/relay"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// Limits that protect a proxy from its clients, in wall time: they are no part of
// what a lab models.
const (
	// handshakeTimeout is how long a client may take to say what it wants.
	handshakeTimeout = 10 * time.Second
	// dialTimeout is how long the proxy tries to reach the target.
	dialTimeout = 10 * time.Second
	// maxHeader is how long the header of a request to a reverse proxy may be.
	maxHeader = 16 << 10
	// answerTimeout is how long an upstream may take to answer an Upgrade.
	answerTimeout = 30 * time.Second
	// lingerTimeout is how long a refused client is listened to, so that its own
	// bytes do not turn the refusal into a RST.
	lingerTimeout = time.Second
	lingerBytes   = 256 << 10
)

// Kind is the proxy kind.
func Kind() *node.Kind {
	return &node.Kind{
		Kind: topology.Kind{
			Name:     "proxy",
			Summary:  "Takes the client's connection and makes its own to the server: an HTTP proxy (CONNECT and forwarding) that may open TLS, a SOCKS5 proxy, or a reverse proxy.",
			Settings: func() any { return newSettings() },
			Carries:  true,
			Check:    check,
			Needs: func(settings any) topology.Needs {
				return topology.Needs{CA: settings.(*Settings).needsCA()}
			},
		},
		Run: run,
	}
}

// proxy is a running proxy.
type proxy struct {
	env      *node.Env
	relay    *relay.Relay
	settings *Settings
	// handshake is handshakeTimeout, but in tests.
	handshake time.Duration
}

func run(ctx context.Context, env *node.Env) error {
	settings := newSettings()
	if err := env.Settings(settings); err != nil {
		return err
	}
	r, err := relay.New(env)
	if err != nil {
		return err
	}
	r.Idle = settings.IdleTimeout
	p := &proxy{env: env, relay: r, settings: settings, handshake: handshakeTimeout}
	switch settings.Protocol {
	case protocolHTTP, protocolIntercept:
		h, err := newHTTPProxy(p)
		if err != nil {
			return err
		}
		return p.listen(ctx, h.serve)
	case protocolSOCKS5:
		return p.listen(ctx, p.serveSOCKS5)
	case protocolReverse:
		return p.runReverse(ctx)
	}
	return fmt.Errorf("proxy %s: protocol %q is not known", env.Spec.Name, settings.Protocol)
}

// listen takes connections on the proxy's port until ctx ends.
func (p *proxy) listen(ctx context.Context, serve func(context.Context, net.Conn)) error {
	l, err := p.env.Listen(ctx, "tcp4", ":"+strconv.Itoa(p.settings.ListenPort()))
	if err != nil {
		return fmt.Errorf("proxy %s: %w", p.env.Spec.Name, err)
	}
	p.env.Ready()
	return accept(ctx, l, serve)
}

// accept serves each connection in a goroutine of its own until ctx ends, and waits
// for them. A connection is closed when its server returns or ctx ends.
func accept(ctx context.Context, l net.Listener, serve func(context.Context, net.Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if c != nil {
				_ = c.Close()
			}
			return nil
		}
		if passing := new(net.OpError); errors.As(err, &passing) && passing.Temporary() {
			// The client has gone again, or there are no descriptors left for now.
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		serving.Go(func() {
			defer func() { _ = c.Close() }()
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			serve(ctx, c)
		})
	}
}

// dial opens the proxy's own connection.
func (p *proxy) dial(ctx context.Context, address string) (net.Conn, error) {
	return p.dialOver(ctx, "tcp4", address)
}

func (p *proxy) dialOver(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.dialPatience())
	defer cancel()
	return p.env.Dial(ctx, network, address)
}

// dialPatience is how long the proxy tries to reach the target.
func (p *proxy) dialPatience() time.Duration {
	if p.settings.ConnectTimeout > 0 {
		return p.env.Wall(p.settings.ConnectTimeout)
	}
	return dialTimeout
}

// refused records that a client was refused.
func (p *proxy) refused(c net.Conn, status int, detail string) {
	flow := relay.Accepted(c)
	p.env.Record(trace.Event{Type: trace.RelayRefused, Flow: &flow, Status: status, Detail: detail})
}

// linger closes a connection that has been told no. What the client has sent
// meanwhile is read: closing over it would send a RST, which may overtake the answer.
func linger(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the client has gone: nothing to wait for
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTimeout))
	_, _ = io.CopyN(io.Discard, c, lingerBytes) // its end or its error: either way we are done
	_ = c.Close()
}

// timedOut says whether an attempt to connect got no answer at all.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// prefixed is a connection of which some bytes have been read already.
type prefixed struct {
	net.Conn
	prefix io.Reader
}

// Read returns what was read already first.
func (c *prefixed) Read(b []byte) (int, error) {
	if c.prefix != nil {
		if n, err := c.prefix.Read(b); n > 0 || err == nil {
			return n, nil
		}
		c.prefix = nil
	}
	return c.Conn.Read(b)
}

// CloseWrite ends our half.
func (c *prefixed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// NetConn returns the connection itself, for who wants its socket.
func (c *prefixed) NetConn() net.Conn { return c.Conn }
