package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2/client"
)

// Toxiproxy's Go client and toxiproxy-cli work on a lab unchanged, and what they do is
// in the trace.
func TestToxiproxyAPI(t *testing.T) {
	r := newNetnsRig(t)
	address := freeAddress(t)
	r.must("up", "home", "--toxiproxy-api", address)
	api := toxiproxy.NewClient(address)
	nat, err := api.Proxy("nat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nat.AddToxic("slow", "latency", "upstream", 1, toxiproxy.Attributes{"latency": 300}); err != nil {
		t.Fatal(err)
	}
	if list := r.must("toxic", "ls"); !strings.Contains(list, "slow  latency  upstream  1         latency=300ms jitter=0s") {
		t.Errorf("toxic ls:\n%s", list)
	}
	if logs := r.must("logs", "nat"); !strings.Contains(logs, "toxic.added") {
		t.Errorf("logs:\n%s", logs)
	}
	// A second up finds it there.
	if _, stderr, code := r.run("up", "home", "--toxiproxy-api", address); code != 0 || !strings.Contains(stderr, "answers on "+address+" already") {
		t.Errorf("up again: exit code %d\n%s", code, stderr)
	}
	if cli := toxiproxyCLI(t); cli != "" {
		out, err := exec.Command(cli, "-h", "http://"+address, "toxic", "remove", "-n", "slow", "nat").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Removed toxic 'slow' on proxy 'nat'") {
			t.Errorf("toxiproxy-cli: %v\n%s", err, out)
		}
	}
	r.must("down")
	r.awaitNone() // it ends with its lab
}

// An address that is taken is said, and the lab is left as it is.
func TestToxiproxyAPIAddressTaken(t *testing.T) {
	r := newNetnsRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, stderr, code := r.run("up", "home", "--toxiproxy-api", l.Addr().String())
	if want := "the Toxiproxy API cannot listen on " + l.Addr().String(); code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("exit code %d, want 1 and %q\n%s", code, want, stderr)
	}
	if ps := r.must("ps"); !strings.Contains(ps, "home") {
		t.Errorf("the lab is gone:\n%s", ps)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// toxiproxyCLI builds toxiproxy-cli of the version that we import; "" if it cannot be had.
func toxiproxyCLI(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "install", "github.com/Shopify/toxiproxy/v2/cmd/cli@v2.12.0")
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("WSLAB_REQUIRE_PEERS") != "" {
			t.Fatalf("toxiproxy-cli: %v\n%s", err, out)
		}
		t.Logf("without toxiproxy-cli: %v", err)
		return ""
	}
	return filepath.Join(dir, "cli")
}
