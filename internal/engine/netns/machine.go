package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// machine is a node: its network namespace and its processes.
type machine struct {
	spec   topology.NodeSpec
	digest string
	ns     namespace
	ports  []string // the bridge ends of its links
	stdin  io.WriteCloser
	stdout *output // the control stream
	all    *output // the control stream and standard error

	mu       sync.Mutex
	process  *os.Process // nil before the start
	programs map[int]*os.Process
	paused   bool
	exited   bool
	exitCode int
	lastErr  string // last line of standard error

	ready  chan struct{} // closed at the first node.ready
	ended  chan struct{} // closed when the process is gone and its output read
	readyN sync.Once
}

func newMachine(spec topology.NodeSpec) *machine {
	return &machine{
		spec:     spec,
		digest:   spec.Digest(),
		stdout:   newOutput(),
		all:      newOutput(),
		programs: make(map[int]*os.Process),
		ready:    make(chan struct{}),
		ended:    make(chan struct{}),
	}
}

// start runs `wslab node` with the spec. It is called on a thread that is in the
// machine's network namespace.
func (m *machine) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	spec, err := nodespec.Environ(m.spec)
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "node")
	cmd.Env = []string{spec, "GODEBUG=netdns=go", node.PrivateEtc + "=1"}
	// A mount namespace of its own, for its own /etc/hosts.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("node %s: %w", m.spec.Name, err)
	}
	m.mu.Lock()
	m.process, m.stdin = cmd.Process, stdin
	m.mu.Unlock()
	go m.follow(cmd, stdout, stderr)
	return nil
}

// follow reads what the process writes and waits for its end.
func (m *machine) follow(cmd *exec.Cmd, stdout, stderr io.Reader) {
	var reading sync.WaitGroup
	reading.Go(func() {
		control.ForEachLine(stdout, func(line []byte) {
			m.stdout.append(line)
			m.all.append(line)
			if e, ok := control.ParseEvent(line); ok && e.Type == trace.Ready {
				m.readyN.Do(func() { close(m.ready) })
			}
		})
	})
	reading.Go(func() {
		control.ForEachLine(stderr, func(line []byte) {
			m.all.append(line)
			if text := strings.TrimSpace(string(line)); text != "" {
				m.mu.Lock()
				m.lastErr = text
				m.mu.Unlock()
			}
		})
	})
	reading.Wait()
	err := cmd.Wait()
	m.mu.Lock()
	m.exited = true
	m.exitCode = cmd.ProcessState.ExitCode()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		m.exitCode = 128 + int(ws.Signal())
		m.lastErr = "killed by signal: " + ws.Signal().String()
	} else if m.lastErr == "" && err != nil {
		m.lastErr = err.Error()
	}
	m.mu.Unlock()
	m.stdout.end()
	m.all.end()
	close(m.ended)
}

// awaitReady waits until the node has said that it is ready, or has ended.
func (m *machine) awaitReady(ctx context.Context) error {
	select {
	case <-m.ready:
		return nil
	case <-m.ended:
		m.mu.Lock()
		defer m.mu.Unlock()
		return fmt.Errorf("node %s ended before it was ready (exit code %d): %s", m.spec.Name, m.exitCode, m.lastErr)
	case <-ctx.Done():
		return fmt.Errorf("node %s: %w", m.spec.Name, context.Cause(ctx))
	}
}

// status fills in what the machine knows of itself.
func (m *machine) status(s *engine.NodeStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.State = engine.Running
	switch {
	case m.process == nil:
		s.State = engine.Missing
		return
	case m.exited:
		s.State, s.ExitCode, s.Detail = engine.Exited, m.exitCode, m.lastErr
	case m.paused:
		s.State = engine.Paused
	}
	if !m.exited {
		s.PID = m.process.Pid
	}
}

// signal sends a signal to every process of the node: its own and the programs in it.
func (m *machine) signal(sig syscall.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.exited {
		return fmt.Errorf("node %s has ended", m.spec.Name)
	}
	m.paused = sig == unix.SIGSTOP
	err := unix.Kill(-m.process.Pid, sig)
	for pid := range m.programs {
		err = errors.Join(err, unix.Kill(-pid, sig))
	}
	return err
}

// owns says whether os/exec waits for that process.
func (m *machine) owns(pid int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, program := m.programs[pid]
	return program || m.process != nil && m.process.Pid == pid && !m.exited
}

// stop ends every process of the machine and waits until its own is gone.
func (m *machine) stop() {
	m.mu.Lock()
	started := m.process != nil
	if started && !m.exited {
		_ = unix.Kill(-m.process.Pid, unix.SIGKILL)
	}
	for pid := range m.programs {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	m.mu.Unlock()
	if started {
		<-m.ended
		_ = m.stdin.Close()
	}
	if m.ns.file != nil {
		_ = m.ns.file.Close()
	}
}

// killProgram kills a program and its children, unless it has ended: its number
// may be another's by then.
func (m *machine) killProgram(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, running := m.programs[pid]; running {
		_ = unix.Kill(-pid, unix.SIGKILL) // it may be ending right now
	}
}

// zombies lists our dead children, as /proc has them.
func zombies() []int {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var dead []int
	for _, d := range dirs {
		stat, err := os.ReadFile(filepath.Join(d, "stat"))
		if err != nil {
			continue
		}
		// pid (comm) state ppid ...; comm may hold anything, brackets included.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(d))
		if err == nil && len(fields) > 1 && fields[0] == "Z" && fields[1] == "1" {
			dead = append(dead, pid)
		}
	}
	return dead
}

// exec runs a program inside the machine with the files that came along, and
// returns its exit code. When the client is gone the program is killed.
func (s *supervisor) exec(m *machine, r request, files []*os.File, rest *bufio.Reader) (int, error) {
	if len(files) != maxFiles {
		return 0, errors.New("exec needs standard input, output and error")
	}
	cmd, err := insideCommand(m.spec, r)
	if err != nil {
		return 0, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	// The lock keeps reapOrphans from taking the program before we know it.
	err = m.ns.do(func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if err := cmd.Start(); err != nil {
			return err
		}
		m.programs[cmd.Process.Pid] = cmd.Process
		return nil
	})
	if err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	go func() {
		forwardSignals(rest, pid)
		m.killProgram(pid) // the client is gone
	}()
	err = cmd.Wait()
	m.mu.Lock()
	delete(m.programs, pid)
	m.mu.Unlock()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}
