package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestToxicReachesOpenConnection adds a toxic to a NAT while a client that nobody
// here wrote talks through it, and takes it away again: the kernel has forwarded
// the connection up to then, and it is one connection from start to end.
func TestToxicReachesOpenConnection(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import websockets").Run(); err != nil {
		if os.Getenv("WSLAB_REQUIRE_PEERS") != "" {
			t.Fatal("python3-websockets is required here")
		}
		t.Skip("python3-websockets is not installed")
	}
	r := newNetnsRig(t)
	r.must("up", "home")
	script, err := filepath.Abs("testdata/docker/rtt.py")
	if err != nil {
		t.Fatal(err)
	}
	client := r.command("exec", "alice", "--", python, script)
	client.Stderr = os.Stderr
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = client.Process.Kill() })
	defer watchdog.Stop()
	lines := bufio.NewScanner(out)
	// until reads round trips until one is as wanted.
	until := func(what string, wanted func(ms int) bool) {
		t.Helper()
		for lines.Scan() {
			if ms, err := strconv.Atoi(lines.Text()); err == nil && wanted(ms) {
				return
			}
		}
		t.Fatalf("the client ended before %s", what)
	}
	const latency = 400
	until("it talked", func(ms int) bool { return ms < latency })
	r.must("toxic", "add", "nat", "latency", "latency=400ms")
	until("the toxic reached it", func(ms int) bool { return ms >= latency })
	r.must("toxic", "rm", "nat", "latency_downstream")
	until("the toxic was gone", func(ms int) bool { return ms < latency })
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // what is left
	}
	if err := client.Wait(); err != nil {
		t.Errorf("the client: %v", err)
	}
}
