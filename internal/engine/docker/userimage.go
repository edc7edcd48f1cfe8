package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/node"
)

// userImages are the images that nodes of one Up ask for. They are the user's: brought
// in where they are missing, never removed. They are all brought in before nodes are made
// side by side; get is not safe for concurrent use before that.
type userImages struct {
	engine   *Engine
	progress engine.Progress
	here     map[string]*image.InspectResponse
}

func newUserImages(e *Engine, progress engine.Progress) *userImages {
	return &userImages{engine: e, progress: progress, here: make(map[string]*image.InspectResponse)}
}

// get returns an image of that name, and pulls it first if the engine does not have it.
func (u *userImages) get(ctx context.Context, name string) (*image.InspectResponse, error) {
	if there, ok := u.here[name]; ok {
		return there, nil
	}
	found, err := u.bring(ctx, name)
	if err == nil {
		u.here[name] = found
	}
	return found, err
}

func (u *userImages) bring(ctx context.Context, name string) (*image.InspectResponse, error) {
	found, err := u.engine.client.ImageInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		if err := u.pull(ctx, name); err != nil {
			return nil, err
		}
		found, err = u.engine.client.ImageInspect(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	return &found, nil
}

// pullNews is how often the progress of a pull is told.
const pullNews = 2 * time.Second

func (u *userImages) pull(ctx context.Context, name string) error {
	u.progress.Say("pulling image %s", name)
	failed := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &engine.UnfitError{
			Problem: fmt.Sprintf("the Docker engine does not have the image %s and cannot pull it: %v", name, err),
			Remedy:  fmt.Sprintf("correct the name, or bring the image in yourself: docker pull %s (after docker login where it is private), docker load or docker build", name),
			Err:     err,
		}
	}
	report, err := u.engine.client.ImagePull(ctx, name, image.PullOptions{})
	if err != nil {
		return failed(err)
	}
	defer func() { _ = report.Close() }()
	told := time.Now()
	layers := make(map[string]bool) // which of them are there
	for lines := json.NewDecoder(report); ; {
		var line struct {
			Status, ID, Error string
		}
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && line.Error != "" {
			err = errors.New(line.Error)
		}
		if err != nil {
			return failed(err)
		}
		switch line.Status {
		case "Pulling fs layer":
			layers[line.ID] = false
		case "Pull complete", "Already exists":
			layers[line.ID] = true
		}
		if time.Since(told) > pullNews {
			told = time.Now()
			u.progress.Say("pulling image %s: %d of %d layers", name, complete(layers), len(layers))
		}
	}
}

func complete(layers map[string]bool) int {
	n := 0
	for _, there := range layers {
		if there {
			n++
		}
	}
	return n
}

// said is what an image says about its program.
func said(i *image.InspectResponse) *node.Image {
	if i.Config == nil {
		return &node.Image{}
	}
	return &node.Image{
		Entrypoint: i.Config.Entrypoint,
		Cmd:        i.Config.Cmd,
		User:       i.Config.User,
		WorkingDir: i.Config.WorkingDir,
	}
}

// nodeBinary is where the wslab binary is in a container of somebody else's image.
const nodeBinary = node.ImageDir + "/wslab"

// putBinary copies the wslab binary into a container that is not started yet. One that
// was linked dynamically would want libraries that are not the image's.
func (e *Engine) putBinary(ctx context.Context, id string, root *rootfs) error {
	if root.dynamic {
		return &engine.UnfitError{
			Problem: fmt.Sprintf("%s was linked dynamically and cannot run in somebody else's image", e.binary),
			Remedy:  buildCommand(root.arch),
		}
	}
	content, writer := io.Pipe()
	var writing sync.WaitGroup
	defer writing.Wait()
	defer func() { _ = content.Close() }()
	writing.Go(func() {
		out := tar.NewWriter(writer)
		err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: node.ImageDir[1:] + "/", Mode: 0o755})
		if err == nil {
			err = addFile(out, path.Clean(nodeBinary), e.binary)
		}
		if err == nil {
			err = out.Close()
		}
		_ = writer.CloseWithError(err)
	})
	if err := e.client.CopyToContainer(ctx, id, "/", content, container.CopyToContainerOptions{}); err != nil {
		return fmt.Errorf("copy wslab into the container: %w", err)
	}
	return nil
}
