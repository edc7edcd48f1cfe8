package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
)

func TestStateDirThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := t.TempDir()
	if err := os.Mkdir(filepath.Join(open, "wslab"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(open, "wslab"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, base, problem, remedy string }{
		{"a file", file, "no directory for the lab's state: ", "set XDG_RUNTIME_DIR to a directory that you can write to"},
		{"not to be made", "/proc/nowhere", "no directory for the lab's state: ", "set XDG_RUNTIME_DIR"},
		{"open to others", open, "/wslab belongs to somebody else or is open to others", "remove it, or set XDG_RUNTIME_DIR"},
		{"too long", "/" + strings.Repeat("d", 80), "the path of the labs' sockets is too long: /ddd", "set XDG_RUNTIME_DIR to a shorter one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", tt.base)
			_, err := New(Options{Binary: "wslab"})
			var unfit *engine.UnfitError
			if !errors.As(err, &unfit) || !strings.Contains(unfit.Problem, tt.problem) || !strings.Contains(unfit.Remedy, tt.remedy) {
				t.Errorf("%T %v", err, err)
			}
		})
	}
	t.Run("just not too long", func(t *testing.T) {
		socket := labFiles{"", strings.Repeat("n", longestName)}.socket()
		l, err := net.Listen("unix", "@"+strings.Repeat("d", longestSocket-1))
		if err != nil {
			t.Fatalf("the kernel takes less: %v", err)
		}
		_ = l.Close()
		if len(socket) != longestName+len(socketSuffix) {
			t.Errorf("%q", socket)
		}
	})
	t.Run("relative", func(t *testing.T) {
		t.Chdir(t.TempDir())
		t.Setenv("XDG_RUNTIME_DIR", "here")
		e, err := New(Options{Binary: "wslab"})
		if err != nil || !filepath.IsAbs(e.dir) {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

// TestDamagedState: what is not a lab's is told of with what to do, and does not
// keep the other labs from being seen.
func TestDamagedState(t *testing.T) {
	e := newEngine(t)
	var told []string
	e.notice = func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	sound := servers(1)
	sound.Lab = "sound"
	if _, err := e.Up(t.Context(), sound, nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Down(context.Background(), sound.Lab, nil); err != nil {
			t.Error(err)
		}
	}()
	file := func(text string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	dir := func(path string) error { return os.Mkdir(path, 0o700) }
	foreign := func(path string) error { // answers each request with a line that is none of ours
		l, err := net.Listen("unix", path)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
					_, _ = c.Write([]byte("hello\n"))
				}
				_ = c.Close()
			}
		}()
		return nil
	}
	for _, tt := range []struct {
		name   string
		suffix string
		make   func(path string) error
		// mended says that up and down simply do what they are asked to; up and down
		// else say what is wrong.
		mended bool
		seen   string // what a listing says of it
	}{
		{"file for a socket", socketSuffix, file("junk"), true, "lab bench has ended"},
		{"directory for a socket", socketSuffix, dir, true, "lab bench has ended"},
		{"somebody else's socket", socketSuffix, foreign, false, "bench.sock is damaged or not wslab's"},
		{"directory for a lock", lockSuffix, dir, false, ""},
		{"directory for a log", logSuffix, dir, true, ""},
		{"left lock", lockSuffix, file(""), true, ""},
		{"left log", logSuffix, file("something"), true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := e.files("bench")
			path := filepath.Join(e.dir, "bench"+tt.suffix)
			defer func() {
				for _, path := range []string{f.socket(), f.lock(), f.log()} {
					_ = os.RemoveAll(path)
				}
			}()
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			told = nil
			labs, err := e.Labs(t.Context())
			if err != nil || len(labs) != 1 || labs[0].Name != "sound" {
				t.Errorf("%+v, %v", labs, err)
			}
			if text := strings.Join(told, "\n"); (tt.seen == "") != (text == "") || !strings.Contains(text, tt.seen) {
				t.Errorf("told: %q", text)
			}
			_, there := os.Lstat(path)
			if !tt.mended {
				_, up := e.Up(t.Context(), servers(1), nil)
				_, open := e.Open(t.Context(), "bench")
				down := e.Down(t.Context(), "bench", nil)
				for what, err := range map[string]error{"up": up, "down": down} {
					if err == nil || !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), errForeign.Error()) {
						t.Errorf("%s: %v", what, err)
					}
				}
				var damaged *damagedError
				if !errors.As(down, &damaged) || !strings.Contains(down.Error(), "rm -r "+path) {
					t.Errorf("down: %v", down)
				}
				if open == nil || tt.suffix == socketSuffix && !errors.As(open, &damaged) {
					t.Errorf("open: %v", open)
				}
				if there != nil {
					t.Errorf("what is somebody else's was removed: %v", there)
				}
				return
			}
			if there == nil {
				t.Errorf("%s is still there", path)
			}
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Up(t.Context(), servers(1), nil); err != nil {
				t.Error(err)
			}
			if err := e.Down(t.Context(), "bench", nil); err != nil {
				t.Error(err)
			}
			if left, err := filepath.Glob(filepath.Join(f.dir, "bench.*")); err != nil || len(left) > 0 {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
	if err := os.WriteFile(filepath.Join(e.dir, "No Lab.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	told = nil
	if labs, err := e.Labs(t.Context()); err != nil || len(labs) != 1 || len(told) > 0 {
		t.Errorf("a file of another name: %+v, %v, %q", labs, err, told)
	}
}

// TestStoppedSupervisor does not hold up anybody for good, and goes with down.
func TestStoppedSupervisor(t *testing.T) {
	e := newEngine(t)
	plan := servers(2)
	if _, err := e.Up(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	l, err := e.Open(t.Context(), plan.Lab)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.(*Lab).ask(t.Context(), request{Op: opNodes})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(p.Supervisor, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	e.patience = 200 * time.Millisecond
	for err == nil { // its threads stop one after the other
		_, err = l.Nodes(t.Context())
	}
	var silent *silentError
	if !errors.As(err, &silent) || !strings.Contains(err.Error(), "wslab down bench") {
		t.Errorf("%T %v", err, err)
	}
	if labs, err := e.Labs(t.Context()); err != nil || len(labs) > 0 {
		t.Errorf("%+v, %v", labs, err)
	}
	if err := e.Down(t.Context(), plan.Lab, nil); err != nil {
		t.Error(err)
	}
	if left := left(t, e, plan.Lab); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := l.Nodes(t.Context()); !errors.Is(err, engine.ErrNoLab) || !strings.Contains(err.Error(), "lab bench is not there any more") {
		t.Errorf("%v", err)
	}
}

// TestSupervisorEndsWithItsSocket: a lab that nobody can reach any more is none.
func TestSupervisorEndsWithItsSocket(t *testing.T) {
	e := newEngine(t)
	plan := servers(2)
	if _, err := e.Up(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	l, err := e.Open(t.Context(), plan.Lab)
	if err != nil {
		t.Fatal(err)
	}
	node, err := l.Attach(t.Context(), "s0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Close() }()
	if err := os.RemoveAll(e.dir); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 4096); err == nil; { // until the supervisor ends
		_, err = node.Read(buf)
	}
	e.awaitNone(t, plan.Lab)
}

// awaitNone waits until no process of the lab is left: the kernel ends them one by one.
func (e *Engine) awaitNone(t *testing.T, lab string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(left(t, e, lab)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %q", left(t, e, lab))
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}
