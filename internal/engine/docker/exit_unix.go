//go:build unix

package docker

import (
	"os/exec"
	"syscall"
)

// exitCode is what a shell would say.
func exitCode(e *exec.ExitError) int {
	if s, ok := e.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return e.ExitCode()
}
