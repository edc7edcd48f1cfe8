package docker

import (
	"context"
	"fmt"
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
	if unfit := l.engine.mayEnter(); unfit != nil {
		return 0, unfit
	}
	full, err := l.running(ctx, node)
	if err != nil {
		return 0, l.of(node, err)
	}
	netns, err := l.engine.netns(full)
	if err != nil {
		return 0, err
	}
	spec, ok := l.plan.Node(node)
	if !ok {
		return 0, l.of(node, engine.NoNode(l.plan.Lab))
	}
	o := nsexec.Inside(spec, cmd.Args)
	o.Env = append(o.Env, cmd.Env...)
	program := nsexec.Command(ctx, l.engine.binary, netns, o)
	program.Stdin, program.Stdout, program.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	return run(program)
}

// run runs a command on this thread, as nsexec asks for, and returns its exit code.
func run(cmd *exec.Cmd) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	code, err := nsexec.ExitCode(cmd.Run())
	if err != nil {
		return 0, fmt.Errorf("exec: %w", err)
	}
	return code, nil
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
