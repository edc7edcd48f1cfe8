package proxy

import (
	"os/exec"
	"testing"

	"github.com/wslab/wslab/internal/node/nodetest"
)

func TestMain(m *testing.M) { nodetest.Main(m, Kind()) }

// ordinary is for peers that give up being root.
func ordinary(cmd *exec.Cmd) { nodetest.Ordinary(cmd) }

// onlyUser says that there is no user but root.
func onlyUser() bool { return nodetest.OnlyUser() }
