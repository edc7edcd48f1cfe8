// Package node is what every node does once its engine has started `wslab node`:
// it sets its network up, speaks with the host, and runs its kind.
package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// Kind is a kind of node: how it is written in a lab file, and what it does.
type Kind struct {
	topology.Kind
	// Run does the node's work until ctx ends. It calls env.Ready once
	// clients can reach it.
	Run func(ctx context.Context, env *Env) error
}

// Env is what a running node is given. It is safe for concurrent use.
type Env struct {
	// Spec of the node. Its durations are lab time; use Wall.
	Spec topology.NodeSpec
	// Dial opens a connection with TCP keepalive off: left on, as Go has it, it
	// would refresh the NAT for clients that should have failed.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Listen opens a listener whose connections have TCP keepalive off.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)

	server *control.Server
	ready  func()

	moving sync.Mutex // held while an address changes

	mu        sync.Mutex
	onRestart []func()
}

// Record records an event of this node; Time and Node are filled in.
func (e *Env) Record(ev trace.Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	ev.Node = e.Spec.Name
	e.server.Record(ev)
}

// Logf records a line for a reader of `wslab logs`.
func (e *Env) Logf(format string, args ...any) {
	e.Record(trace.Event{Type: trace.Log, Detail: fmt.Sprintf(format, args...)})
}

// Handle registers what answers a request of the host.
func (e *Env) Handle(method string, h control.Handler) { e.server.Handle(method, h) }

// Ready tells the host that the node does its work.
func (e *Env) Ready() { e.ready() }

// OnRestart registers what is done, last registered first, just before the node's
// process is replaced. A node whose kernel would go on forwarding without it stops
// that here, as a machine that is switched off would.
func (e *Env) OnRestart(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onRestart = append(e.onRestart, f)
}

// goDown calls what OnRestart was given.
func (e *Env) goDown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range slices.Backward(e.onRestart) {
		f()
	}
}

// Wall turns lab time into wall time.
func (e *Env) Wall(d time.Duration) time.Duration { return e.Spec.Wall(d) }

// Settings reads the settings of the node's kind into v.
func (e *Env) Settings(v any) error {
	if err := json.Unmarshal(e.Spec.Settings, v); err != nil {
		return fmt.Errorf("settings of node %s: %w", e.Spec.Name, err)
	}
	return nil
}

// NewEnv returns an environment for a node that speaks over server. ready is called by Env.Ready.
func NewEnv(spec topology.NodeSpec, server *control.Server, ready func()) *Env {
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	listener := &net.ListenConfig{KeepAlive: -1}
	listener.SetMultipathTCP(false) // Go turns it on; what a lab shows is TCP
	return &Env{
		Spec:   spec,
		Dial:   dialer.DialContext,
		Listen: listener.Listen,
		server: server,
		ready:  ready,
	}
}
