package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/node/link"
	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/internal/nsexec"
	"github.com/wslab/wslab/internal/trace"
)

// PrivateEtc is set in the environment by an engine that has given the process a
// mount namespace of its own but no /etc of its own: the node then writes its
// /etc/hosts itself.
const PrivateEtc = "WSLAB_PRIVATE_ETC"

// farewell is how long a kind may take to end once it has been told to.
const farewell = 500 * time.Millisecond

// process is this process as a node.
type process struct {
	kind     *Kind
	env      *Env
	server   *control.Server
	requests *requestReader
	links    *link.Links

	ready      atomic.Bool
	readyOnce  sync.Once
	serving    chan struct{} // closed at the first Ready
	restarting atomic.Bool
}

// Run is `wslab node`: it reads the spec that the engine has put into the
// environment (see package nodespec), sets the network up, runs the kind that the spec
// names, and answers the host's requests on stdin and stdout meanwhile. Requests wait
// until the kind is ready.
//
// It records node.ready once, and node.stopped at the end, with the error if there is
// one. SIGTERM, SIGINT and the end of ctx end it; the end of stdin does not. A
// restart replaces the process and does not return.
func Run(ctx context.Context, kinds []*Kind, stdin io.Reader, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	spec, err := nodespec.FromEnviron(os.Environ())
	if err != nil {
		return err
	}
	p := &process{
		server:   control.NewServer(stdout),
		requests: newRequestReader(stdin),
		serving:  make(chan struct{}),
	}
	p.env = NewEnv(spec, p.server, p.becomeReady)
	err = p.run(ctx, kinds)
	stopped := trace.Event{Type: trace.Stopped}
	if err != nil {
		stopped.Err = err.Error()
		err = fmt.Errorf("node %s: %w", spec.Name, err)
	}
	p.env.Record(stopped)
	p.server.Flush()
	return err
}

func (p *process) run(ctx context.Context, kinds []*Kind) error {
	spec := &p.env.Spec
	i := slices.IndexFunc(kinds, func(k *Kind) bool { return k.Name == spec.Kind })
	if i < 0 {
		return fmt.Errorf("no kind %q: the engine was started by another version of wslab", spec.Kind)
	}
	p.kind = kinds[i]
	down, restarted, err := restartFromEnviron()
	if err != nil {
		return err
	}
	if !restarted {
		if err := p.setUp(ctx); err != nil {
			return err
		}
	}
	if err := p.setLinks(ctx); err != nil {
		return err
	}
	p.handle()
	p.handleAddress()
	p.handleLateness(ctx)
	p.answerNames(ctx)
	go p.serve(ctx)
	if !sleep(ctx, down) {
		return nil
	}
	return p.work(ctx)
}

// setUp makes the machine what the spec says. What it does outlives restarts.
func (p *process) setUp(ctx context.Context) error {
	if err := setUpNetwork(ctx, &p.env.Spec); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if os.Getenv(PrivateEtc) == "" {
		return nil
	}
	hosts := maps.Clone(p.env.Spec.Hosts)
	if len(p.env.Spec.Interfaces) > 0 && hosts != nil {
		hosts[p.env.Spec.Name] = p.env.Spec.Interfaces[0].Addr.Addr() // as engines with an /etc of their own have it
	}
	if err := nsexec.PrivateEtc(hosts); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	if p.env.Spec.Needs.Processes {
		// Some containers do not allow it. Most programs do without.
		if err := nsexec.PrivateProc(); err != nil {
			p.env.Logf("%v", err)
		}
	}
	return nil
}

// work runs the kind until ctx ends, and does not wait for one that does not end.
func (p *process) work(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- p.kind.Run(ctx, p.env) }()
	select {
	case err := <-ended:
		if err == nil && ctx.Err() == nil {
			return errors.New("its work ended on its own")
		}
		return unlessAsked(ctx, err)
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return unlessAsked(ctx, err)
	case <-time.After(farewell):
		return nil
	}
}

// unlessAsked leaves out the error that says no more than that ctx has ended.
func unlessAsked(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return err
}

func (p *process) becomeReady() {
	p.readyOnce.Do(func() {
		p.ready.Store(true)
		p.env.Record(trace.Event{Type: trace.Ready})
		close(p.serving)
	})
}

// serve answers requests from when the kind has registered what it answers.
func (p *process) serve(ctx context.Context) {
	select {
	case <-p.serving:
		p.server.Serve(ctx, p.requests)
	case <-ctx.Done():
	}
}

// status is the answer to the request of that name.
type status struct {
	Ready bool   `json:"ready"`
	Kind  string `json:"kind"`
	PID   int    `json:"pid"`
}

// handle registers what every node answers.
func (p *process) handle() {
	p.server.Handle("status", func(context.Context, json.RawMessage) (any, error) {
		return status{Ready: p.ready.Load(), Kind: p.kind.Name, PID: os.Getpid()}, nil
	})
	p.server.Handle("restart", func(_ context.Context, params json.RawMessage) (any, error) {
		var r struct {
			Down time.Duration `json:"down"`
		}
		if err := json.Unmarshal(params, &r); err != nil {
			return nil, err
		}
		return p.restart(p.env.Spec, p.env.Wall(r.Down))
	})
	p.server.Handle("configure", func(_ context.Context, params json.RawMessage) (any, error) {
		var r struct {
			Settings json.RawMessage `json:"settings"`
		}
		if err := json.Unmarshal(params, &r); err != nil {
			return nil, err
		}
		spec := p.env.Spec
		var err error
		if spec.Settings, err = mergeSettings(p.kind, spec.Settings, r.Settings); err != nil {
			return nil, err
		}
		return p.restart(spec, 0)
	})
}

// sleep returns false if ctx ended before d had passed.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
