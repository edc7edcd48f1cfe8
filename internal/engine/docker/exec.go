package docker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/nsexec"
)

// Exec runs a program of this machine in the node's network namespace, with this
// process's environment and cmd.Env added; see [nsexec.Command] for what it sees.
// It returns the program's exit code, 128 and the signal's number if a signal
// ended it. An [*engine.UnfitError] says that it cannot be done here: not on
// Linux, not as root, or the engine is on another machine.
func (l *lab) Exec(ctx context.Context, node string, cmd engine.Command) (int, error) {
	if err := nsexec.Permitted(); err != nil {
		return 0, &engine.UnfitError{
			Problem: fmt.Sprintf("exec enters the network namespace of a node, and %v", err),
			Remedy:  "run it with sudo, on a Linux machine that has its own Docker engine",
			Err:     err,
		}
	}
	full, err := l.running(ctx, node)
	if err != nil {
		return 0, of(node, err)
	}
	netns, err := l.engine.netns(full)
	if err != nil {
		return 0, err
	}
	o := nsexec.Options{
		Args: cmd.Args,
		Env:  append(cmd.Env, "WSLAB_NODE="+node, "WSLAB_LAB="+l.plan.Lab),
	}
	if spec, ok := l.plan.Node(node); ok {
		o.Hosts = spec.Hosts
	}
	for _, n := range l.plan.Nodes {
		if n.CA != nil {
			o.CA = n.CA.CertPEM
		}
	}
	program := nsexec.Command(ctx, l.engine.binary, netns, o)
	program.Stdin, program.Stdout, program.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	return run(program)
}

// run runs a command on this thread, as nsexec asks for, and returns its exit code.
func run(cmd *exec.Cmd) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return exitCode(exit), nil
	}
	return 0, fmt.Errorf("exec: %w", err)
}

// netns returns the path of the container's network namespace, and makes sure
// that it is really that container's: the engine may be on another machine, where
// the process ID means somebody else.
func (e *Engine) netns(c *container.InspectResponse) (string, error) {
	host := e.client.DaemonHost()
	elsewhere := &engine.UnfitError{
		Problem: fmt.Sprintf("exec enters the network namespace of a node, and the Docker engine at %s is not on this machine", host),
		Remedy:  "run it where the engine is",
	}
	if u, err := url.Parse(host); err != nil || u.Scheme != "unix" {
		return "", elsewhere
	}
	path := fmt.Sprintf("/proc/%d/ns/net", c.State.Pid)
	ours, err := os.Stat(path)
	if err != nil {
		elsewhere.Err = err
		return "", elsewhere
	}
	if c.NetworkSettings != nil {
		if theirs, err := os.Stat(c.NetworkSettings.SandboxKey); err == nil && os.SameFile(ours, theirs) {
			return path, nil
		}
	}
	// The engine's own name of the namespace may be out of sight; the control
	// group of the process has the container's ID in it.
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.State.Pid))
	if err != nil || !strings.Contains(string(groups), c.ID) {
		return "", elsewhere
	}
	return path, nil
}
