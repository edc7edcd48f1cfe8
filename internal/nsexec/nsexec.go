// Package nsexec runs a program of the host in the network namespace of a node.
//
// It works in two halves, because a Go program cannot change the namespaces of
// a process that it starts: [Command] runs the wslab binary again as
// `wslab node-exec`, whose [Main] enters the namespaces and becomes the program.
// The package knows no engine: it is given the path of a network namespace.
package nsexec

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Verb is the hidden command that Command runs and that has to call [Main].
const Verb = "node-exec"

// killDelay is how long a program has to end after it was told to, before it is killed.
const killDelay = 5 * time.Second

// Options say what is to be run and what it sees.
type Options struct {
	// Args are the program, looked up in PATH, and its arguments.
	Args []string
	// Hosts are the names that the program can resolve, and the only ones.
	Hosts map[string]netip.Addr
	// CA is a certificate authority in PEM to trust; empty for none. The
	// program finds it in WSLAB_CA_FILE, SSL_CERT_FILE and what else programs look at.
	CA string
	// Env is added to the environment of the [exec.Cmd].
	Env []string
}

// order is what the first half tells the second.
type order struct {
	NetNS string   `json:"netns"`
	Hosts string   `json:"hosts"`
	CA    string   `json:"ca,omitempty"`
	Env   []string `json:"env,omitempty"`
}

// Command returns a command that runs a program in the network namespace at
// path netns, such as /proc/PID/ns/net. self is the wslab binary.
//
// The caller may set Stdin, Stdout, Stderr, Env and Dir, and starts it. The
// program sees the files of the host, except that /etc/hosts holds the given
// names, that no name server answers, and that /sys describes the namespace;
// the changes are in a mount namespace of its own and go with it.
//
// When ctx ends the program is told with SIGTERM and killed five seconds later.
// From a terminal's foreground there is no SIGTERM: the terminal has told it.
// It is killed when the thread that started it ends, so that nothing is left
// behind when this process is killed: start it from a goroutine that stays
// locked to its thread (runtime.LockOSThread) until Wait has returned.
//
// It needs Linux and CAP_SYS_ADMIN; see [Permitted]. The error of an unknown
// program comes from Start, in Cmd.Err.
func Command(ctx context.Context, self, netns string, o Options) *exec.Cmd {
	raw, err := json.Marshal(order{NetNS: netns, Hosts: hostsFile(o.Hosts), CA: o.CA, Env: o.Env})
	cmd := exec.CommandContext(ctx, self, append([]string{Verb, string(raw), "--"}, o.Args...)...)
	if cmd.Err == nil {
		cmd.Err = err
	}
	if cmd.Err == nil {
		cmd.Err = lookUp(o.Args)
	}
	dieWithParent(cmd)
	cmd.Cancel = func() error { return terminate(cmd.Process) }
	cmd.WaitDelay = killDelay
	return cmd
}

// lookUp finds out in the first half that a program is not there, where it can still be an error.
func lookUp(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no program to run")
	}
	_, err := exec.LookPath(args[0])
	return err
}

// hostsFile returns the content of /etc/hosts, see hosts(5).
func hostsFile(hosts map[string]netip.Addr) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		fmt.Fprintf(&b, "%s\t%s\n", hosts[name], name)
	}
	return b.String()
}
