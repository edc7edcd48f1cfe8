package wslabtest

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/wslab/wslab/internal/engine/netns"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/nsexec"
	"github.com/wslab/wslab/internal/registry"
)

// nodeVerb is what a supervisor starts a node with.
const nodeVerb = "node"

// prepared says that Reexec was called: a test binary without it would run its tests again in
// the place of each node. It is of the process, as os.Args is.
var prepared atomic.Bool

// Reexec does the work of a part of a lab, and does not return, in a process that was started for that; in
// any other it returns at once. A test binary is its own lab: its nodes and what holds them
// together are processes of the same file. It has to be called before anything else happens, so first in TestMain.
// [Main] does it.
func Reexec() {
	prepared.Store(true)
	if len(os.Args) < 2 {
		return
	}
	verb, args := os.Args[1], os.Args[2:]
	var work func(ctx context.Context) error
	switch verb {
	case nodeVerb:
		work = func(ctx context.Context) error { return node.Run(ctx, registry.Kinds(), os.Stdin, os.Stdout) }
	case netns.SupervisorVerb:
		work = netns.Supervise
	case netns.ProbeVerb:
		work = func(context.Context) error { return netns.Try(args, os.Stdout) }
	case nsexec.Verb:
		work = func(context.Context) error { return nsexec.Main(args) }
	case dialVerb:
		work = func(ctx context.Context) error { return answerDial(ctx, args) }
	default:
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Toxiproxy's toxics log through zerolog, whose default is to print everything.
	zerolog.SetGlobalLevel(zerolog.Disabled)
	err := work(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
