package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/trace"
)

// exitGrace is how long a node that has said it stops may take to be gone.
const exitGrace = 5 * time.Second

// watch listens to a node until it is ready.
type watch struct {
	engine *Engine
	node   string
	id     string
	conn   *control.Conn
	ready  chan struct{}
	// stopped takes the node's own word that it ends.
	stopped chan trace.Event
}

// watch attaches to the container, which need not run yet.
func (e *Engine) watch(ctx context.Context, node, id string) (*watch, error) {
	stream, err := e.attach(ctx, id)
	if err != nil {
		return nil, err
	}
	w := &watch{engine: e, node: node, id: id, ready: make(chan struct{}, 1), stopped: make(chan trace.Event, 1)}
	w.conn = control.NewConn(node, stream, w.note)
	return w, nil
}

// note keeps the first of each event that is waited for.
func (w *watch) note(ev trace.Event) {
	switch ev.Type {
	case trace.Ready:
		select {
		case w.ready <- struct{}{}:
		default:
		}
	case trace.Stopped:
		select {
		case w.stopped <- ev:
		default:
		}
	}
}

func (w *watch) close() { _ = w.conn.Close() } // only read from: nothing can be lost

// await returns when the node is ready: it says so, now or when it is asked. The
// question is for nodes that became ready before the watch began.
func (w *watch) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.engine.readyTimeout, errNotReady)
	defer cancel()
	status := make(chan bool, 1)
	go func() {
		var reply struct {
			Ready bool `json:"ready"`
		}
		err := w.conn.Call(ctx, "status", struct{}{}, &reply)
		status <- err == nil && reply.Ready
	}()
	answered := false
	defer func() {
		if cancel(); !answered {
			<-status
		}
	}()
	for {
		select {
		case <-w.ready:
			return nil
		case yes := <-status:
			if answered = true; yes {
				return nil
			}
			status = nil // not yet: the event will tell
		case ev := <-w.stopped:
			return w.failure(ctx, ev.Err)
		case <-w.conn.Done():
			select {
			case ev := <-w.stopped: // was its last word
				return w.failure(ctx, ev.Err)
			default:
				return w.failure(ctx, "")
			}
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errNotReady) {
				return fmt.Errorf("%w within %s%s", errNotReady, w.engine.readyTimeout, engine.Indent(w.lastWords(ctx)))
			}
			return context.Cause(ctx)
		}
	}
}

var errNotReady = errors.New("has not said that it is ready")

// failure says why the node has ended.
func (w *watch) failure(ctx context.Context, said string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exitGrace)
	defer cancel()
	select {
	case <-w.conn.Done():
	case <-ctx.Done():
	}
	ended := &engine.EndedError{Said: said, LastWords: w.lastWords(ctx)}
	if full, err := w.engine.client.ContainerInspect(ctx, w.id); err == nil && full.State != nil {
		ended.Reason = exitReason(full.State)
	}
	return ended
}

// lastWords are the last lines of the node's standard error.
func (w *watch) lastWords(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exitGrace)
	defer cancel()
	lines, err := w.engine.lastStderr(ctx, w.id, 10)
	if err != nil {
		return nil
	}
	return lines
}
