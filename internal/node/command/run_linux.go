package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/trace"
)

// Wall times that protect the node from a program that does not end.
const (
	politeness = 250 * time.Millisecond // between SIGTERM and SIGKILL
	killPeriod = 5 * time.Second        // for the kernel to end what was killed
	lastOutput = 200 * time.Millisecond // for the rest of what an ended program wrote
	portPoll   = 10 * time.Millisecond  // between two looks at the listening ports
)

// program is the program of this node. The node is the first process of its PID
// namespace: what the program leaves behind becomes the node's child.
type program struct {
	env      *node.Env
	settings *Settings
	name     string // as the lab file calls it
	pid      int
	output   *output
	died     chan os.Signal
	// replaced says that the node's process is about to be replaced: the program
	// ends, and that is no error.
	replaced atomic.Bool
}

func run(ctx context.Context, env *node.Env) error {
	if os.Getpid() != 1 {
		return errors.New("the engine has given the node no PID namespace of its own")
	}
	var settings Settings
	if err := env.Settings(&settings); err != nil {
		return err
	}
	start, err := newStart(env, &settings)
	if err != nil {
		return err
	}
	p := &program{env: env, settings: &settings, name: start.args[0], died: make(chan os.Signal, 1)}
	signal.Notify(p.died, syscall.SIGCHLD)
	defer signal.Stop(p.died)
	env.OnRestart(func() {
		p.replaced.Store(true)
		endAll()
	})
	if p.output, err = newOutput(func(line string) { env.Record(trace.Event{Type: trace.Log, Detail: line}) }); err != nil {
		return err
	}
	if p.pid, err = start.run(p.output.in); err != nil {
		return err
	}
	p.output.started()
	return p.follow(ctx)
}

// follow waits until the program does its work, and then until it or the node ends.
func (p *program) follow(ctx context.Context) error {
	ready := make(chan struct{})
	looking, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		if listens(looking, p.settings.readyPort()) {
			close(ready)
		}
	}()
	isReady := false
	for {
		select {
		case <-ready:
			ready, isReady = nil, true
			p.env.Ready()
		case <-ctx.Done():
			p.end()
			return nil
		case <-p.died:
			status, over := p.reap()
			if !over {
				continue
			}
			if p.replaced.Load() {
				select {} // until the process is replaced
			}
			err := p.ended(status)
			if p.settings.OnExit != exitStay || p.settings.readyPort() != 0 && !isReady {
				return err
			}
			p.env.Logf("%v", err)
		}
	}
}

// reap collects the children that have ended; over says that the program is among
// them. Those that it has left behind are the node's as well.
func (p *program) reap() (status unix.WaitStatus, over bool) {
	for {
		var s unix.WaitStatus
		pid, err := unix.Wait4(-1, &s, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid == 0:
			return status, over
		case pid == p.pid:
			status, over = s, true
		}
	}
}

// ended says how the program ended.
func (p *program) ended(status unix.WaitStatus) error {
	how := fmt.Sprintf("ended with exit code %d", status.ExitStatus())
	if status.Signaled() {
		how = fmt.Sprintf("was ended by signal %d (%s)", status.Signal(), status.Signal())
	}
	if status.ExitStatus() == 0 && childrenLeft() {
		how += " and went on in the background: tell it to stay in the foreground"
	}
	if lines := p.output.last(lastOutput); len(lines) > 0 {
		how += ": " + strings.Join(lines, " | ")
	}
	return fmt.Errorf("%s %s", p.name, how)
}

// childrenLeft says whether the node has a child that runs.
func childrenLeft() bool {
	pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
	return err == nil && pid == 0
}

// end asks every program of the node to end, and kills what does not.
func (p *program) end() {
	_ = unix.Kill(-1, unix.SIGTERM) // there may be none
	deadline := time.After(politeness)
	for {
		select {
		case <-p.died:
			if p.reap(); !childrenLeft() {
				return
			}
		case <-deadline:
			endAll()
			return
		}
	}
}

// endAll kills every process of the node but its own, and returns when they are gone.
func endAll() {
	for deadline := time.Now().Add(killPeriod); time.Now().Before(deadline); {
		if err := unix.Kill(-1, unix.SIGKILL); errors.Is(err, unix.ESRCH) {
			break
		}
		// Each has a parent that may die first: they all become our children.
		_, err := unix.Wait4(-1, nil, 0, nil)
		if errors.Is(err, unix.ECHILD) {
			break
		}
	}
}
