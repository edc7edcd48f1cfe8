package netns

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
)

// host is what this machine says about namespaces.
type host struct {
	// root says that wslab runs as root.
	root bool
	// read returns the text of a file, false if there is none.
	read func(path string) (string, bool)
}

func thisHost() host {
	return host{root: os.Geteuid() == 0, read: func(path string) (string, bool) {
		text, err := os.ReadFile(path)
		return string(text), err == nil
	}}
}

// sysctl returns a sysctl's value, empty if there is none.
func (h host) sysctl(name string) string {
	text, _ := h.read("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	return strings.TrimSpace(text)
}

// contained says whether this is a container.
func (h host) contained() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, ok := h.read(mark); ok {
			return true
		}
	}
	status, _ := h.read("/proc/self/status")
	return strings.Contains(status, "\nSeccomp:\t2\n") // a filter of system calls
}

const (
	maxUser = "user.max_user_namespaces"
	maxNet  = "user.max_net_namespaces"
	// restricted is Ubuntu's: it lets a program make a user namespace, and gives it no
	// capability in there unless an AppArmor profile allows it `userns`.
	restricted = "kernel.apparmor_restrict_unprivileged_userns"
	// clone is Debian's, and of kernels made from its sources.
	clone = "kernel.unprivileged_userns_clone"
)

// set tells how a sysctl is set, now and for good.
func set(name, value string) string {
	return fmt.Sprintf("an administrator can allow it: sudo sysctl -w %[1]s=%[2]s (and for good: echo %[1]s=%[2]s | sudo tee /etc/sysctl.d/60-wslab.conf)", name, value)
}

// refusal says why namespaces cannot be made or used here.
func (h host) refusal(err error) *engine.UnfitError {
	refused := func(problem, remedy string) *engine.UnfitError {
		return &engine.UnfitError{Problem: problem, Remedy: remedy, Err: err}
	}
	const orRoot = "; or run wslab as root"
	switch {
	case !h.root && h.sysctl(restricted) == "1":
		return refused("AppArmor forbids unprivileged user namespaces ("+restricted+"=1), as Ubuntu 24.04 and later do by default",
			set(restricted, "0")+", or give wslab alone an AppArmor profile with `userns,`"+orRoot)
	case !h.root && h.sysctl(clone) == "0":
		return refused("ordinary users may not make user namespaces ("+clone+"=0)", set(clone, "1")+orRoot)
	case h.sysctl(maxUser) == "0":
		return refused("nobody may make user namespaces ("+maxUser+"=0)", set(maxUser, "15000"))
	case h.sysctl(maxNet) == "0":
		return refused("nobody may make network namespaces ("+maxNet+"=0)", set(maxNet, "15000"))
	case errors.Is(err, unix.ENOSPC):
		return refused(fmt.Sprintf("there are as many namespaces as this user may have (%s=%s, %s=%s)", maxUser, h.sysctl(maxUser), maxNet, h.sysctl(maxNet)),
			"take labs down that you do not need (wslab ps, wslab down), or raise them with sudo sysctl -w")
	case h.contained():
		return refused("this container may not make user and network namespaces: "+err.Error(),
			"run wslab outside of it, or start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or with --privileged")
	}
	return refused("this user may not make user and network namespaces: "+err.Error(),
		"allow unprivileged user namespaces ("+maxUser+" above 0, "+clone+"=1 where it exists)"+orRoot)
}

// check is the line about namespaces; err is what became of an attempt.
func (h host) check(err error) engine.Check {
	c := engine.Check{Name: "user namespaces", Needed: "every lab: it lives in a user namespace of its own"}
	if err != nil {
		refusal := h.refusal(err)
		c.Verdict, c.Found, c.Remedy = engine.Unfit, refusal.Problem, refusal.Remedy
		return c
	}
	c.Verdict, c.Found = engine.OK, "allowed"
	if n := h.sysctl(maxUser); n != "" {
		c.Found += fmt.Sprintf(", %s=%s", maxUser, n)
	}
	return c
}
