package client

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/node/server"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a client node and a server node on loopback, with the host's ends of their control
// streams. Names and ports of the lab are mapped to those of loopback.
type lab struct {
	t              *testing.T
	client, server *control.Conn
	authority      *topology.Authority

	mu     sync.Mutex
	hosts  map[string]string // by address in the lab
	events []trace.Event
	more   chan struct{}
}

// pipe is a control stream in memory.
type pipe struct {
	io.Reader
	io.Writer
	close func()
}

func (p pipe) Close() error { p.close(); return nil }

// newLab starts a lab whose client has these paths.
func newLab(t *testing.T, speed float64, paths ...Path) *lab {
	authority, err := ca.New()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, authority: authority, hosts: make(map[string]string), more: make(chan struct{}, 1)}
	l.server = l.node(server.Kind(), "server", speed, server.Settings{HTTPPort: 80, HTTPSPort: 443})
	l.client = l.node(Kind(), "alice", speed, Settings{Paths: paths})
	return l
}

// node starts a node and waits until it is ready.
func (l *lab) node(kind *node.Kind, name string, speed float64, settings any) *control.Conn {
	raw, err := json.Marshal(settings)
	if err != nil {
		l.t.Fatal(err)
	}
	toNode, fromHost := io.Pipe()
	toHost, fromNode := io.Pipe()
	spec := topology.NodeSpec{
		Name: name, Kind: kind.Name, Speed: speed, Settings: raw, CA: l.authority,
		Interfaces: []topology.Interface{{Network: "internet", Addr: netip.MustParsePrefix("203.0.113.2/24")}},
	}
	served := control.NewServer(fromNode)
	ready := make(chan struct{})
	env := node.NewEnv(spec, served, func() { close(ready) })
	listen, dial := env.Listen, env.Dial
	env.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		listener, err := listen(ctx, network, "127.0.0.1:0")
		if err == nil {
			l.name(name+address, listener.Addr().String())
		}
		return listener, err
	}
	env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		l.mu.Lock()
		if mapped, ok := l.hosts[address]; ok {
			address = mapped
		}
		l.mu.Unlock()
		return dial(ctx, network, address)
	}
	host := control.NewConn(name, pipe{toHost, fromHost, func() { _ = toHost.Close(); _ = fromHost.Close() }}, l.record)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { served.Serve(ctx, toNode) })
	running.Go(func() {
		if err := kind.Run(ctx, env); err != nil {
			l.t.Errorf("run %s: %v", name, err)
		}
	})
	l.t.Cleanup(func() {
		cancel()
		_ = host.Close()
		running.Wait()
	})
	<-ready
	return host
}

// name makes an address of the lab stand for one of loopback.
func (l *lab) name(address, loopback string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts[address] = loopback
}

func (l *lab) address(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hosts[name]
}

func (l *lab) record(e trace.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// await waits for an event of the given session.
func (l *lab) await(session string, types ...trace.Type) trace.Event {
	l.t.Helper()
	return l.awaitMatch(session, string(types[0]), func(e trace.Event) bool { return slices.Contains(types, e.Type) })
}

func (l *lab) awaitMatch(session, what string, is func(trace.Event) bool) trace.Event {
	l.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		for _, e := range l.of(session) {
			if is(e) {
				return e
			}
		}
		select {
		case <-l.more:
		case <-limit:
			l.t.Fatalf("session %s: no event %s in %v", session, what, l.of(session))
		}
	}
}

// of returns the events of a session so far.
func (l *lab) of(session string) []trace.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var events []trace.Event
	for _, e := range l.events {
		if e.Session == session {
			events = append(events, e)
		}
	}
	return events
}

func (l *lab) call(method string, params, result any) {
	l.t.Helper()
	if err := l.client.Call(l.t.Context(), method, params, result); err != nil {
		l.t.Fatal(err)
	}
}
