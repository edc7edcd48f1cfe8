//go:build !unix

package docker

import "os/exec"

func exitCode(e *exec.ExitError) int { return e.ExitCode() }
