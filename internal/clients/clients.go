// Package clients starts clients that are not wslab's own on the network of a lab's client node: a
// command of this machine, a container image, or a port of this machine that whatever is on it may use.
package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/contain"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/scenarios"
)

// Grace is how long a program may take to end once it was told to, in wall time.
const Grace = 5 * time.Second

// killWithin bounds how long what was killed may take to be gone.
const killWithin = 10 * time.Second

// run runs a program under the orders of package contain, and returns its exit code.
type run func(ctx context.Context, cmd engine.Command) (int, error)

// process is a program that runs.
type process struct {
	orders *os.File
	done   chan struct{}
	stop   context.CancelFunc

	// How it has ended; read after done.
	code int
	err  error

	mu    sync.Mutex
	ended bool
}

// start starts a program.
func start(f run, cmd engine.Command) (*process, error) {
	orders, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdin = orders
	ctx, stop := context.WithCancel(context.Background()) // it is ended by orders
	p := &process{orders: ours, done: make(chan struct{}), stop: stop}
	go func() {
		defer close(p.done)
		defer stop()
		p.code, p.err = f(ctx, cmd)
		_ = orders.Close() // nobody reads them any more
	}()
	return p, nil
}

// Done is closed when the program has ended.
func (p *process) Done() <-chan struct{} { return p.done }

// Ending says how.
func (p *process) Ending() (string, error) { return scenarios.Describe(p.code), p.err }

// Stop lets it stand still.
func (p *process) Stop() error { return p.order(contain.Stop) }

// Continue lets it go on.
func (p *process) Continue() error { return p.order(contain.Continue) }

func (p *process) order(o contain.Order) error {
	_, err := io.WriteString(p.orders, string(o)+"\n")
	select {
	case <-p.done:
		return nil // too late for orders
	default:
		return err
	}
}

// End tells it to end, and kills it when it does not within [Grace].
func (p *process) End(ctx context.Context) (killed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false, nil
	}
	p.ended = true
	defer func() { err = errors.Join(err, p.orders.Close()) }()
	select {
	case <-p.done:
		return false, nil
	default:
	}
	if err := p.order(contain.Terminate); err != nil {
		return false, err
	}
	grace := time.NewTimer(Grace)
	defer grace.Stop()
	select {
	case <-p.done:
		return false, nil
	case <-ctx.Done():
	case <-grace.C:
	}
	// Nobody can give orders any more: contain ends everything.
	if err := p.orders.Close(); err != nil {
		return true, err
	}
	if p.orders, err = os.Open(os.DevNull); err != nil { // for the close at the end
		return true, err
	}
	gone := time.NewTimer(killWithin)
	defer gone.Stop()
	select {
	case <-p.done:
		return true, nil
	case <-gone.C:
		p.stop() // the engine does it
	}
	<-p.done
	return true, nil
}

// contained returns the words that run a program so that nothing of it is left; see package contain.
func contained(args ...string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return append([]string{self, contain.Verb, "--"}, args...), nil
}

// inside is a lab as programs need it. [engine.Lab] is one.
type inside interface {
	Exec(ctx context.Context, node string, cmd engine.Command) (int, error)
}

// labOf returns the lab of a play as programs need it.
func labOf(lab scenarios.Lab) (inside, error) {
	l, ok := lab.(inside)
	if !ok {
		return nil, fmt.Errorf("a lab of type %T runs no programs", lab)
	}
	return l, nil
}

// Command is a client that is a command of this machine, in the words of its shell.
type Command string

// Launch starts it in the network of the client node.
func (c Command) Launch(_ context.Context, lab scenarios.Lab, at scenarios.Circumstances) (scenarios.Process, error) {
	l, err := labOf(lab)
	if err != nil {
		return nil, err
	}
	args, err := contained("sh", "-c", string(c))
	if err != nil {
		return nil, err
	}
	return start(func(ctx context.Context, cmd engine.Command) (int, error) {
		return l.Exec(ctx, at.Node, cmd)
	}, engine.Command{Args: args, Env: at.Environ(), Stdout: at.Output, Stderr: at.Output})
}
