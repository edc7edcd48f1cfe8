//go:build linux

package wslabtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wslab/wslab/wslabtest"
)

func TestMain(m *testing.M) { wslabtest.Main(m) }

// echo sends a text and reads until it comes back.
func echo(conn *websocket.Conn, text string) error {
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return err
	}
	for {
		_, got, err := conn.ReadMessage()
		if err != nil || string(got) == text {
			return err
		}
	}
}

// TestDialAndDo: a connection of the test goes through the NAT, lives on through what is added
// there, and dies of a RST.
func TestDialAndDo(t *testing.T) {
	lab := wslabtest.Up(t, "../labs/home.yaml", wslabtest.Speed(5))
	conn := lab.Dial()
	if err := echo(conn, "before"); err != nil {
		t.Fatal(err)
	}
	lab.Do("toxic: { at: nat, type: latency, latency: 100ms }")
	if err := echo(conn, "late"); err != nil {
		t.Fatal(err)
	}
	lab.Do("reset: nat")
	if err := echo(conn, "after"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, not a RST", err)
	}
	lab.Do("restart: { node: server, down: 1s }")
	if err := echo(lab.Dial(), "again"); err != nil {
		t.Error(err)
	}
	if lab.Name() == "home" {
		t.Error("the name of the instance is nobody's own")
	}
}

// TestDialErrors are those of the kernel at the client node.
func TestDialErrors(t *testing.T) {
	lab := wslabtest.Up(t, "home")
	var op *net.OpError
	if _, err := lab.DialContext(t.Context(), "tcp", "server:81"); !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) {
		t.Errorf("a port on which nobody listens: %v", err)
	}
	if _, err := lab.DialContext(t.Context(), "tcp", "nobody:80"); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a name that nobody has: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lab.DialContext(ctx, "tcp", "server:80"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	conn, err := lab.DialContext(t.Context(), "tcp", "server:80")
	if err != nil {
		t.Fatal(err)
	}
	if to := conn.RemoteAddr().String(); to != "203.0.113.3:80" {
		t.Errorf("connected to %s", to)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

// TestWays: from an office there is no way but through its proxies.
func TestWays(t *testing.T) {
	for _, way := range []string{"http-proxy", "socks-proxy", "app-proxy"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			lab := wslabtest.Up(t, "corporate", wslabtest.Speed(5), wslabtest.Via(way), wslabtest.From("alice"))
			if err := echo(lab.Dial(), way); err != nil {
				t.Error(err)
			}
		})
	}
}

// holdVariable asks TestHold to hold a lab.
const holdVariable = "WSLABTEST_HOLD"

// TestHold is what TestKilledBinaryLeavesNothing kills.
func TestHold(t *testing.T) {
	if os.Getenv(holdVariable) == "" {
		t.Skip("it is for TestKilledBinaryLeavesNothing")
	}
	wslabtest.Up(t, "home")
	fmt.Println("held")
	select {}
}

// TestKilledBinaryLeavesNothing: the lab goes with the process, however that ends.
func TestKilledBinaryLeavesNothing(t *testing.T) {
	wslabtest.Up(t, "home") // skips where there can be none
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := len(parts(t, self))
	cmd := exec.Command(self, "-test.run=^TestHold$")
	cmd.Env = append(os.Environ(), holdVariable+"=1", "XDG_RUNTIME_DIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "held" {
	}
	if held := len(parts(t, self)) - before; held != 4 {
		t.Errorf("the other process has a lab of %d processes, not of a supervisor and three nodes", held)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); len(parts(t, self)) > before; {
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %q", parts(t, self))
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// parts are the processes of labs that run this binary.
func parts(t *testing.T, binary string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range dirs {
		exe, err := os.Readlink(filepath.Join(d, "exe"))
		if err != nil || exe != binary {
			continue
		}
		args, err := os.ReadFile(filepath.Join(d, "cmdline"))
		verb, _, _ := strings.Cut(strings.TrimPrefix(string(args), binary+"\x00"), "\x00")
		if err == nil && (verb == "node" || verb == "netns-supervisor") {
			found = append(found, d+" "+verb)
		}
	}
	return found
}
