//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// inBackground starts a program in a session of its own: Ctrl-C and the end of the
// terminal do not reach it.
func inBackground(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
