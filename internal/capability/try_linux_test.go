package capability

import (
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
)

// inside is set in the process that tries.
const inside = "WSLAB_TEST_TRY"

func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		if err := json.NewEncoder(os.Stdout).Encode(Try()); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// TestTry tries everything in namespaces of its own, as `wslab doctor` does.
func TestTry(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	if err != nil {
		if os.Getenv("WSLAB_REQUIRE_NETNS") != "" {
			t.Fatalf("network namespaces are required here: %v", err)
		}
		t.Skipf("no network namespaces: %v", err)
	}
	var checks []engine.Check
	if err := json.Unmarshal(out, &checks); err != nil {
		t.Fatal(err)
	}
	if len(checks) != len(List()) {
		t.Fatalf("%d checks of %d capabilities", len(checks), len(List()))
	}
	// What the kinds of wslab are tested with elsewhere has to be found here.
	kinds := map[string]bool{
		"links": true, "nftables": true, "masquerade": true, "conntrack sysctls": true, "conntrack netlink": true,
		"nflog": true, "tproxy and socket match": true, "TCP_REPAIR": true,
	}
	for _, c := range checks {
		t.Logf("%-24s %-8s %s", c.Name, c.Verdict, c.Found)
		if kinds[c.Name] && c.Verdict != engine.OK {
			t.Errorf("%s: %s", c.Name, c.Found)
		}
		delete(kinds, c.Name)
		if c.Found == "" || c.Needed == "" || (c.Verdict == engine.OK) != (c.Remedy == "") {
			t.Errorf("%+v", c)
		}
	}
	for name := range kinds {
		t.Errorf("%s is not tried", name)
	}
}
