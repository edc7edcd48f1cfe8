//go:build !linux

package nsexec

import (
	"errors"
	"os"
	"os/exec"
)

var errLinux = errors.New("network namespaces are a thing of Linux")

// Permitted says whether this process may enter the namespaces of others: nil, or why not.
func Permitted() error { return errLinux }

// Main is the second half. It works on Linux only.
func Main([]string) error { return errLinux }

func dieWithParent(*exec.Cmd) {}

func terminate(p *os.Process) error { return p.Kill() }
