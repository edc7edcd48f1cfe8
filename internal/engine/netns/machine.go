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
	"github.com/wslab/wslab/internal/nsexec"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/topology"
)

// keepStderr is how much of the end of a node's standard error is kept to say why it has ended.
const keepStderr = 64 << 10

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
	entered  bool // by a program of exec, which may have left others behind
	paused   bool
	exited   bool
	exitCode int
	stderr   []byte // the end of standard error
	said     string // the node's own word for why it stopped

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
	if m.spec.Needs.Processes {
		// The kernel ends everything in a PID namespace with its first process.
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
		cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	}
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
			e, ok := control.ParseEvent(line)
			switch {
			case !ok:
			case e.Type == trace.Ready:
				m.readyN.Do(func() { close(m.ready) })
			case e.Type == trace.Stopped:
				m.mu.Lock()
				m.said = e.Err
				m.mu.Unlock()
			}
		})
	})
	reading.Go(func() {
		control.ForEachLine(stderr, func(line []byte) {
			m.all.append(line)
			m.mu.Lock()
			m.stderr = append(m.stderr, line...)
			m.stderr = m.stderr[max(0, len(m.stderr)-keepStderr):]
			m.mu.Unlock()
		})
	})
	reading.Wait()
	_ = cmd.Wait() // the state says it
	m.mu.Lock()
	m.exited, m.exitCode = true, nsexec.Code(cmd.ProcessState)
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
		ended := &engine.EndedError{
			Reason: engine.ExitReason(m.exitCode), Said: m.said, LastWords: engine.LastWords(string(m.stderr), 10),
		}
		return fmt.Errorf("node %s: %w", m.spec.Name, ended)
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
		s.State, s.ExitCode = engine.Exited, m.exitCode
		s.Detail = m.detail()
	case m.paused:
		s.State = engine.Paused
	}
	if !m.exited {
		s.PID = m.process.Pid
	}
}

// detail says why the node has ended. The caller holds mu.
func (m *machine) detail() string {
	return engine.Detail(engine.ExitReason(m.exitCode), engine.LastWords(string(m.stderr), 1))
}

// notRunning says so of a node that has ended, nil of one that runs.
func (m *machine) notRunning() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.exited {
		return nil
	}
	return fmt.Errorf("node %s: %w", m.spec.Name, engine.NotRunning(m.detail()))
}

// signal sends a signal to every process of the node: its own and the programs in it.
func (m *machine) signal(sig syscall.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.exited {
		return fmt.Errorf("node %s: %w", m.spec.Name, engine.NotRunning(m.detail()))
	}
	m.paused = sig == unix.SIGSTOP
	err := unix.Kill(-m.process.Pid, sig)
	for pid := range m.programs {
		err = errors.Join(err, unix.Kill(-pid, sig))
	}
	// Programs may have left their process group. One that is born meanwhile is found
	// at the second look.
	for range 2 {
		for _, pid := range m.inhabitants() {
			_ = unix.Kill(pid, sig) // it may have ended
		}
	}
	return err
}

// inhabitants are the processes in the machine's network namespace, as far as /proc
// shows them; none where nothing but the node itself was ever started there.
func (m *machine) inhabitants() []int {
	if m.ns.file == nil || !m.entered && !m.spec.Needs.Processes {
		return nil
	}
	// Where the kernel does not let us have a /proc of our own, this one numbers
	// processes as the host does.
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return nil
	}
	ours, err := m.ns.file.Stat()
	if err != nil {
		return nil
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var pids []int
	for _, d := range dirs {
		theirs, err := os.Stat(filepath.Join(d, "ns/net"))
		pid, errNumber := strconv.Atoi(filepath.Base(d))
		if err == nil && errNumber == nil && pid != os.Getpid() && os.SameFile(ours, theirs) {
			pids = append(pids, pid)
		}
	}
	return pids
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
	for _, pid := range m.inhabitants() { // what a program has left behind
		_ = unix.Kill(pid, unix.SIGKILL)
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
		m.entered = true
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
	return nsexec.ExitCode(err)
}
