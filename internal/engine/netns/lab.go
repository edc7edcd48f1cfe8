package netns

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// Lab is a running instance. It is safe for concurrent use.
type Lab struct {
	engine *Engine
	files  labFiles
	plan   *topology.Plan
	tied   bool
}

// Plan as it is running.
func (l *Lab) Plan() *topology.Plan { return l.plan }

// open connects to the supervisor, sends a request and returns the connection with its first reply.
func (l *Lab) open(ctx context.Context, r request, files ...*os.File) (*net.UnixConn, *bufio.Reader, reply, error) {
	conn, stale, err := l.files.dial()
	if err != nil {
		if stale {
			l.engine.cleanStale(l.files)
		}
		if l.plan != nil && errors.Is(err, engine.ErrNoLab) {
			err = fmt.Errorf("lab %s is not there any more: %w", l.files.name, err)
		}
		return nil, nil, reply{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	p, rest, err := l.engine.askSoon(conn, r, files...)
	if err == nil {
		return conn, rest, p, nil
	}
	_ = conn.Close()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("lab %s: %w", l.files.name, context.Cause(ctx))
	case errors.Is(err, errForeign):
		err = &damagedError{l.files.name, l.files.socket(), err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = &silentError{l.files.name, l.engine.patience, err}
	default:
		err = fmt.Errorf("lab %s: %w", l.files.name, err)
	}
	return nil, nil, p, err
}

// silentError says that a supervisor does not answer.
type silentError struct {
	lab   string
	after time.Duration
	err   error
}

// Error says what to do about it.
func (e *silentError) Error() string {
	return fmt.Sprintf("lab %s: its supervisor has not answered for %s: it is stopped, or the machine is overloaded\n  try again, or take the lab away: wslab down %s", e.lab, e.after, e.lab)
}

// Unwrap returns the cause.
func (e *silentError) Unwrap() error { return e.err }

// ask is open for requests that one reply answers.
func (l *Lab) ask(ctx context.Context, r request) (reply, error) {
	conn, _, p, err := l.open(ctx, r)
	if err != nil {
		return p, err
	}
	return p, conn.Close()
}

// Nodes says how each node is, in the order of the plan.
func (l *Lab) Nodes(ctx context.Context) ([]engine.NodeStatus, error) {
	p, err := l.ask(ctx, request{Op: opNodes})
	if err != nil {
		return nil, err
	}
	outside := hostPIDs(p.Supervisor)
	for i := range p.Nodes {
		p.Nodes[i].PID = outside[p.Nodes[i].PID]
	}
	return p.Nodes, nil
}

// hostPIDs numbers the children of the supervisor as the host does, by their
// numbers in the lab's PID namespace.
func hostPIDs(supervisor int) map[int]int {
	outside := make(map[int]int)
	depth := len(pidNumbers(fmt.Sprintf("/proc/%d/status", supervisor))) - 1
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", supervisor))
	if err != nil {
		return outside
	}
	for _, t := range tasks {
		children, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		for _, child := range fieldsInt(string(children)) {
			// A node may be in a PID namespace further inside.
			if numbers := pidNumbers(fmt.Sprintf("/proc/%d/status", child)); depth >= 0 && depth < len(numbers) {
				outside[numbers[depth]] = child
			}
		}
	}
	return outside
}

// pidNumbers returns a process's numbers, from the PID namespace of that /proc inwards.
func pidNumbers(statusFile string) []int {
	status, err := os.ReadFile(statusFile)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return fieldsInt(numbers)
		}
	}
	return nil
}

func fieldsInt(s string) []int {
	var all []int
	for _, f := range strings.Fields(s) {
		if n, err := strconv.Atoi(f); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// stream is a connection whose first bytes were read already.
type stream struct {
	*net.UnixConn
	rest *bufio.Reader
}

func (s stream) Read(p []byte) (int, error) { return s.rest.Read(p) }

// Attach opens the node's control stream.
func (l *Lab) Attach(ctx context.Context, node string) (io.ReadWriteCloser, error) {
	conn, rest, _, err := l.open(ctx, request{Op: opAttach, Node: node})
	if err != nil {
		return nil, err
	}
	return stream{conn, rest}, nil
}

// Logs returns what the node has written. With follow it goes on until ctx ends.
func (l *Lab) Logs(ctx context.Context, node string, follow bool) (io.ReadCloser, error) {
	conn, rest, _, err := l.open(ctx, request{Op: opLogs, Node: node, Follow: follow})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return stream{conn, rest}, nil
}

// Pause stops every process of the node, Resume continues them.
func (l *Lab) Pause(ctx context.Context, node string) error {
	_, err := l.ask(ctx, request{Op: opPause, Node: node})
	return err
}

// Resume continues what Pause has stopped.
func (l *Lab) Resume(ctx context.Context, node string) error {
	_, err := l.ask(ctx, request{Op: opResume, Node: node})
	return err
}

// Exec runs a program of the host in the node's namespaces. Interrupts are passed on to it.
func (l *Lab) Exec(ctx context.Context, node string, c engine.Command) (int, error) {
	files, finish, err := standardFiles(c)
	if err != nil {
		return 0, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	conn, _, err := l.files.dial()
	if err != nil {
		return 0, errors.Join(err, finish())
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseWrite() }) // the supervisor kills the program
	defer stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				_, _ = fmt.Fprintf(conn, "{\"signal\":%d}\n", s.(syscall.Signal))
			case <-done:
				return
			}
		}
	}()
	p, _, err := ask(conn, request{Op: opExec, Node: node, Args: c.Args, Env: append(os.Environ(), c.Env...), Dir: dir}, nil, files...)
	signal.Stop(signals)
	close(done)
	err = errors.Join(err, finish())
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return p.Exit, err
}

// standardFiles returns the files that a program's standard input, output and
// error are. What is not a file is piped; finish waits until the pipes are empty.
func standardFiles(c engine.Command) (files []*os.File, finish func() error, err error) {
	var after []func() error
	var ours []*os.File
	fail := func(err error) ([]*os.File, func() error, error) {
		closeAll(ours)
		return nil, nil, err
	}
	in, ok := c.Stdin.(*os.File)
	if !ok {
		r, w, err := os.Pipe()
		if err != nil {
			return fail(err)
		}
		ours = append(ours, r)
		if c.Stdin == nil {
			c.Stdin = bytes.NewReader(nil)
		}
		go func() {
			_, _ = io.Copy(w, c.Stdin) // the program may end without reading it all
			_ = w.Close()
		}()
		in = r
	}
	files = append(files, in)
	for _, to := range []io.Writer{c.Stdout, c.Stderr} {
		out, ok := to.(*os.File)
		if !ok {
			r, w, err := os.Pipe()
			if err != nil {
				return fail(err)
			}
			ours = append(ours, w)
			if to == nil {
				to = io.Discard
			}
			copied := make(chan error, 1)
			go func() {
				_, err := io.Copy(to, r)
				copied <- errors.Join(err, r.Close())
			}()
			after = append(after, func() error { return <-copied })
			out = w
		}
		files = append(files, out)
	}
	return files, func() error {
		closeAll(ours)
		var errs []error
		for _, f := range after {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}, nil
}
