package nsexec

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"github.com/wslab/wslab/topology"
)

// Inside are the options for a program in a node: it knows the names that the node
// knows and the node's own, trusts the lab's authority, and finds the names of the
// lab and the node in WSLAB_LAB and WSLAB_NODE.
func Inside(spec *topology.NodeSpec, args []string) Options {
	o := Options{
		Args:  args,
		Hosts: maps.Clone(spec.Hosts),
		Env:   []string{"WSLAB_LAB=" + spec.Lab, "WSLAB_NODE=" + spec.Name},
	}
	if len(spec.Interfaces) > 0 {
		if o.Hosts == nil {
			o.Hosts = make(map[string]netip.Addr)
		}
		o.Hosts[spec.Name] = spec.Interfaces[0].Addr.Addr()
	}
	if spec.CA != nil {
		o.CA = spec.CA.CertPEM
	}
	return o
}

// ExitCode returns the exit code of a program that [exec.Cmd.Wait] returned err
// for: 128 and the signal's number if a signal ended it, as a shell has it. It
// returns the errors that are not about how the program ended.
func ExitCode(err error) (int, error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	return Code(exit.ProcessState), nil
}

// Code is the exit code of a process that has ended; see [ExitCode].
func Code(p *os.ProcessState) int {
	if p == nil {
		return -1 // nobody knows: somebody else has waited for it
	}
	if s, ok := p.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return p.ExitCode()
}
