package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// The files of a lab in the state directory. Nothing else is kept on disk.
const (
	socketSuffix = ".sock"
	lockSuffix   = ".lock"
	logSuffix    = ".log" // what the supervisor prints, for a failed start
)

// longestName is how long a name is that [topology.ValidName] takes; longestSocket
// is what the kernel takes as the path of a socket, see unix(7).
const (
	longestName   = 30
	longestSocket = 107
)

// stateDir returns the directory of this user's sockets and makes it, readable by nobody else.
func stateDir() (string, error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	dir := filepath.Join(base, "wslab")
	if base == "" {
		dir = filepath.Join(os.TempDir(), "wslab-"+strconv.Itoa(os.Getuid()))
	}
	// The supervisors look at it, too, and from elsewhere.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if longest := len(filepath.Join(dir, strings.Repeat("x", longestName)+socketSuffix)); longest > longestSocket {
		return "", &engine.UnfitError{
			Problem: fmt.Sprintf("the path of the labs' sockets is too long: %s (%d bytes with the longest name of a lab, the kernel takes %d)", dir, longest, longestSocket),
			Remedy:  "set XDG_RUNTIME_DIR to a shorter one, such as /run/user/" + strconv.Itoa(os.Getuid()),
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", &engine.UnfitError{
			Problem: "no directory for the lab's state: " + err.Error(),
			Remedy:  "set XDG_RUNTIME_DIR to a directory that you can write to",
			Err:     err,
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return "", &engine.UnfitError{
			Problem: fmt.Sprintf("%s belongs to somebody else or is open to others", dir),
			Remedy:  "remove it, or set XDG_RUNTIME_DIR to a directory of your own",
		}
	}
	return dir, nil
}

// labFiles are the paths of one lab.
type labFiles struct{ dir, name string }

func (f labFiles) socket() string { return filepath.Join(f.dir, f.name+socketSuffix) }
func (f labFiles) lock() string   { return filepath.Join(f.dir, f.name+lockSuffix) }
func (f labFiles) log() string    { return filepath.Join(f.dir, f.name+logSuffix) }

// remove takes the files of a lab away that has no supervisor any more.
func (f labFiles) remove() error {
	return errors.Join(removeFile(f.socket()), removeFile(f.log()), removeFile(f.lock()))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// dial connects to a lab's supervisor. A socket that nobody listens on is stale:
// ErrNoLab, and stale is true.
func (f labFiles) dial() (conn *net.UnixConn, stale bool, err error) {
	conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: f.socket(), Net: "unix"})
	switch {
	case err == nil:
		return conn, false, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, engine.ErrNoLab
	case errors.Is(err, unix.ECONNREFUSED):
		return nil, true, engine.ErrNoLab
	}
	return nil, false, &damagedError{f.name, f.socket(), err}
}

// damagedError says that a file of a lab is not what it should be.
type damagedError struct {
	lab, path string
	err       error
}

// Error says what to do about it.
func (e *damagedError) Error() string {
	return fmt.Sprintf("lab %s: %s is damaged or not wslab's (%v)\n  end whatever uses it, remove it with: rm -r %s", e.lab, e.path, e.err, e.path)
}

// Unwrap returns the cause.
func (e *damagedError) Unwrap() error { return e.err }

// take locks the lab against other commands that start or stop it. The lock
// goes with the process, however it ends.
func (f labFiles) take() (release func(), err error) {
	file, err := os.OpenFile(f.lock(), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &damagedError{f.name, f.lock(), err}
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && !stillThere(file) {
		err = unix.EWOULDBLOCK // a down has just removed it
	}
	if err != nil {
		_ = file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &engine.BusyError{Lab: f.name}
		}
		return nil, fmt.Errorf("lock of lab %s: %w", f.name, err)
	}
	return func() { _ = file.Close() }, nil
}

// lockPoll is how often a lock that another process has is tried again.
const lockPoll = 50 * time.Millisecond

// await takes the lock when whoever has it is done.
func (f labFiles) await(ctx context.Context, progress engine.Progress) (release func(), err error) {
	for said := false; ; said = true {
		release, err = f.take()
		var busy *engine.BusyError
		if !errors.As(err, &busy) {
			return release, err
		}
		if !said {
			progress.Say("waiting for another wslab that is changing lab %s", f.name)
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// isThere says whether the lab's socket is still the one that info tells of.
func isThere(socket string, info os.FileInfo) bool {
	now, err := os.Lstat(socket)
	return err == nil && os.SameFile(now, info)
}

// stillThere says whether the path of an open file is still that file.
func stillThere(file *os.File) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(file.Name())
	return err == nil && os.SameFile(held, there)
}

// known lists the names of labs that have files, without those that are none of ours.
func known(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
		switch filepath.Ext(e.Name()) {
		case socketSuffix, lockSuffix, logSuffix:
			if topology.ValidName(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
