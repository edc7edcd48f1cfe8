package docker

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// attachment is a node's control stream: writes reach its standard input, reads
// are its standard output. It ends when the container's process does.
type attachment struct {
	conn types.HijackedResponse
	out  *io.PipeReader
	done chan struct{}
}

// attach opens the stream of a container, started or not.
func (e *Engine) attach(ctx context.Context, id string) (*attachment, error) {
	conn, err := e.client.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err != nil {
		return nil, fmt.Errorf("attach to the container: %w", err)
	}
	out, in := io.Pipe()
	a := &attachment{conn: conn, out: out, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		_, err := stdcopy.StdCopy(in, io.Discard, conn.Reader)
		_ = in.CloseWithError(err)
	}()
	return a, nil
}

func (a *attachment) Read(p []byte) (int, error) { return a.out.Read(p) }

func (a *attachment) Write(p []byte) (int, error) { return a.conn.Conn.Write(p) }

// Close ends the attachment; the node goes on.
func (a *attachment) Close() error {
	err := a.conn.Conn.Close()
	_ = a.out.Close() // never fails
	<-a.done
	return err
}
