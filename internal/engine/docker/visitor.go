package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/wslab/wslab/internal/contain"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/nsexec"
)

var _ engine.ImageRunner = (*lab)(nil)

// visitorCA is where a visitor finds the lab's certificate authority.
const visitorCA = node.ImageDir + "/ca.pem"

// RunImage runs a container beside a node, a visitor: it has the node's network, its names and its
// certificate authority, and ends with this process; see [engine.ImageRunner].
func (l *lab) RunImage(ctx context.Context, at, image string, cmd engine.Command) (int, error) {
	there, err := l.running(ctx, at)
	if err != nil {
		return 0, l.of(at, err)
	}
	id, err := l.createVisitor(ctx, there.ID, at, image, cmd)
	if err == nil {
		var code int
		if code, err = l.runVisitor(ctx, id, cmd); err == nil {
			return code, nil
		}
	}
	if id != "" {
		err = errors.Join(err, l.engine.removeContainer(context.WithoutCancel(ctx), id))
	}
	return 0, fmt.Errorf("image %s: %w", image, err)
}

// createVisitor makes the container. The ID may be there beside an error.
func (l *lab) createVisitor(ctx context.Context, target, at, name string, cmd engine.Command) (string, error) {
	e := l.engine
	found, err := newUserImages(e, nil).get(ctx, name)
	if err != nil {
		return "", err
	}
	says := said(found)
	program := slices.Concat(says.Entrypoint, says.Cmd)
	if len(cmd.Args) > 0 {
		program = slices.Concat(says.Entrypoint, cmd.Args)
	}
	if len(program) == 0 {
		return "", errors.New("it names no program to run: say which after its name")
	}
	own, err := e.newNodeImage(ctx)
	if err != nil {
		return "", err
	}
	spec, ok := l.plan.Node(at)
	if !ok {
		return "", engine.NoNode(l.plan.Lab)
	}
	env := append([]string{"WSLAB_LAB=" + l.plan.Lab, "WSLAB_NODE=" + at}, cmd.Env...)
	if spec.CA != nil {
		for _, variable := range nsexec.TrustVariables() {
			env = append(env, variable+"="+visitorCA)
		}
	}
	labels := planLabels(l.plan, e.version)
	labels[labelVisitor] = at
	made, err := e.client.ContainerCreate(ctx, &container.Config{
		Image:      name,
		Entrypoint: []string{nodeBinary, contain.InitVerb, "--"},
		Cmd:        program,
		Env:        env,
		// The end of this process is the end of standard input, and of the container.
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Labels:      labels,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}, &container.HostConfig{
		NetworkMode: container.NetworkMode("container:" + target),
		AutoRemove:  true,
	}, nil, nil, "")
	if err != nil {
		return "", fmt.Errorf("create the container: %w", err)
	}
	if err := e.putBinary(ctx, made.ID, own.root); err != nil {
		return made.ID, err
	}
	if spec.CA == nil {
		return made.ID, nil
	}
	return made.ID, e.putFile(ctx, made.ID, visitorCA, []byte(spec.CA.CertPEM))
}

// putFile copies a small file into a container that is not started yet.
func (e *Engine) putFile(ctx context.Context, id, name string, content []byte) error {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name[1:], Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = out.Write(content)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := e.client.CopyToContainer(ctx, id, "/", &b, container.CopyToContainerOptions{}); err != nil {
		return fmt.Errorf("copy %s into the container: %w", name, err)
	}
	return nil
}

// runVisitor starts the container and returns its exit code. Docker removes it then.
func (l *lab) runVisitor(ctx context.Context, id string, cmd engine.Command) (int, error) {
	client := l.engine.client
	conn, err := client.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return 0, fmt.Errorf("attach to the container: %w", err)
	}
	defer conn.Close()
	exited, failed := client.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := client.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return 0, fmt.Errorf("start the container: %w", err)
	}
	go func() {
		_, _ = io.Copy(conn.Conn, cmd.Stdin) // its end is what counts
		_ = conn.CloseWrite()
	}()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = stdcopy.StdCopy(cmd.Stdout, cmd.Stderr, conn.Reader) // it ends with the container
	}()
	select {
	case end := <-exited:
		<-written
		if end.Error != nil {
			return 0, errors.New(end.Error.Message)
		}
		return int(end.StatusCode), nil
	case err := <-failed:
		if cerrdefs.IsNotFound(err) {
			err = errors.New("somebody has removed the container")
		}
		return 0, err
	}
}
