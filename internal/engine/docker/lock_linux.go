package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/wslab/wslab/internal/engine"
)

// A lab is changed by one process of a machine at a time. The lock is a
// listening socket in the abstract namespace (unix(7)): the kernel takes it away
// with the process however that ends, and no file is left.
//
// Processes on different machines that use one engine do not see each other's
// lock. They meet in the names of containers and networks, of which the engine
// allows each once.

func (e *Engine) lockAddress(lab string) string {
	sum := sha256.Sum256([]byte(e.client.DaemonHost() + "\n" + lab))
	return "@wslab-lab-" + hex.EncodeToString(sum[:])[:32]
}

// tryLock takes the lab's lock, or returns a busyError. The lock ends with release.
func (e *Engine) tryLock(lab string) (release func(), err error) {
	l, err := net.Listen("unix", e.lockAddress(lab))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &busyError{lab: lab}
	}
	if err != nil {
		return nil, fmt.Errorf("lock of lab %s: %w", lab, err)
	}
	return func() { _ = l.Close() }, nil
}

// lock takes the lab's lock when whoever has it is done.
func (e *Engine) lock(ctx context.Context, lab string, progress engine.Progress) (release func(), err error) {
	for said := false; ; said = true {
		release, err = e.tryLock(lab)
		var busy *busyError
		if !errors.As(err, &busy) {
			return release, err
		}
		if !said {
			progress("waiting for another wslab that is changing lab %s", lab)
		}
		if err := e.awaitRelease(ctx, lab); err != nil {
			return nil, err
		}
	}
}

// awaitRelease returns when the holder has gone: it never accepts a connection,
// and the kernel ends those that wait when its socket is closed.
func (e *Engine) awaitRelease(ctx context.Context, lab string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", e.lockAddress(lab))
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
