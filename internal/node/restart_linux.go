package node

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// How a process that is replaced tells its successor.
const (
	// restartedVar says that the machine has been set up already.
	restartedVar = "WSLAB_RESTARTED"
	// restartDownVar is how long (wall nanoseconds) the node stays down before it listens.
	restartDownVar = "WSLAB_RESTART_DOWN"
)

// lastAnswers is how long requests under way may keep a restart waiting.
const lastAnswers = 200 * time.Millisecond

// self is this program, even if its file has been replaced since.
const self = "/proc/self/exe"

// restart answers a request to replace the process with one that has that spec and
// stays down for that wall time. The process keeps its PID and its network; the kernel
// closes every socket as it does when a process dies.
func (p *process) restart(spec topology.NodeSpec, down time.Duration) (any, error) {
	if down < 0 {
		return nil, fmt.Errorf("down is %v, less than nothing", down)
	}
	var err error
	if spec.Links, err = p.links.Specs(); err != nil {
		return nil, err
	}
	environ, err := successorEnviron(os.Environ(), spec, down)
	if err != nil {
		return nil, err
	}
	if !p.restarting.CompareAndSwap(false, true) {
		return nil, errors.New("the node is restarting already")
	}
	// What the host asks from now on is for the successor.
	p.requests.stop()
	return control.Then{Do: func() { p.replace(environ, down) }}, nil
}

// replace executes the program anew. It does not return.
func (p *process) replace(environ []string, down time.Duration) {
	p.env.goDown()
	if err := p.links.Close(); err != nil { // the successor sets them up anew
		fmt.Fprintf(os.Stderr, "node %s: restart: links: %v\n", p.env.Spec.Name, err)
	}
	p.env.Record(trace.Event{Type: trace.Restarting, Dur: down})
	p.server.Seal(lastAnswers)
	err := syscall.Exec(self, os.Args, environ)
	fmt.Fprintf(os.Stderr, "node %s: restart: %v\n", p.env.Spec.Name, err)
	os.Exit(1)
}

// successorEnviron is the environment of the next process.
func successorEnviron(environ []string, spec topology.NodeSpec, down time.Duration) ([]string, error) {
	carried, err := nodespec.Environ(spec)
	if err != nil {
		return nil, err
	}
	ours := []string{nodespec.Plain, nodespec.Packed, restartedVar, restartDownVar}
	next := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(ours, name)
	})
	return append(next, carried, restartedVar+"=1", restartDownVar+"="+strconv.FormatInt(int64(down), 10)), nil
}

// restartFromEnviron says whether this process replaced another, and how long it is
// to stay down.
func restartFromEnviron() (down time.Duration, restarted bool, err error) {
	if v := os.Getenv(restartDownVar); v != "" {
		ns, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, false, fmt.Errorf("%s: %w", restartDownVar, err)
		}
		down = time.Duration(ns)
	}
	return down, os.Getenv(restartedVar) != "", nil
}
