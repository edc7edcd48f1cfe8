package contain

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/wslab/wslab/internal/nsexec"
)

// TestMain lets the test binary be both halves.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && (os.Args[1] == Verb || os.Args[1] == InitVerb) {
		half := Main
		if os.Args[1] == InitVerb {
			half = Init
		}
		code, err := half(os.Args[2:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// contained is a program under this package, with what it has written so far.
type contained struct {
	*exec.Cmd
	orders io.WriteCloser
	lines  *bufio.Scanner
}

// run starts a script in a PID namespace.
func run(t *testing.T, script string) *contained {
	t.Helper()
	if err := nsexec.Permitted(); err != nil {
		if os.Getenv("WSLAB_REQUIRE_ROOT") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], Verb, "--", "sh", "-c", script)
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = orders.Close(); _ = cmd.Wait() })
	return &contained{cmd, orders, bufio.NewScanner(out)}
}

func (c *contained) order(t *testing.T, o Order) {
	t.Helper()
	if _, err := io.WriteString(c.orders, string(o)+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (c *contained) await(t *testing.T, line string) {
	t.Helper()
	for c.lines.Scan() {
		if c.lines.Text() == line {
			return
		}
	}
	t.Fatalf("it has ended without %q", line)
}

// awaitEnd reads to the end, which comes when everybody who could write is gone, and returns the exit code.
func (c *contained) awaitEnd(t *testing.T) int {
	t.Helper()
	for c.lines.Scan() {
	}
	code, err := nsexec.ExitCode(c.Wait())
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestExitCodes(t *testing.T) {
	for script, want := range map[string]int{"exit 7": 7, "kill -9 $$": 137, "exec no-such-program": 127, "": 0} {
		if got := run(t, script).awaitEnd(t); got != want {
			t.Errorf("%q: %d, want %d", script, got, want)
		}
	}
}

// TestNothingIsLeft: what a program has started ends with it, also what has left its session, ignores
// signals, or was orphaned.
func TestNothingIsLeft(t *testing.T) {
	c := run(t, "setsid sh -c 'trap \"\" TERM; echo there; sleep 1000' & (sleep 1000 &) ; read nothing; sleep 1000")
	c.await(t, "there")
	c.order(t, Terminate)
	if code := c.awaitEnd(t); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", code)
	}
}

// TestEndOfOrders: nobody can give orders any more, because whoever did was killed.
func TestEndOfOrders(t *testing.T) {
	c := run(t, "trap '' TERM INT; echo there; sleep 1000 & sleep 1000; sleep 1000")
	c.await(t, "there")
	if err := c.orders.Close(); err != nil {
		t.Fatal(err)
	}
	if code := c.awaitEnd(t); code != 137 {
		t.Errorf("exit code %d", code)
	}
}

// TestKilled kills the outer half: the kernel ends all the rest.
func TestKilled(t *testing.T) {
	c := run(t, "echo there; sleep 1000")
	c.await(t, "there")
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.awaitEnd(t)
}

// TestStandsStill: nothing is heard of a program that was stopped before it goes on.
func TestStandsStill(t *testing.T) {
	c := run(t, "trap 'echo told; exit 0' TERM; echo there; while true; do sleep 0.01; done")
	c.await(t, "there")
	c.order(t, Stop)
	c.order(t, Continue)
	c.order(t, Stop)
	c.order(t, Terminate) // one that stands still could not hear it
	c.await(t, "told")
	if code := c.awaitEnd(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestForPeople(t *testing.T) {
	for _, half := range []func([]string) (int, error){Main, Init} {
		if _, err := half(nil); err == nil || !strings.Contains(err.Error(), "not for people") {
			t.Error(err)
		}
	}
	if _, err := Init([]string{"--", "true"}); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
