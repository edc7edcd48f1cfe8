package nsexec

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestMain lets the test binary be the second half.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Verb {
		_, _ = os.Stderr.WriteString(Main(os.Args[2:]).Error())
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// The program is in the namespace, sees its files, and the host keeps its own.
func TestEnter(t *testing.T) {
	if err := Permitted(); err != nil {
		if os.Getenv("WSLAB_REQUIRE_ROOT") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare of util-linux")
	}
	holder := exec.Command(unshare, "--net", "sh", "-c", "echo there; cat")
	stop, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stop.Close()
		_ = holder.Wait()
	}()
	if _, err := begun.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	cmd := Command(t.Context(), self, netnsOf(holder.Process.Pid), Options{
		Args:  []string{"sh", "-c", "ls /sys/class/net; cat /etc/hosts $SSL_CERT_FILE; echo $A; readlink /proc/self/ns/net"},
		Hosts: map[string]netip.Addr{"server": netip.MustParseAddr("203.0.113.2")},
		CA:    "certificate\n",
		Env:   []string{"A=b"},
	})
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ns, err := os.Readlink(netnsOf(holder.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	want := "lo\n127.0.0.1\tlocalhost\n::1\tlocalhost\n203.0.113.2\tserver\ncertificate\nb\n" + ns + "\n"
	if string(out) != want {
		t.Errorf("%q, want %q", out, want)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the host's mounts have changed")
	}
}

func netnsOf(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/ns/net" }

// What fails on the way in is said, and is no program's exit code.
func TestNamespaceGone(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := Command(t.Context(), self, "/proc/0/ns/net", Options{Args: []string{"true"}}).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 125 || !strings.Contains(string(out), "network namespace of the node") {
		t.Errorf("%v: %s", err, out)
	}
}
