// Command wslab starts networks with proxies, firewalls and NATs in them, breaks
// them while WebSocket clients talk, and says which client survived and why.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is main with an exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first Ctrl-C the lab is cleaned up; a second one ends at once.
	context.AfterFunc(ctx, stop)
	// Toxiproxy's toxics log through zerolog, whose default is to print everything.
	zerolog.SetGlobalLevel(zerolog.Disabled)
	c := newCommand(os.Stdin, os.Stdout, os.Stderr)
	c.SetArgs(args)
	return exitCode(ctx, c.ExecuteContext(ctx), os.Stderr)
}
