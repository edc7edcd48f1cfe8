package docker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/trace"
)

// waitFor reads lines until one holds want.
func waitFor(t *testing.T, r io.Reader, want string) {
	t.Helper()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if strings.Contains(lines.Text(), want) {
			return
		}
	}
	t.Fatalf("the stream ended without %q", want)
}

func TestStreams(t *testing.T) {
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	l := mustOpen(t, e, p.Lab)

	t.Run("several attachments", func(t *testing.T) {
		for range 3 {
			stream, err := l.Attach(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			conn := control.NewConn("alice", stream, nil)
			defer func() { _ = conn.Close() }()
			var got string
			if err := conn.Call(t.Context(), "echo", "hello", &got); err != nil || got != "hello" {
				t.Errorf("echo: %q, %v", got, err)
			}
		}
	})
	t.Run("standard output only", func(t *testing.T) {
		stream, err := l.Attach(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		mustAsk[any](t, l, "alice", "warn", "careful")
		mustAsk[string](t, l, "alice", "echo", "after")
		lines := bufio.NewReader(stream)
		for {
			line, err := lines.ReadString('\n')
			if err != nil || strings.Contains(line, "careful") {
				t.Fatalf("%q, %v", line, err)
			}
			if strings.Contains(line, "after") {
				return
			}
		}
	})
	t.Run("logs", func(t *testing.T) {
		logs, err := l.Logs(t.Context(), "alice", false)
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(logs)
		if err != nil {
			t.Fatal(err)
		}
		if err := logs.Close(); err != nil {
			t.Error(err)
		}
		for _, want := range []string{string(trace.Ready), "\ncareful\n"} {
			if !strings.Contains(string(all), want) {
				t.Errorf("no %q in\n%s", want, all)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		follow, err := l.Logs(ctx, "alice", true)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = follow.Close() }()
		mustAsk[any](t, l, "alice", "warn", "followed")
		waitFor(t, follow, "followed")
		cancel()
		if _, err := io.Copy(io.Discard, follow); err != nil {
			t.Errorf("after its context has ended: %v", err)
		}
	})
	t.Run("pause", func(t *testing.T) {
		stream, err := l.Attach(t.Context(), "server")
		if err != nil {
			t.Fatal(err)
		}
		conn := control.NewConn("server", stream, nil)
		defer func() { _ = conn.Close() }()
		for range 2 {
			if err := l.Pause(t.Context(), "server"); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := conn.Call(ctx, "echo", "x", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a paused node says %v", err)
		}
		nodes, err := l.Nodes(t.Context())
		if err != nil || nodes[2].State != engine.Paused {
			t.Errorf("%+v, %v", nodes, err)
		}
		if _, err := l.Attach(t.Context(), "server"); err == nil || err.Error() != "node server: it is paused" {
			t.Errorf("attach to a paused node: %v", err)
		}
		for range 2 {
			if err := l.Resume(t.Context(), "server"); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.Call(t.Context(), "echo", "x", nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("exit", func(t *testing.T) {
		stream, err := l.Attach(t.Context(), "server")
		if err != nil {
			t.Fatal(err)
		}
		conn := control.NewConn("server", stream, nil)
		if err := conn.Call(t.Context(), "exit", "enough", nil); !errors.Is(err, control.ErrClosed) {
			t.Errorf("exit: %v", err)
		}
		_ = conn.Close()
		_, err = l.Attach(t.Context(), "server")
		if want := "node server: it does not run (exit code 3: enough); wslab up starts it again"; err == nil || err.Error() != want {
			t.Errorf("attach: %v, want %s", err, want)
		}
		if _, err := l.Attach(t.Context(), "nobody"); err == nil || !strings.Contains(err.Error(), "node nobody: lab "+p.Lab+" has no such node") {
			t.Errorf("attach: %v", err)
		}
	})
}

func TestExec(t *testing.T) {
	requireRoot(t)
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	l := mustOpen(t, e, p.Lab)
	sh := func(script string, in io.Reader) (int, string, error) {
		t.Helper()
		var out bytes.Buffer
		code, err := l.Exec(t.Context(), "alice", engine.Command{
			Args: []string{"sh", "-c", script}, Stdin: in, Stdout: &out, Stderr: &out, Env: []string{"EXTRA=more"},
		})
		return code, out.String(), err
	}
	alice := p.Nodes[0].Interfaces[0].Addr.Addr().String()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OUTER", "outer")
	for _, tt := range []struct{ name, script, want string }{
		{"address", "cat /proc/net/fib_trie", alice},
		{"sysfs", "ls /sys/class/net", "eth0\nlo"},
		{"hosts", "cat /etc/hosts", serverAddress(p)[:len(serverAddress(p))-3] + "\tserver\n"},
		{"resolver", "cat /etc/resolv.conf", "nameserver 127.0.0.1\n"},
		{"authority", "cat $SSL_CERT_FILE $WSLAB_CA_FILE", "certificate\ncertificate\n"},
		{"environment", "echo $WSLAB_LAB $WSLAB_NODE $EXTRA $OUTER", p.Lab + " alice more outer\n"},
		{"directory", "pwd", cwd + "\n"},
		{"standard input", "cat", "from outside"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, err := sh(tt.script, strings.NewReader("from outside"))
			if code != 0 || err != nil || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, %v, output %q, want %q in it", code, err, out, tt.want)
			}
		})
	}
	t.Run("the host's files stay as they are", func(t *testing.T) {
		hosts, err := os.ReadFile("/etc/hosts")
		if err != nil || bytes.Contains(hosts, []byte("\tserver")) {
			t.Errorf("%v\n%s", err, hosts)
		}
		if _, err := os.Stat("/sys/firmware/ca.pem"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file is left: %v", err)
		}
	})
	t.Run("exit code", func(t *testing.T) {
		if code, _, err := sh("exit 7", nil); code != 7 || err != nil {
			t.Errorf("exit code %d, %v", code, err)
		}
		if code, _, err := sh("kill -TERM $$", nil); code != 128+15 || err != nil {
			t.Errorf("exit code %d, %v", code, err)
		}
	})
	t.Run("no such program", func(t *testing.T) {
		_, err := l.Exec(t.Context(), "alice", engine.Command{Args: []string{"no-such-program"}})
		if !errors.Is(err, exec.ErrNotFound) {
			t.Error(err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out, in := io.Pipe()
		done := make(chan int, 1)
		go func() {
			code, err := l.Exec(ctx, "alice", engine.Command{
				Args: []string{"sh", "-c", `trap 'exit 9' TERM; echo begun; while :; do sleep 0.1; done`}, Stdout: in,
			})
			_ = in.CloseWithError(err)
			done <- code
		}()
		waitFor(t, out, "begun")
		cancel()
		go func() { _, _ = io.Copy(io.Discard, out) }()
		if code := <-done; code != 9 {
			t.Errorf("exit code %d, want 9 from the trap", code)
		}
	})
	t.Run("parent killed", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		parent := exec.Command(self)
		parent.Env = append(os.Environ(), execOnlyVariable+"="+p.Lab, "WSLAB_TEST_NODE="+staticNode)
		out, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		child, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = parent.Wait() // it was killed
		for start := time.Now(); alivePID(child); {
			if time.Since(start) > 10*time.Second {
				t.Fatal("the program outlives its parent")
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	t.Run("through the lab", func(t *testing.T) {
		bash, err := exec.LookPath("bash")
		if err != nil {
			t.Skip("needs bash")
		}
		var out bytes.Buffer
		code, err := l.Exec(t.Context(), "alice", engine.Command{Args: []string{bash, "-c", "cat < /dev/tcp/server/80"}, Stdout: &out, Stderr: &out})
		caller, perr := netip.ParseAddrPort(out.String())
		if code != 0 || err != nil || perr != nil || caller.Addr().String() != alice {
			t.Errorf("exit code %d, %v, the server was called by %q", code, err, out.String())
		}
	})
}

const execOnlyVariable = "WSLAB_TEST_EXEC"

// execOnly runs a program in a node, in a process of its own, to be killed.
func execOnly(lab string) int {
	e, err := New(Options{Binary: os.Getenv("WSLAB_TEST_NODE")})
	if err != nil {
		return 1
	}
	l, err := e.Open(context.Background(), lab)
	if err != nil {
		return 1
	}
	code, err := l.Exec(context.Background(), "alice", engine.Command{
		Args: []string{"sh", "-c", "echo $$; exec sleep 600"}, Stdout: os.Stdout,
	})
	if err != nil {
		return 1
	}
	return code
}

func alivePID(pid int) bool {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(raw), ") Z ")
}

// On an engine that is somewhere else, exec says that it cannot.
func TestExecElsewhere(t *testing.T) {
	requireRoot(t)
	e := newEngine(t, staticNode)
	p := newPlan(t, e)
	mustUp(t, e, p)
	full, err := e.client.ContainerInspect(t.Context(), containerName(p.Lab, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.netns(&full); err != nil {
		t.Error(err)
	}
	full.NetworkSettings.SandboxKey = "" // out of sight: the control group tells
	if _, err := e.netns(&full); err != nil {
		t.Error(err)
	}
	var unfit *engine.UnfitError
	full.State.Pid = os.Getpid() // the number means somebody else here
	if path, err := e.netns(&full); !errors.As(err, &unfit) {
		t.Errorf("%s, %v", path, err)
	}
	remote, err := New(Options{Host: "tcp://192.0.2.1:2375", Binary: staticNode})
	if err != nil {
		t.Fatal(err)
	}
	_, err = remote.netns(&full)
	if !errors.As(err, &unfit) || unfit.Problem != "exec enters the network namespace of a node, and the Docker engine at tcp://192.0.2.1:2375 is not on this machine" {
		t.Error(err)
	}
}
