package node

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// requestReader reads the host's requests and takes no more from the stream than
// the line that is asked for. A process that is replaced leaves what follows to
// its successor, so that no request gets lost between the two.
//
// It can be stopped between two lines where the stream is a file; any other
// stream is passed through.
type requestReader struct {
	stream io.Reader
	file   *os.File // nil if the stream is none

	// held from when a line is read until the next one is asked for: by then the
	// request has been taken up.
	held    sync.Mutex
	holding bool
	line    []byte // what is left of the line
}

func newRequestReader(stream io.Reader) *requestReader {
	file, _ := stream.(*os.File)
	return &requestReader{stream: stream, file: file}
}

// Read reads from the current line. It must not be called by several goroutines.
func (r *requestReader) Read(p []byte) (int, error) {
	if r.file == nil {
		return r.stream.Read(p)
	}
	if len(r.line) == 0 {
		if err := r.next(); len(r.line) == 0 {
			return 0, err
		}
	}
	n := copy(p, r.line)
	r.line = r.line[n:]
	return n, nil
}

// next waits for a line and reads it.
func (r *requestReader) next() error {
	r.release()
	for {
		ready := []unix.PollFd{{Fd: int32(r.file.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err == nil {
			break
		} else if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
	}
	r.held.Lock()
	r.holding = true
	r.line = nil
	for one := make([]byte, 1); ; {
		n, err := r.file.Read(one)
		r.line = append(r.line, one[:n]...)
		if err != nil {
			r.release()
			return err
		}
		if n > 0 && one[0] == '\n' {
			return nil
		}
	}
}

func (r *requestReader) release() {
	if r.holding {
		r.holding = false
		r.held.Unlock()
	}
}

// stop waits until the line that is being read has been taken up, and lets no other
// be read.
func (r *requestReader) stop() { r.held.Lock() }
