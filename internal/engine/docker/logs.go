package docker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/wslab/wslab/internal/engine"
)

// logStream is what a node wrote to its standard output and error, line by line.
type logStream struct {
	*io.PipeReader
	body io.Closer
	done chan struct{}
}

// logs opens the log of a container.
func (e *Engine) logs(ctx context.Context, id string, o container.LogsOptions) (*logStream, error) {
	body, err := e.client.ContainerLogs(ctx, id, o)
	if err != nil {
		return nil, fmt.Errorf("log of the container: %w", err)
	}
	out, in := io.Pipe()
	s := &logStream{PipeReader: out, body: body, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		stdout, stderr := &lineWriter{w: in}, &lineWriter{w: in}
		_, err := stdcopy.StdCopy(stdout, stderr, body)
		if ctx.Err() != nil {
			err = nil // the reader wanted it to end
		}
		if err == nil {
			err = stdout.flush()
		}
		if err == nil {
			err = stderr.flush()
		}
		_ = in.CloseWithError(err)
	}()
	return s, nil
}

// Close ends the stream.
func (s *logStream) Close() error {
	err := s.body.Close()
	_ = s.PipeReader.Close() // never fails
	<-s.done
	return err
}

// lineWriter hands on whole lines, so that the lines of two streams do not mix.
type lineWriter struct {
	w    io.Writer
	rest []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	if end := bytes.LastIndexByte(l.rest, '\n') + 1; end > 0 {
		if _, err := l.w.Write(l.rest[:end]); err != nil {
			return 0, err
		}
		l.rest = append(l.rest[:0], l.rest[end:]...)
	}
	return len(p), nil
}

// flush hands on an unfinished last line.
func (l *lineWriter) flush() error {
	if len(l.rest) == 0 {
		return nil
	}
	_, err := l.w.Write(append(l.rest, '\n'))
	return err
}

// lastStderr returns the last words of the node, see [engine.LastWords].
func (e *Engine) lastStderr(ctx context.Context, id string, n int) ([]string, error) {
	s, err := e.logs(ctx, id, container.LogsOptions{ShowStderr: true, Tail: strconv.Itoa(max(n, 500))})
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(s)
	if errClose := s.Close(); err == nil {
		err = errClose
	}
	if err != nil {
		return nil, fmt.Errorf("log of the container: %w", err)
	}
	return engine.LastWords(string(raw), n), nil
}
