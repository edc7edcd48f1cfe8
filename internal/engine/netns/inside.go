package netns

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/nsexec"
	"github.com/wslab/wslab/topology"
)

// ownNetNS is the network namespace of the thread that opens it: the program is
// started from a thread that is in the node's already.
const ownNetNS = "/proc/thread-self/ns/net"

// insideCommand returns the command that becomes the program of an exec.
func insideCommand(spec topology.NodeSpec, r request) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := nsexec.Inside(&spec, r.Args)
	cmd := nsexec.Command(context.Background(), self, ownNetNS, o)
	if cmd.Err != nil {
		return nil, cmd.Err
	}
	cmd.Env, cmd.Dir = r.Env, r.Dir
	// A mount namespace is nsexec's own business; a process group makes the
	// program and its children one for signals. No parent-death signal: it would
	// follow the short-lived thread that starts the program, and the PID
	// namespace ends with the supervisor anyway.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}

// forwardSignals passes on what the client of an exec sends, until it is gone.
func forwardSignals(from *bufio.Reader, pid int) {
	for {
		line, err := from.ReadBytes('\n')
		if err != nil {
			return
		}
		var s signalLine
		if json.Unmarshal(line, &s) == nil && s.Signal > 0 {
			_ = unix.Kill(-pid, syscall.Signal(s.Signal)) // it may have ended
		}
	}
}
