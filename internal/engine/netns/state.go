package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wslab/wslab/internal/engine"
)

// The files of a lab in the state directory. Nothing else is kept on disk.
const (
	socketSuffix = ".sock"
	lockSuffix   = ".lock"
	logSuffix    = ".log" // what the supervisor prints, for a failed start
)

// stateDir returns the directory of this user's sockets and makes it, readable by nobody else.
func stateDir() (string, error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	dir := filepath.Join(base, "wslab")
	if base == "" {
		dir = filepath.Join(os.TempDir(), "wslab-"+strconv.Itoa(os.Getuid()))
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
	return nil, false, fmt.Errorf("lab %s: %w", f.name, err)
}

// take locks the lab against other commands that start or stop it. The lock
// goes with the process, however it ends.
func (f labFiles) take() (release func(), err error) {
	file, err := os.OpenFile(f.lock(), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && !stillThere(file) {
		err = unix.EWOULDBLOCK // a down has just removed it
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lab %s: another wslab is starting or stopping it: %w", f.name, err)
	}
	return func() { _ = file.Close() }, nil
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

// known lists the names of labs that have a socket.
func known(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), socketSuffix); ok {
			names = append(names, name)
		}
	}
	return names, nil
}
