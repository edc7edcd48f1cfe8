package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the command under test: the real one, statically linked as a release is.
var binary string

func TestMain(m *testing.M) {
	if target := os.Getenv(connectionsVariable); target != "" {
		if err := runConnections(target); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wslab-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// Other users run it, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "wslab")
	if out, err := build(binary, "CGO_ENABLED=0"); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// build compiles the command.
func build(to string, env ...string) ([]byte, error) {
	cmd := exec.Command("go", "build", "-o", to, ".")
	cmd.Env = append(os.Environ(), env...)
	return cmd.CombinedOutput()
}
