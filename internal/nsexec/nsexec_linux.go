package nsexec

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Scratch is a directory that every sysfs has. A tmpfs over it, in the program's
// own mount namespace, holds the program's files: nothing is written on the
// host, so nothing can be left there. Container runtimes hide the same directory
// in the same way.
const Scratch = "/sys/firmware"

// resolvConf lets every look-up of a name that is not in /etc/hosts fail at
// once: nothing listens there.
const resolvConf = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"

// Permitted says whether this process may enter the namespaces of others: nil, or why not.
func Permitted() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities of this process: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return errors.New("this process is not root (it lacks CAP_SYS_ADMIN)")
	}
	return nil
}

// dieWithParent has the kernel kill the program when its parent is gone.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// terminate asks the program to end, unless a terminal has done so already.
func terminate(p *os.Process) error {
	if inForeground() {
		return nil
	}
	return p.Signal(syscall.SIGTERM)
}

// inForeground says whether this process and what it starts get the signals of
// a terminal's keys.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer func() { _ = tty.Close() }()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// Main is the second half: it enters the namespaces and becomes the program.
// args are what follows [Verb]. It returns only when that fails.
func Main(args []string) error {
	if len(args) < 3 || args[1] != "--" {
		return fmt.Errorf("%s is not for people: use exec", Verb)
	}
	var o order
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return fmt.Errorf("%s: %w", Verb, err)
	}
	args = args[2:]
	// Namespaces belong to the thread; the thread that calls execve hands its own on.
	runtime.LockOSThread()
	if err := enter(o); err != nil {
		return err
	}
	env := append(os.Environ(), o.Env...)
	if o.CA != "" {
		ca := filepath.Join(Scratch, "ca.pem")
		for _, name := range caVariables {
			env = append(env, name+"="+ca)
		}
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, args, lastWins(env)))
}

// enter puts this thread into the network namespace, with its own view of the
// files that describe the network.
func enter(o order) error {
	ns, err := os.Open(o.NetNS)
	if err != nil {
		return fmt.Errorf("network namespace of the node: %w", err)
	}
	defer func() { _ = ns.Close() }()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace %s: %w", o.NetNS, err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	// A slave sees what the host mounts from now on, and the host nothing of ours.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("separate the mount namespace: %w", err)
	}
	// sysfs shows the interfaces of the namespace it was mounted in (tcpdump
	// looks there). Where it may not be mounted, the host's is the lesser evil.
	_ = unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err := unix.Mount("wslab", Scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=4m"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", Scratch, err)
	}
	for _, f := range []struct{ name, content, over string }{
		{"hosts", o.Hosts, "/etc/hosts"},
		{"resolv.conf", resolvConf, "/etc/resolv.conf"},
		{"ca.pem", o.CA, ""},
	} {
		if err := put(f.name, f.content, f.over); err != nil {
			return err
		}
	}
	return nil
}

// put writes a file into Scratch and, unless over is empty, mounts it over another.
func put(name, content, over string) error {
	path := filepath.Join(Scratch, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return err
	}
	if over == "" {
		return nil
	}
	err := unix.Mount(path, over, "", unix.MS_BIND, "")
	if errors.Is(err, os.ErrNotExist) && name == "resolv.conf" {
		return nil // none there: the resolver then asks 127.0.0.1 as well, see resolv.conf(5)
	}
	if err != nil {
		return fmt.Errorf("mount over %s: %w", over, err)
	}
	return nil
}
