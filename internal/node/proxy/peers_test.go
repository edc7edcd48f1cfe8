package proxy

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// requirePeer skips a test whose peer is not installed, or fails it where
// WSLAB_REQUIRE_PEERS is set.
func requirePeer(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		// Debian keeps servers where an ordinary user's PATH does not lead.
		path = filepath.Join("/usr/sbin", program)
		_, err = os.Stat(path)
	}
	if err == nil {
		return path
	}
	if os.Getenv("WSLAB_REQUIRE_PEERS") != "" {
		t.Fatalf("there is no %s (Debian: %s), and WSLAB_REQUIRE_PEERS is set", program, pkg)
	}
	t.Skipf("there is no %s (Debian: %s)", program, pkg)
	return ""
}
