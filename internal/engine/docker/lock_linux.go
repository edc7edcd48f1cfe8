package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/wslab/wslab/internal/engine"
)

// A lab is changed by one process of a machine at a time, and may be one process's own. Such a
// lock is a listening socket in the abstract namespace (unix(7)): the kernel takes it away
// with the process however that ends, and no file is left.
//
// Processes on different machines that use one engine do not see each other's
// locks. They meet in the names of containers and networks, of which the engine
// allows each once.

// What a lock is about.
const (
	changing = "lab" // the lab is being changed
	owning   = "run" // it is the holder's own
)

func (e *Engine) lockAddress(what, lab string) string {
	sum := sha256.Sum256([]byte(e.client.DaemonHost() + "\n" + lab))
	return "@wslab-" + what + "-" + hex.EncodeToString(sum[:])[:32]
}

// tryLock takes the lab's lock, or returns an [*engine.BusyError]. The lock ends with release.
func (e *Engine) tryLock(lab string) (release func(), err error) {
	l, err := e.take(changing, lab)
	return func() { _ = l.Close() }, err
}

// lock takes the lab's lock when whoever has it is done.
func (e *Engine) lock(ctx context.Context, lab string, progress engine.Progress) (release func(), err error) {
	l, err := e.await(ctx, changing, lab, progress, "waiting for another wslab that is changing lab %s")
	return func() { _ = l.Close() }, err
}

// Claim makes a lab this process's own; see [engine.Claimer].
func (e *Engine) Claim(ctx context.Context, lab string, progress engine.Progress) (held *os.File, err error) {
	l, err := e.await(ctx, owning, lab, progress, "waiting for another wslab that plays on lab %s")
	if err != nil {
		return nil, err
	}
	held, err = l.File()
	if errClose := l.Close(); err == nil {
		err = errClose
	}
	return held, err
}

// claimed says whether the lab is a process's own.
func (e *Engine) claimed(lab string) bool { return listening(e.lockAddress(owning, lab)) }

func (e *Engine) take(what, lab string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: e.lockAddress(what, lab), Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &engine.BusyError{Lab: lab}
	}
	if err != nil {
		return nil, fmt.Errorf("lock of lab %s: %w", lab, err)
	}
	return l, nil
}

// await takes a lock when whoever has it is done, and says once that it waits.
func (e *Engine) await(ctx context.Context, what, lab string, progress engine.Progress, waiting string) (*net.UnixListener, error) {
	for said := false; ; said = true {
		l, err := e.take(what, lab)
		var busy *engine.BusyError
		if !errors.As(err, &busy) {
			return l, err
		}
		if !said {
			progress.Say(waiting, lab)
		}
		if err := awaitRelease(ctx, e.lockAddress(what, lab)); err != nil {
			return nil, err
		}
	}
}

// awaitRelease returns when the holder has gone: it never accepts a connection,
// and the kernel ends those that wait when its socket is closed.
func awaitRelease(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", address)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil // it has gone in between
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, _ = conn.Read(make([]byte, 1)) // ends with the holder or with ctx
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
