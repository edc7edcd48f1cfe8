//go:build !unix

package main

import "os/exec"

// inBackground does nothing: the program lives as long as the terminal.
func inBackground(*exec.Cmd) {}
