// Package netns runs labs in network namespaces, without Docker and without root:
// one user namespace holds a lab, a network namespace each node, bridges and veth
// pairs are the networks. A supervisor process holds it all and answers on a
// socket; when it ends, the kernel takes everything of the lab away.
package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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
}

// Engine runs labs in network namespaces of this machine. It is safe for concurrent use.
type Engine struct {
	binary string
	dir    string
}

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
	return &Engine{binary: binary, dir: dir}, nil
}

// Name is "netns".
func (*Engine) Name() string { return "netns" }

// Close does nothing: the engine holds nothing open.
func (*Engine) Close() error { return nil }

// Taken is empty: every lab has its own namespaces, so the same addresses do not collide.
func (*Engine) Taken(context.Context, string) ([]topology.PlannedNetwork, error) { return nil, nil }

// Probe starts a process in new namespaces, as a lab would be.
func (e *Engine) Probe(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, e.binary, "version")
	cmd.SysProcAttr = namespaces()
	if err := cmd.Run(); err != nil {
		return unfit(err)
	}
	return nil
}

// unfit says why namespaces cannot be made here.
func unfit(err error) error {
	u := &engine.UnfitError{
		Problem: "this user may not make user and network namespaces: " + err.Error(),
		Remedy:  "allow unprivileged user namespaces (sysctl user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 where it exists), or run wslab as root",
		Err:     err,
	}
	restricted, readErr := os.ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	if readErr == nil && len(restricted) > 0 && restricted[0] == '1' {
		u.Problem = "AppArmor forbids unprivileged user namespaces here, as Ubuntu 24.04 and later do by default"
		u.Remedy = "an administrator can allow them: sysctl kernel.apparmor_restrict_unprivileged_userns=0 (for good: a file in /etc/sysctl.d), or an AppArmor profile for wslab with `userns,`; or run wslab as root"
	}
	return u
}

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
	f := e.files(p.Lab)
	release, err := f.take()
	if err != nil {
		return engine.Changes{}, err
	}
	defer release()
	conn, _, err := f.dial()
	started := 0
	if errors.Is(err, engine.ErrNoLab) {
		if started, err = e.startSupervisor(f); err != nil {
			return engine.Changes{}, err
		}
		conn, _, err = f.dial()
	}
	if err != nil {
		return engine.Changes{}, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	r, _, err := ask(conn, request{Op: opApply, Plan: p}, progress)
	if err == nil {
		return *r.Changes, nil
	}
	if started != 0 {
		if log, readErr := os.ReadFile(f.log()); readErr == nil && len(log) > 0 {
			err = fmt.Errorf("%w\n%s", err, log)
		}
		err = errors.Join(err, e.end(f, started))
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return engine.Changes{}, err
}

// startSupervisor starts the supervisor of a lab and returns its process ID. The
// socket listens before it does, so a request simply waits for it.
func (e *Engine) startSupervisor(f labFiles) (int, error) {
	if err := errors.Join(removeFile(f.socket()), removeFile(f.log())); err != nil {
		return 0, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.socket(), Net: "unix"})
	if err != nil {
		return 0, fmt.Errorf("lab %s: %w", f.name, err)
	}
	l.SetUnlinkOnClose(false)
	defer func() { _ = l.Close() }()
	listener, err := l.File()
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	log, err := os.OpenFile(f.log(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(e.binary, SupervisorVerb)
	cmd.ExtraFiles = []*os.File{listener}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = namespaces()
	if err := cmd.Start(); err != nil {
		return 0, errors.Join(unfit(err), f.remove())
	}
	pid := cmd.Process.Pid
	return pid, cmd.Process.Release()
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
	l := &Lab{files: e.files(lab)}
	r, err := l.ask(ctx, request{Op: opPlan})
	if err != nil {
		return nil, err
	}
	l.plan = r.Plan
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
		if errors.Is(err, engine.ErrNoLab) || errors.Is(err, errSupervisorGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		nodes, err := opened.Nodes(ctx)
		if errors.Is(err, engine.ErrNoLab) || errors.Is(err, errSupervisorGone) {
			continue // taken down at this moment
		}
		if err != nil {
			return nil, err
		}
		plan := opened.Plan()
		s := engine.LabStatus{Name: name, Engine: e.Name(), File: plan.File, Nodes: len(plan.Nodes), Speed: plan.Speed}
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

// downWithin bounds how long a supervisor may take to end; it has nothing to wait for.
const downWithin = 10 * time.Second

// Down ends the supervisor, and with it everything of the lab.
func (e *Engine) Down(ctx context.Context, lab string, _ engine.Progress) error {
	f := e.files(lab)
	release, err := f.take()
	if err != nil {
		return err
	}
	defer release()
	conn, stale, err := f.dial()
	if errors.Is(err, engine.ErrNoLab) {
		if removeErr := f.remove(); removeErr != nil {
			return removeErr
		}
		if stale {
			return nil // a killed supervisor's socket was all that was left
		}
		return err
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(downWithin)); err != nil {
		return err
	}
	if _, _, err := ask(conn, request{Op: opShutdown}, nil); err != nil && !errors.Is(err, errSupervisorGone) {
		return fmt.Errorf("lab %s: %w", lab, err)
	}
	// The connection ends when the process does: after this nothing of the lab runs.
	_, _ = bufio.NewReader(conn).ReadByte()
	return f.remove()
}

// cleanStale cleans up after a supervisor that was killed.
func (f labFiles) cleanStale() {
	release, err := f.take()
	if err != nil {
		return // somebody is at it
	}
	defer release()
	if conn, stale, err := f.dial(); err == nil {
		_ = conn.Close()
	} else if stale {
		_ = f.remove()
	}
}
