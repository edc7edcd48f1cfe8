package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

// fakeLab is a lab of three nodes that only speak the control protocol: alice, nat
// and server. Messages arrive at once; a reset at the NAT or a restart of the server
// ends the connections.
type fakeLab struct {
	t    *testing.T
	plan topology.Plan

	// wire is held while a message goes round and while connections end: one
	// comes before the other.
	wire sync.Mutex

	mu       sync.Mutex
	calls    []string // "NODE METHOD", those that change something
	out      map[string]*control.Server
	ends     map[string]net.Conn
	sessions map[string]*fakeSession
	toxics   []topology.ToxicSpec
	links    map[string]topology.LinkSpec // by node, network and node of the place
	settings map[string]string            // of the NAT
	talking  map[string]bool              // who talks: "alice", "server"
	port     uint16

	// refuse is what the proxy answers, 0 for nothing.
	refuse int
	// foreign says that the server is somebody else's: it records nothing.
	foreign bool
	// hidden is how many sent messages the events leave out.
	hidden int
	// onReset is called at a reset, in place of it, if set.
	onReset func()
	// onResume is called when a node is resumed, if set.
	onResume func()

	stop chan struct{}
	wg   sync.WaitGroup
}

type fakeSession struct {
	// program says that it is one of a program: alice records nothing of it.
	program  bool
	strategy strategy.Strategy
	open     bool
	conn     int
	sent     int64
	received int64
	pushed   int64
	flow     trace.Flow
}

func newFakeLab(t *testing.T, speed float64) *fakeLab {
	f := &fakeLab{
		t: t, out: make(map[string]*control.Server), ends: make(map[string]net.Conn), sessions: make(map[string]*fakeSession),
		talking: make(map[string]bool), settings: map[string]string{"on_expiry": `"drop"`},
		port: 40000, stop: make(chan struct{}), links: make(map[string]topology.LinkSpec),
	}
	f.plan = topology.Plan{Lab: "home-2", Speed: speed, Nodes: []topology.NodeSpec{
		{Name: "alice", Kind: "client", Source: "home", Settings: json.RawMessage(`{"paths":[{"name":"direct"},{"name":"http-proxy"}]}`)},
		{Name: "nat", Kind: "nat", Source: "home", Settings: json.RawMessage(`{"idle_timeout":30000000000,"on_expiry":"drop"}`)},
		{Name: "server", Kind: "server", Source: "home", Settings: json.RawMessage(`{}`)},
	}}
	for i, n := range homeNodes() {
		f.plan.Nodes[i].Interfaces = n.Interfaces
	}
	t.Cleanup(func() {
		close(f.stop)
		f.mu.Lock()
		for _, end := range f.ends {
			_ = end.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

func (f *fakeLab) Plan() *topology.Plan { return &f.plan }

func (f *fakeLab) Pause(_ context.Context, node string) error { return f.note("pause " + node) }

func (f *fakeLab) Resume(_ context.Context, node string) error {
	if f.onResume != nil {
		f.onResume()
	}
	return f.note("resume " + node)
}

func (f *fakeLab) note(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	return nil
}

func (f *fakeLab) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Attach starts the node's end of a control stream.
func (f *fakeLab) Attach(_ context.Context, node string) (io.ReadWriteCloser, error) {
	host, end := net.Pipe()
	s := control.NewServer(end)
	f.mu.Lock()
	f.out[node], f.ends[node] = s, end
	f.mu.Unlock()
	f.handle(node, s)
	f.wg.Go(func() {
		s.Serve(context.Background(), end)
		_ = end.Close()
	})
	return host, nil
}

// record writes an event of a node. The lock is not held.
func (f *fakeLab) record(node string, e trace.Event) {
	f.mu.Lock()
	s := f.out[node]
	f.mu.Unlock()
	e.Node, e.Time = node, time.Now()
	s.Record(e)
}

type fakeParams struct {
	ID       string             `json:"id"`
	IDs      []string           `json:"ids"`
	Interval time.Duration      `json:"interval"`
	Name     string             `json:"name"`
	Strategy *strategy.Strategy `json:"strategy"`
	Settings map[string]json.RawMessage
	Down     time.Duration `json:"down"`
}

// handle registers the methods that the node knows.
func (f *fakeLab) handle(node string, s *control.Server) {
	on := func(method string, h func(raw json.RawMessage, p fakeParams) (any, error)) {
		s.Handle(method, func(_ context.Context, raw json.RawMessage) (any, error) {
			var p fakeParams
			if err := json.Unmarshal(raw, &p); err != nil && method != "session.start" {
				return nil, err
			}
			if err := f.note(node + " " + method); err != nil {
				return nil, err
			}
			return h(raw, p)
		})
	}
	on("link.set", func(raw json.RawMessage, _ fakeParams) (any, error) {
		var spec topology.LinkSpec
		if err := json.Unmarshal(raw, &spec); err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.links[node+" "+spec.Network+" "+spec.Node] = spec
		return nil, nil
	})
	on("link.show", func(json.RawMessage, fakeParams) (any, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		shown := []topology.LinkSpec{}
		for at, spec := range f.links {
			if strings.HasPrefix(at, node+" ") && len(spec.Conditions) > 0 {
				shown = append(shown, spec)
			}
		}
		return shown, nil
	})
	switch node {
	case "alice":
		on("session.start", f.start)
		on("session.talk", func(_ json.RawMessage, p fakeParams) (any, error) { return nil, f.talk("alice", p) })
		on("session.quiet", func(json.RawMessage, fakeParams) (any, error) { return nil, f.quiet("alice") })
		on("address.change", func(json.RawMessage, fakeParams) (any, error) { return nil, nil })
		on("crowd.open", func(json.RawMessage, fakeParams) (any, error) { return map[string]int{"open": 3}, nil })
		on("crowd.close", func(json.RawMessage, fakeParams) (any, error) { return nil, nil })
		on("session.stop", func(json.RawMessage, fakeParams) (any, error) { return struct{}{}, nil })
		on("session.record", func(_ json.RawMessage, p fakeParams) (any, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			out := make(map[string]any)
			for _, id := range p.IDs {
				out[id] = map[string]int64{"sent": f.sessions[id].sent}
			}
			return out, nil
		})
	case "server":
		on("talk", func(_ json.RawMessage, p fakeParams) (any, error) { return nil, f.talk("server", p) })
		on("quiet", func(json.RawMessage, fakeParams) (any, error) { return nil, f.quiet("server") })
		on("probe", func(_ json.RawMessage, p fakeParams) (any, error) {
			for _, id := range p.IDs {
				f.mu.Lock()
				s := f.sessions[id]
				f.mu.Unlock()
				if s != nil && s.open {
					f.answer(id, s, trace.Event{Detail: probeAnswer})
				}
			}
			return nil, nil
		})
		on("forget", func(json.RawMessage, fakeParams) (any, error) { return nil, nil })
		on("ledger", func(_ json.RawMessage, p fakeParams) (any, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			out := make(map[string]any)
			for _, id := range p.IDs {
				if s := f.sessions[id]; s != nil {
					out[id] = map[string]int64{"received": s.received}
				}
			}
			return out, nil
		})
		on("restart", f.restart)
	case "nat":
		on("address.change", func(json.RawMessage, fakeParams) (any, error) { return nil, nil })
		on("intercept", func(json.RawMessage, fakeParams) (any, error) { return struct{}{}, nil })
		on("toxic.list", func(json.RawMessage, fakeParams) (any, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return slices.Clone(f.toxics), nil
		})
		on("toxic.add", func(raw json.RawMessage, _ fakeParams) (any, error) {
			var spec topology.ToxicSpec
			if err := json.Unmarshal(raw, &spec); err != nil {
				return nil, err
			}
			f.mu.Lock()
			f.toxics = append(f.toxics, spec)
			f.mu.Unlock()
			f.record("nat", trace.Event{Type: trace.ToxicAdded, Detail: spec.Type})
			return spec, nil
		})
		on("toxic.remove", func(_ json.RawMessage, p fakeParams) (any, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			n := len(f.toxics)
			f.toxics = slices.DeleteFunc(f.toxics, func(s topology.ToxicSpec) bool { return s.Name == p.Name })
			if len(f.toxics) == n {
				return nil, errors.New("no such toxic")
			}
			return nil, nil
		})
		on("reset", func(json.RawMessage, fakeParams) (any, error) {
			if f.onReset != nil {
				f.onReset()
				return nil, nil
			}
			f.breakAll("nat", trace.Event{Type: trace.RelayClosed, By: "node", Detail: "reset"})
			return nil, nil
		})
		on("configure", func(_ json.RawMessage, p fakeParams) (any, error) {
			f.mu.Lock()
			for k, v := range p.Settings {
				f.settings[k] = string(v)
			}
			f.mu.Unlock()
			f.record("nat", trace.Event{Type: trace.Ready})
			return nil, nil
		})
	}
}

func (f *fakeLab) start(raw json.RawMessage, p fakeParams) (any, error) {
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	f.mu.Lock()
	s := &fakeSession{strategy: *p.Strategy}
	f.sessions[p.ID] = s
	refuse := f.refuse
	f.mu.Unlock()
	if refuse != 0 {
		f.record("alice", trace.Event{Type: trace.DialFailed, Session: p.ID, Conn: 1, Stage: "proxy", Status: refuse})
		f.record("alice", trace.Event{Type: trace.ReconnectGaveUp, Session: p.ID})
		return nil, nil
	}
	f.connect(p.ID, s)
	return nil, nil
}

func (f *fakeLab) connect(id string, s *fakeSession) {
	f.mu.Lock()
	f.port++
	s.conn++
	s.flow = *flow("192.168.1.2:1", "203.0.113.3:443")
	s.flow.Src = netipPort(s.flow, f.port)
	conn, in := s.conn, s.flow
	out := *flow("203.0.113.2:1", "203.0.113.3:443")
	out.Src = netipPort(out, f.port)
	f.mu.Unlock()
	f.record("nat", trace.Event{Type: trace.Relayed, Flow: &in, Next: &out})
	if !f.foreign {
		f.record("server", trace.Event{Type: trace.Accepted, Session: id, Conn: conn, Flow: &out})
	}
	if !s.program {
		f.record("alice", trace.Event{Type: trace.Open, Session: id, Conn: conn, Flow: &in})
	}
	f.mu.Lock()
	s.open = true
	f.mu.Unlock()
}

// breakAll ends every connection; strategies that reconnect do so after their base.
func (f *fakeLab) breakAll(node string, e trace.Event) {
	f.wire.Lock()
	defer f.wire.Unlock()
	f.mu.Lock()
	broken := make(map[string]*fakeSession)
	for id, s := range f.sessions {
		if s.open {
			s.open = false
			broken[id] = s
		}
	}
	f.mu.Unlock()
	for id, s := range broken {
		if e.Type == trace.RelayClosed {
			at := s.flow
			e.Flow = &at
			f.record(node, e)
		}
		if s.program {
			out := *flow("203.0.113.2:1", "203.0.113.3:443")
			out.Src = netipPort(out, s.flow.Src.Port())
			f.record("server", trace.Event{Type: trace.ServerClosed, Session: id, Conn: s.conn, Flow: &out, Code: 1006, By: "network"})
			continue
		}
		f.record("alice", trace.Event{Type: trace.Close, Session: id, Conn: s.conn, Code: 1006, By: "network", Err: "connection reset by peer"})
		if s.strategy.Reconnect == nil {
			f.record("alice", trace.Event{Type: trace.ReconnectGaveUp, Session: id})
			continue
		}
		f.later(s.strategy.Reconnect.Base, func() { f.connect(id, s) })
	}
}

// answer records at the server that a program has answered.
func (f *fakeLab) answer(id string, s *fakeSession, e trace.Event) {
	out := *flow("203.0.113.2:1", "203.0.113.3:443")
	out.Src = netipPort(out, s.flow.Src.Port())
	e.Type, e.Session, e.Conn, e.Flow, e.Dur = trace.Answered, id, s.conn, &out, time.Millisecond
	f.record("server", e)
}

// later calls g after a lab duration, unless the test is over.
func (f *fakeLab) later(d time.Duration, g func()) {
	f.wg.Go(func() {
		select {
		case <-time.After(time.Duration(float64(d) / f.plan.Speed)):
			g()
		case <-f.stop:
		}
	})
}

func (f *fakeLab) restart(_ json.RawMessage, p fakeParams) (any, error) {
	f.record("server", trace.Event{Type: trace.Restarting, Dur: time.Duration(float64(p.Down) / f.plan.Speed)})
	f.mu.Lock()
	f.talking["server"] = false
	f.mu.Unlock()
	f.breakAll("server", trace.Event{Type: trace.Restarting})
	f.later(p.Down, func() { f.record("server", trace.Event{Type: trace.Ready}) })
	return nil, nil
}

func (f *fakeLab) quiet(node string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.talking[node] = false
	return nil
}

// talk lets a node send to all open sessions until it is quiet.
func (f *fakeLab) talk(node string, p fakeParams) error {
	f.mu.Lock()
	f.talking[node] = true
	f.mu.Unlock()
	f.wg.Go(func() {
		ticker := time.NewTicker(time.Duration(float64(p.Interval) / f.plan.Speed))
		defer ticker.Stop()
		for {
			for _, id := range p.IDs {
				f.message(node, id)
			}
			select {
			case <-f.stop:
				return
			case <-ticker.C:
			}
			f.mu.Lock()
			on := f.talking[node]
			f.mu.Unlock()
			if !on {
				return
			}
		}
	})
	return nil
}

// message sends one message of a session from alice or the server, and lets it arrive.
func (f *fakeLab) message(node, id string) {
	f.wire.Lock()
	defer f.wire.Unlock()
	f.mu.Lock()
	s := f.sessions[id]
	if s == nil || !s.open {
		f.mu.Unlock()
		return
	}
	conn := s.conn
	if node == "server" {
		s.pushed++
		seq := s.pushed
		f.mu.Unlock()
		f.record("server", trace.Event{Type: trace.ServerPushed, Session: id, Conn: conn, Seq: seq})
		if s.program {
			f.answer(id, s, trace.Event{Seq: seq, Detail: "push-ack"})
			return
		}
		f.record("alice", trace.Event{Type: trace.Received, Session: id, Conn: conn, Seq: seq})
		return
	}
	s.sent++
	s.received++
	seq, hide := s.sent, f.hidden > 0
	if hide {
		f.hidden--
	}
	f.mu.Unlock()
	if hide {
		return
	}
	f.record("alice", trace.Event{Type: trace.Sent, Session: id, Conn: conn, Seq: seq})
	f.record("server", trace.Event{Type: trace.ServerReceived, Session: id, Conn: conn, Seq: seq})
	f.record("alice", trace.Event{Type: trace.Acked, Session: id, Conn: conn, Seq: seq, Dur: time.Millisecond})
}
