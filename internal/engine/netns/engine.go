// Package netns runs labs in network namespaces, without Docker and without root:
// one user namespace holds a lab, a network namespace each node, bridges and veth
// pairs are the networks. A supervisor process holds it all and answers on a
// socket; when it ends, the kernel takes everything of the lab away.
package netns

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// SupervisorVerb is the hidden verb of wslab that runs Supervise.
const SupervisorVerb = "netns-supervisor"

// Options of New.
type Options struct {
	// Binary that supervisors and nodes run; empty is the running one.
	Binary string
	// Notice takes what the engine comes upon: labs that have ended by themselves.
	// It may be nil.
	Notice engine.Progress
}

// Engine runs labs in network namespaces of this machine. It is safe for concurrent use.
type Engine struct {
	binary string
	dir    string
	host   host
	notice engine.Progress
	// patience is how long a supervisor may take to answer what needs no time.
	patience time.Duration
}

// usualPatience is plenty also where a thousand nodes start on a small machine.
const usualPatience = 20 * time.Second

var (
	_ engine.Engine    = (*Engine)(nil)
	_ engine.Checker   = (*Engine)(nil)
	_ engine.Ephemeral = (*Engine)(nil)
)

// New returns the engine. It fails when there is no place for the labs' sockets.
func New(o Options) (*Engine, error) {
	binary := o.Binary
	if binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("the running binary: %w", err)
		}
		binary = self
	}
	dir, err := stateDir()
	if err != nil {
		return nil, err
	}
	return &Engine{binary: binary, dir: dir, host: thisHost(), notice: o.Notice, patience: usualPatience}, nil
}

// Name is "netns".
func (*Engine) Name() string { return "netns" }

// Close does nothing: the engine holds nothing open.
func (*Engine) Close() error { return nil }

// namespaces are what a lab lives in. An ordinary user is root inside and nobody
// else; root keeps every user, so that programs that change theirs work.
func namespaces() *syscall.SysProcAttr {
	uid, gid, size := os.Getuid(), os.Getgid(), 1
	if uid == 0 {
		size = 1 << 16
	}
	return &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: size}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: size}},
		GidMappingsEnableSetgroups: uid == 0,
		Setsid:                     true,
	}
}

func (e *Engine) files(lab string) labFiles { return labFiles{e.dir, lab} }

// Up makes the running instance equal to the plan; see [engine.Engine].
func (e *Engine) Up(ctx context.Context, p *topology.Plan, progress engine.Progress) (engine.Changes, error) {
	changes, owner, err := e.up(ctx, p, leftToItself, progress)
	if owner == nil {
		return changes, err
	}
	return changes, errors.Join(err, owner.Close())
}

// UpTied brings an instance up that ends with this process; see [engine.Ephemeral].
func (e *Engine) UpTied(ctx context.Context, p *topology.Plan, progress engine.Progress) (engine.Changes, io.Closer, error) {
	changes, owner, err := e.up(ctx, p, tiedToUs, progress)
	switch {
	case err == nil && owner == nil:
		return changes, nil, fmt.Errorf("lab %s is there already", p.Lab)
	case err == nil:
		return changes, owner, nil
	case owner != nil:
		err = errors.Join(err, owner.Close())
	}
	return changes, nil, err
}

// tenure says how long a lab lives that was not there before.
type tenure bool

const (
	leftToItself tenure = true  // until it is taken down
	tiedToUs     tenure = false // as long as this process holds the owner's end
)

// up is Up with the owner's end of the supervisor that it has started, nil if the lab was there.
func (e *Engine) up(ctx context.Context, p *topology.Plan, t tenure, progress engine.Progress) (changes engine.Changes, owner *os.File, err error) {
	f := e.files(p.Lab)
	release, err := f.take()
	if err != nil {
		time.Sleep(lockPoll) // it may be one that only looks whether something is stale
		release, err = f.take()
	}
	if err != nil {
		return changes, nil, err
	}
	defer release()
	conn, stale, err := f.dial()
	started := 0
	if errors.Is(err, engine.ErrNoLab) {
		if stale {
			e.sayEnded(f)
		}
		if started, owner, err = e.startSupervisor(f); err != nil {
			return changes, nil, err
		}
		conn, _, err = f.dial()
	}
	if err != nil {
		return changes, owner, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// A lab that was there already stays with whoever has it.
	r, _, err := ask(conn, request{Op: opApply, Plan: p, Leave: started != 0 && t == leftToItself}, progress)
	if err == nil {
		return *r.Changes, owner, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if log, readErr := os.ReadFile(f.log()); started != 0 && readErr == nil && len(log) > 0 {
		err = fmt.Errorf("%w%s", err, engine.Indent(engine.LastWords(string(log), 10)))
	}
	if started != 0 {
		if endErr := e.end(f, started); endErr != nil {
			err = errors.Join(err, &engine.LeftBehindError{Lab: p.Lab, Err: endErr})
		}
	} else if ctx.Err() != nil {
		awaitApply(f)
	}
	return changes, owner, err
}

// awaitApply returns when the supervisor has taken back what it was making for a
// request that is given up: until then it works on no other.
func awaitApply(f labFiles) {
	conn, _, err := f.dial()
	if err != nil {
		return // the lab has ended, then
	}
	defer func() { _ = conn.Close() }()
	if conn.SetDeadline(time.Now().Add(downWithin)) == nil {
		_, _, _ = ask(conn, request{Op: opSettled}, nil) // it has, or it takes too long to be waited for
	}
}

// startSupervisor starts the supervisor of a lab and returns its process ID, and the end of a
// pipe with whose closing it ends. The socket listens before it does, so a request simply
// waits for it.
func (e *Engine) startSupervisor(f labFiles) (pid int, owner *os.File, err error) {
	if err := errors.Join(removeFile(f.socket()), removeFile(f.log())); err != nil {
		return 0, nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.socket(), Net: "unix"})
	if err != nil {
		return 0, nil, fmt.Errorf("lab %s: %w", f.name, err)
	}
	l.SetUnlinkOnClose(false)
	defer func() { _ = l.Close() }()
	listener, err := l.File()
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = listener.Close() }()
	log, err := os.OpenFile(f.log(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = log.Close() }()
	heeded, owner, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = heeded.Close() }()
	cmd := exec.Command(e.binary, SupervisorVerb)
	cmd.ExtraFiles = []*os.File{listener, heeded}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = namespaces()
	if err := cmd.Start(); err != nil {
		return 0, nil, errors.Join(e.host.refusal(err), owner.Close(), f.remove())
	}
	pid = cmd.Process.Pid
	return pid, owner, cmd.Process.Release()
}

// end kills a supervisor that this process has started, and with it the lab.
func (e *Engine) end(f labFiles, pid int) error {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	_, _ = unix.Wait4(pid, nil, 0, nil) // ours to collect
	return f.remove()
}

// Open returns the running instance, or ErrNoLab.
func (e *Engine) Open(ctx context.Context, lab string) (engine.Lab, error) {
	l := &Lab{engine: e, files: e.files(lab)}
	r, err := l.ask(ctx, request{Op: opPlan})
	if err != nil {
		return nil, err
	}
	l.plan, l.tied = r.Plan, r.Tied
	return l, nil
}

// Labs lists the instances. What a supervisor left that was killed is taken away
// on the way.
func (e *Engine) Labs(ctx context.Context) ([]engine.LabStatus, error) {
	names, err := known(e.dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []engine.LabStatus
	for _, name := range names {
		opened, err := e.Open(ctx, name)
		var nodes []engine.NodeStatus
		if err == nil {
			nodes, err = opened.Nodes(ctx)
		}
		switch {
		case err == nil:
		case errors.Is(err, engine.ErrNoLab):
			e.cleanStale(e.files(name)) // files without a socket
			continue
		case errors.Is(err, errSupervisorGone): // taken down at this moment
			continue
		case ctx.Err() != nil:
			return nil, err
		default: // one that cannot be asked is no reason not to see the others
			e.notice.Say("%s", err)
			continue
		}
		plan := opened.Plan()
		s := engine.LabStatus{Name: name, Engine: e.Name(), File: plan.File, Nodes: len(plan.Nodes), Speed: plan.Speed, Tied: opened.(*Lab).tied}
		if len(plan.Nodes) > 0 {
			s.Source = plan.Nodes[0].Source
		}
		for _, n := range nodes {
			if n.State == engine.Running || n.State == engine.Paused {
				s.Running++
			}
		}
		if info, err := os.Stat(e.files(name).socket()); err == nil {
			s.Created = info.ModTime()
		}
		all = append(all, s)
	}
	return all, nil
}

// downWithin bounds how long a lab may take to end: its supervisor has nothing to
// wait for, the kernel ends a thousand nodes in a second or two.
const downWithin = 30 * time.Second

// Down ends the supervisor, and with it everything of the lab.
func (e *Engine) Down(ctx context.Context, lab string, progress engine.Progress) error {
	f := e.files(lab)
	release, err := f.await(ctx, progress)
	if err != nil {
		return err
	}
	defer release()
	conn, stale, err := f.dial()
	if errors.Is(err, engine.ErrNoLab) {
		if stale {
			e.sayEnded(f)
			err = nil // its files were all that was left
		}
		return errors.Join(err, f.remove())
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	progress.Say("lab %s: removing it", lab)
	r, _, err := e.askSoon(conn, request{Op: opShutdown})
	switch {
	case err == nil, errors.Is(err, errSupervisorGone):
	case errors.Is(err, errForeign):
		return &damagedError{lab, f.socket(), err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		// A supervisor has nothing to finish: one that is stopped is killed.
		if r.Supervisor, err = killPeer(conn); err != nil {
			return &damagedError{lab, f.socket(), err}
		}
	default:
		return fmt.Errorf("lab %s: %w", lab, err)
	}
	if err := awaitEnd(conn, r.Supervisor); err != nil {
		return fmt.Errorf("lab %s: %w", lab, err)
	}
	return f.remove()
}

// askSoon is ask for what a supervisor answers at once.
func (e *Engine) askSoon(conn *net.UnixConn, r request, files ...*os.File) (reply, *bufio.Reader, error) {
	if err := conn.SetDeadline(time.Now().Add(e.patience)); err != nil {
		return reply{}, nil, err
	}
	p, rest, err := ask(conn, r, nil, files...)
	return p, rest, errors.Join(err, conn.SetDeadline(time.Time{}))
}

// killPeer kills the supervisor at the other end of a connection and returns its process ID.
func killPeer(conn *net.UnixConn) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var sockErr error
	if err := raw.Control(func(fd uintptr) { peer, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if sockErr != nil {
		return 0, os.NewSyscallError("getsockopt", sockErr)
	}
	pid = int(peer.Pid)
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return 0, err
	}
	if !bytes.Contains(args, []byte("\x00"+SupervisorVerb+"\x00")) {
		return 0, fmt.Errorf("process %d does not answer there, and is no supervisor", pid)
	}
	return pid, unix.Kill(pid, unix.SIGKILL)
}

// awaitEnd hangs up, upon which the supervisor ends, and waits for that: the kernel
// lets the first process of a PID namespace go when all the others are gone. The
// connection would tell too early.
func awaitEnd(conn *net.UnixConn, supervisor int) error {
	fd, err := unix.PidfdOpen(supervisor, 0)
	if err != nil {
		// It is gone, or it numbers itself in a way that this process does not see.
		_ = conn.CloseWrite()
		_, _ = bufio.NewReader(conn).ReadByte()
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	deadline := time.Now().Add(downWithin)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return fmt.Errorf("its supervisor (process %d) does not end", supervisor)
		default:
			_, _ = unix.Wait4(supervisor, nil, unix.WNOHANG, nil) // where it is ours to collect
			return nil
		}
	}
}

// sayEnded says what became of a lab of which there is a socket that nobody listens on.
func (e *Engine) sayEnded(f labFiles) {
	why := "its supervisor was killed"
	if log, err := os.ReadFile(f.log()); err == nil {
		if words := engine.LastWords(string(log), 1); len(words) > 0 {
			why = words[0]
		}
	}
	e.notice.Say("lab %s has ended: %s; every node and network went with it", f.name, why)
}

// cleanStale cleans up after a supervisor that was killed, or a command that was before
// there was one.
func (e *Engine) cleanStale(f labFiles) {
	release, err := f.take()
	if err != nil {
		return // somebody is at it
	}
	defer release()
	conn, stale, err := f.dial()
	switch {
	case err == nil:
		_ = conn.Close()
	case errors.Is(err, engine.ErrNoLab):
		if stale {
			e.sayEnded(f)
		}
		_ = f.remove()
	}
}
