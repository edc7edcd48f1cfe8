//go:build !linux

package proxy

import (
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ordinary is for peers that give up being root.
func ordinary(*exec.Cmd) {}

// onlyUser says that there is no user but root.
func onlyUser() bool { return false }
