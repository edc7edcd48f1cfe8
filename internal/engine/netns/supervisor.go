package netns

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// The descriptors on which the supervisor finds its listening socket, and the pipe whose other
// end whoever has started it holds.
const (
	listenerFD = 3
	ownerFD    = 4
)

// Supervise is the supervisor of one lab. It is started by Up as the first process
// of new user, PID, mount and network namespaces, so that when it ends, by whatever
// cause, the kernel ends every process and namespace of the lab with it.
func Supervise(ctx context.Context) error {
	unix.CloseOnExec(ownerFD) // nodes and programs have no part in it
	file := os.NewFile(listenerFD, "listener")
	l, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("the supervisor is started by up, not by hand: %w", err)
	}
	// Whoever connects learns from the kernel who it is that listens: this process, not
	// the one that has made the socket.
	err = errors.Join(os.NewSyscallError("listen", unix.Listen(listenerFD, unix.SOMAXCONN)), file.Close())
	if err != nil {
		return err
	}
	listener, ok := l.(*net.UnixListener)
	if !ok {
		return errors.New("the supervisor's listener is not a unix socket")
	}
	// The host's number for this process, while the host's /proc is still the one seen.
	var outside int
	if numbers := pidNumbers("/proc/self/status"); len(numbers) > 0 {
		outside = numbers[0]
	}
	// A /proc of our own PID namespace, where the kernel lets us: programs that
	// look themselves up need it. Without it labs still work.
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	s, err := newSupervisor(outside)
	if err != nil {
		return err
	}
	go s.reapOrphans()
	go s.heedOwner(os.NewFile(ownerFD, "owner"))
	go heedSocket(listener.Addr().String())
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	for {
		conn, err := listener.AcceptUnix()
		if err != nil {
			return nil // closed: the end of the lab
		}
		go s.serve(conn)
	}
}

// heedOwner ends the lab when the process that has started it is gone, unless that has
// left the lab to itself before. Nothing is ever written to the pipe.
func (s *supervisor) heedOwner(owner *os.File) {
	defer func() { _ = owner.Close() }()
	_, _ = owner.Read(make([]byte, 1))
	if !s.tied.Load() {
		return
	}
	// Standard error is the log, which the next command reads.
	fmt.Fprintln(os.Stderr, "the command that had brought it up ended without taking it down")
	os.Exit(1)
}

// lookAtSocket is how often a supervisor looks whether its socket is still there.
const lookAtSocket = time.Second

// heedSocket ends the lab when its socket is gone: nobody could reach it any more, nor
// take it down. The runtime directory of a user goes when that user logs out.
func heedSocket(path string) {
	info, err := os.Lstat(path)
	for err == nil && isThere(path, info) {
		time.Sleep(lookAtSocket)
	}
	fmt.Fprintln(os.Stderr, "its socket was removed")
	os.Exit(1)
}

// supervisor holds a lab's namespaces and processes.
type supervisor struct {
	links   *netlink.Handle
	outside int // this process as the host numbers it

	applying sync.Mutex // one apply at a time

	tied atomic.Bool // the lab ends with whoever has started it

	mu       sync.Mutex
	plan     *topology.Plan
	bridges  map[string]*bridge
	machines map[string]*machine
	counter  int // of links, for their names
}

type bridge struct {
	*netlink.Bridge
	digest string
}

func newSupervisor(outside int) (*supervisor, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(withoutIPv6(), loopbackUp(h)); err != nil {
		return nil, err
	}
	s := &supervisor{
		links:    h,
		outside:  outside,
		plan:     &topology.Plan{},
		bridges:  make(map[string]*bridge),
		machines: make(map[string]*machine),
	}
	s.tied.Store(true)
	return s, nil
}

// reapOrphans collects processes whose parents ended before them: PID 1 of the
// namespace inherits them. Processes that we started ourselves are left to os/exec.
func (s *supervisor) reapOrphans() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	for range died {
		for _, pid := range zombies() {
			if !s.owns(pid) {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
	}
}

// hangUpWithin bounds how long the end of a lab waits for whoever asked for it.
const hangUpWithin = time.Second

func (s *supervisor) currentPlan() *topology.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan
}

// serve answers one request.
func (s *supervisor) serve(conn *net.UnixConn) {
	defer func() { _ = conn.Close() }()
	r, files, rest, err := receive(conn)
	if err != nil {
		return
	}
	defer closeAll(files)
	out := &replies{enc: json.NewEncoder(conn)}
	switch r.Op {
	case opPlan:
		out.send(reply{Plan: s.currentPlan(), Tied: s.tied.Load()})
	case opNodes:
		out.send(reply{Nodes: s.nodes(), Supervisor: s.outside})
	case opApply:
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() {
			_, _ = io.Copy(io.Discard, rest)
			cancel(errors.New("interrupted")) // whoever asked is gone
		}()
		changes, err := s.apply(ctx, r.Plan, out.progress)
		if err == nil && r.Leave {
			s.tied.Store(false)
		}
		out.last(reply{Changes: &changes}, err)
	case opSettled:
		s.applying.Lock()
		defer s.applying.Unlock()
		out.send(reply{})
	case opShutdown:
		out.send(reply{Supervisor: s.outside})
		// Whoever asked opens what tells it of our end, and hangs up then.
		_ = conn.SetReadDeadline(time.Now().Add(hangUpWithin))
		_, _ = io.Copy(io.Discard, rest)
		os.Exit(0)
	default:
		s.serveNode(conn, r, files, rest, out)
	}
}

// serveNode answers a request about one node.
func (s *supervisor) serveNode(conn *net.UnixConn, r request, files []*os.File, rest *bufio.Reader, out *replies) {
	m, ok := s.machine(r.Node)
	if !ok {
		out.last(reply{}, fmt.Errorf("node %s: %w", r.Node, engine.NoNode(s.currentPlan().Lab)))
		return
	}
	switch r.Op {
	case opPause:
		out.last(reply{}, m.signal(unix.SIGSTOP))
	case opResume:
		out.last(reply{}, m.signal(unix.SIGCONT))
	case opAttach:
		if err := m.notRunning(); err != nil {
			out.last(reply{}, err)
			return
		}
		s.attach(conn, rest, m, out)
	case opLogs:
		s.logs(conn, rest, m, r.Follow, out)
	case opExec:
		code, err := s.exec(m, r, files, rest)
		out.last(reply{Exit: code}, err)
	default:
		out.last(reply{}, fmt.Errorf("unknown request %q: the lab was started by another version of wslab; take it down and up again", r.Op))
	}
}

// attach carries the node's control stream until either end is gone.
func (s *supervisor) attach(conn *net.UnixConn, rest io.Reader, m *machine, out *replies) {
	from := m.stdout.next()
	out.send(reply{}) // from here on what the node says is not missed
	gone := watch(m.stdout, func() { _, _ = io.Copy(m.stdin, rest) })
	m.stdout.read(from, gone, func(line []byte) bool {
		_, err := conn.Write(line)
		return err == nil
	})
}

// logs carries what the node has written, and goes on if follow is set.
func (s *supervisor) logs(conn *net.UnixConn, rest io.Reader, m *machine, follow bool, out *replies) {
	out.send(reply{})
	gone := func() bool { return true }
	if follow {
		gone = watch(m.all, func() { _, _ = io.Copy(io.Discard, rest) })
	}
	m.all.read(0, gone, func(line []byte) bool {
		_, err := conn.Write(line)
		return err == nil
	})
}

// watch runs f, which ends when the other end of the connection is gone, and
// returns a function that says whether it has; readers of o are woken then.
func watch(o *output, f func()) (gone func() bool) {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
		o.wake()
	}()
	return func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

func (s *supervisor) machine(name string) (*machine, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.machines[name]
	return m, ok
}

func (s *supervisor) owns(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.machines {
		if m.owns(pid) {
			return true
		}
	}
	return false
}

// nodes says how each node is, in the order of the plan.
func (s *supervisor) nodes() []engine.NodeStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []engine.NodeStatus
	for i := range s.plan.Nodes {
		spec := &s.plan.Nodes[i]
		status := engine.NodeStatus{Node: spec.Name, Kind: spec.Kind, State: engine.Missing, Addrs: engine.Addrs(spec)}
		if m, ok := s.machines[spec.Name]; ok {
			m.status(&status)
		}
		all = append(all, status)
	}
	return all
}

// replies writes replies; a client that is gone is no reason to fail.
type replies struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (r *replies) send(p reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.enc.Encode(p)
}

func (r *replies) progress(format string, args ...any) {
	r.send(reply{Progress: fmt.Sprintf(format, args...)})
}

func (r *replies) last(p reply, err error) {
	if err != nil {
		p.Error = err.Error()
	}
	r.send(p)
}

// sortedKeys returns the keys of a map in order, so that what is done is done alike each time.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
