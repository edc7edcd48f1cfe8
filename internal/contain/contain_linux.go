package contain

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/nsexec"
)

// politeness is how long what a program has left behind may take to end, in wall time.
const politeness = time.Second

// Main runs a program in a PID namespace of its own and returns its exit code, 128 and the
// signal's number if a signal ended it. args are what follows [Verb]. It needs CAP_SYS_ADMIN.
func Main(args []string) (int, error) {
	args, err := program(Verb, args)
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	// A terminal tells everybody; who ends when is decided by who has started this.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	cmd := exec.Command(self, append([]string{InitVerb, "--"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // which the signal of a parent's death follows
	defer runtime.UnlockOSThread()
	return nsexec.ExitCode(cmd.Run())
}

// Init is the first process of a PID namespace: it runs a program in it, collects what ends there,
// and ends when the program does, which ends all the rest. It returns the program's exit code. args
// are what follows [InitVerb].
func Init(args []string) (int, error) {
	args, err := program(InitVerb, args)
	if err != nil {
		return 0, err
	}
	if os.Getpid() != 1 {
		return 0, fmt.Errorf("%s is the first process of a PID namespace", InitVerb)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	// A /proc of this namespace, for programs that look themselves up. In a container it is there.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	orders := make(chan Order)
	go read(orders)
	pid, code, err := begin(args)
	if err != nil {
		return code, err
	}
	return follow(pid, signals, orders), nil
}

// read hands orders on; it closes the channel when nobody can give any more.
func read(orders chan<- Order) {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		orders <- Order(lines.Text())
	}
	close(orders)
}

// begin starts the program; where it cannot, code says why as a shell does.
func begin(args []string) (pid, code int, err error) {
	path, err := exec.LookPath(args[0])
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return 0, NotFound, err
	}
	if err != nil {
		return 0, CannotRun, err
	}
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return 0, CannotRun, err
	}
	defer func() { _ = nothing.Close() }()
	p, err := os.StartProcess(path, args, &os.ProcAttr{Files: []*os.File{nothing, os.Stdout, os.Stderr}, Env: os.Environ()})
	if err != nil {
		return 0, CannotRun, err
	}
	pid = p.Pid
	return pid, 0, p.Release() // follow collects it
}

// follow carries out orders until the program has ended.
func follow(pid int, signals <-chan os.Signal, orders <-chan Order) int {
	for {
		select {
		case s := <-signals:
			if s != unix.SIGCHLD {
				everybody(unix.SIGTERM)
				continue
			}
			if status, over, _ := reap(pid); over {
				leave(pid, signals)
				return code(status)
			}
		case o, ok := <-orders:
			switch {
			case !ok:
				return 128 + int(unix.SIGKILL) // the kernel does it
			case o == Terminate:
				everybody(unix.SIGTERM)
				everybody(unix.SIGCONT)
			case o == Stop:
				everybody(unix.SIGSTOP)
			case o == Continue:
				everybody(unix.SIGCONT)
			}
		}
	}
}

// everybody sends a signal to every process of the namespace but this one.
func everybody(s unix.Signal) { _ = unix.Kill(-1, s) } // there may be none

// reap collects the children that have ended. over says that the program is among them, none that
// no child is left.
func reap(program int) (status unix.WaitStatus, over, none bool) {
	for {
		var s unix.WaitStatus
		pid, err := unix.Wait4(-1, &s, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return status, over, true
		case pid == 0:
			return status, over, false
		case pid == program:
			status, over = s, true
		}
	}
}

// leave lets what the program has left behind end by itself, for a moment.
func leave(program int, signals <-chan os.Signal) {
	everybody(unix.SIGTERM)
	enough := time.After(politeness)
	for {
		if _, _, none := reap(program); none {
			return
		}
		select {
		case <-signals:
		case <-enough:
			return
		}
	}
}

func code(s unix.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}
