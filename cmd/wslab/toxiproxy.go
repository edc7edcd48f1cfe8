package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/toxiproxy"
	"github.com/wslab/wslab/toxics"
)

// apiReady is what toxiproxy-api prints once it answers; up waits for it.
const apiReady = "the Toxiproxy API of lab %s answers on %s"

func (c *cli) toxiproxyCommand() *cobra.Command {
	var name, listen string
	cmd := &cobra.Command{
		Use:   "toxiproxy-api",
		Short: "Answer Toxiproxy's HTTP API for a running lab",
		Long: `Answer Toxiproxy's HTTP API for the toxics of a running lab, until the lab is gone or
Ctrl-C. toxiproxy-cli and the Toxiproxy clients of every language work on it: each node
that carries streams is a proxy by its name. Times are in milliseconds of lab time.

up --toxiproxy-api ADDRESS starts it in the background. Whoever reaches the address can
change the lab: keep it on loopback.`,
		Example: "  wslab toxiproxy-api --listen 127.0.0.1:8474\n  toxiproxy-cli toxic add -t latency -a latency=300 nat",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withEngine(cmd, func(e engine.Engine) error {
				return c.serveToxiproxy(cmd.Context(), e, name, listen)
			})
		},
	}
	cmd.Flags().StringVar(&name, "lab", "", "which lab, when several are running")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8474", "address to listen on; 8474 is Toxiproxy's own port")
	return cmd
}

// serveToxiproxy answers until the lab is gone or ctx ends.
func (c *cli) serveToxiproxy(ctx context.Context, e engine.Engine, name, listen string) error {
	running, err := lab.Open(ctx, e, name)
	if err != nil {
		return err
	}
	l, err := toxiproxy.Listen(ctx, listen)
	if err != nil {
		return err
	}
	current := &latestLab{running: running}
	labName := running.Plan().Lab
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		defer cancel()
		current.follow(ctx, e, labName)
	})
	c.progress(apiReady, labName, l.Addr())
	api := toxiproxy.Handler(current, proxiesOf(running), toxics.Types())
	return toxiproxy.Serve(ctx, l, labName, api)
}

// proxiesOf lists the nodes of a lab that carry streams.
func proxiesOf(running engine.Lab) []toxiproxy.Proxy {
	var all []toxiproxy.Proxy
	reg := registry()
	for _, n := range running.Plan().Nodes {
		if kind, ok := reg.Kind(n.Kind); ok && kind.Carries {
			first, last := n.Interfaces[0], n.Interfaces[len(n.Interfaces)-1]
			all = append(all, toxiproxy.Proxy{Name: n.Name, Listen: first.Addr.Addr().String(), Upstream: last.Addr.Addr().String()})
		}
	}
	return all
}

// latestLab is a running lab whose nodes may be replaced meanwhile. It is safe for
// concurrent use.
type latestLab struct {
	mu      sync.Mutex
	running engine.Lab
}

func (l *latestLab) get() engine.Lab {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// Call asks a node something.
func (l *latestLab) Call(ctx context.Context, node, method string, params, result any) error {
	return lab.Call(ctx, l.get(), node, method, params, result)
}

// follow returns when the lab is gone or ctx ends.
func (l *latestLab) follow(ctx context.Context, e engine.Engine, name string) {
	for ctx.Err() == nil {
		awaitEnd(ctx, l.get())
		again, err := e.Open(ctx, name)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.running = again
		l.mu.Unlock()
	}
}

// awaitEnd waits until the lab's first node has ended.
func awaitEnd(ctx context.Context, running engine.Lab) {
	stream, err := running.Attach(ctx, running.Plan().Nodes[0].Name)
	if err != nil {
		// The node is being replaced, or has ended and the lab is still there.
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() }) // ends the reading
	defer stop()
	_, _ = io.Copy(io.Discard, stream)
	_ = stream.Close()
}

// startToxiproxy starts `wslab toxiproxy-api` in the background and waits until it
// answers. It ends by itself when the lab does.
func (c *cli) startToxiproxy(ctx context.Context, engineName, name, listen string) error {
	if toxiproxy.LabAt(ctx, listen) == name {
		c.progress(apiReady+" already", name, listen)
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "toxiproxy-api", "--engine", engineName, "--lab", name, "--listen", listen)
	if c.settings.dockerHost != "" {
		cmd.Args = append(cmd.Args, "--docker-host", c.settings.dockerHost)
	}
	inBackground(cmd)
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	_ = said.Close() // it goes on alone
	if err == nil && strings.HasPrefix(line, strings.SplitN(apiReady, "%", 2)[0]) {
		c.progress("%s", strings.TrimSpace(line))
		return cmd.Process.Release()
	}
	if waited := cmd.Wait(); line == "" && waited != nil {
		line = waited.Error()
	}
	return errors.New(strings.TrimSpace(fmt.Sprint(line)))
}
