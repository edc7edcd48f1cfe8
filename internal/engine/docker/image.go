package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// imageName is the repository of the node images; each build of wslab has a tag of its own.
const imageName = "wslab-node"

// nodeImage is the image of one build of wslab. It is safe for concurrent use.
type nodeImage struct {
	root *rootfs
	ref  string

	mu sync.Mutex // held by who imports it
}

// newNodeImage works out the image of the binary without bringing it in.
func (e *Engine) newNodeImage(ctx context.Context) (*nodeImage, error) {
	version, err := e.client.ServerVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("version of the Docker engine: %w", err)
	}
	root, err := newRootfs(e.binary, version.Arch)
	if err != nil {
		return nil, err
	}
	tag, err := root.tag()
	if err != nil {
		return nil, err
	}
	return &nodeImage{root: root, ref: imageName + ":" + tag}, nil
}

// ensureImage imports the image if the engine does not have it.
func (e *Engine) ensureImage(ctx context.Context, img *nodeImage) error {
	img.mu.Lock()
	defer img.mu.Unlock()
	_, err := e.client.ImageInspect(ctx, img.ref)
	if err == nil {
		return nil
	}
	if !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("node image: %w", err)
	}
	return whole(ctx, func(ctx context.Context) error { return e.importImage(ctx, img) })
}

func (e *Engine) importImage(ctx context.Context, img *nodeImage) error {
	content, writer := io.Pipe()
	var writing sync.WaitGroup
	defer writing.Wait()
	defer func() { _ = content.Close() }() // lets the writer end if the engine has not taken all
	writing.Go(func() { _ = writer.CloseWithError(img.root.writeTar(writer)) })
	reply, err := e.client.ImageImport(ctx, image.ImportSource{Source: content, SourceName: "-"}, img.ref, image.ImportOptions{
		Message: "wslab node image",
		Changes: []string{fmt.Sprintf("LABEL %s=%q", labelImage, e.version)},
	})
	if err != nil {
		return fmt.Errorf("import the node image: %w", err)
	}
	defer func() { _ = reply.Close() }()
	return importResult(reply)
}

// importResult reads the engine's report, which ends with an error if there was one.
func importResult(report io.Reader) error {
	for lines := json.NewDecoder(report); ; {
		var line struct {
			Error string `json:"error"`
		}
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("import the node image: %w", err)
		}
		if line.Error != "" {
			return fmt.Errorf("import the node image: %s", line.Error)
		}
	}
}

// removeImages removes the node images, of whatever build, that no container uses and no
// lab that is coming up.
func (e *Engine) removeImages(ctx context.Context) error {
	images, err := e.client.ImageList(ctx, image.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelImage))})
	if err != nil {
		return fmt.Errorf("node images: %w", err)
	}
	for _, img := range images {
		if slices.ContainsFunc(img.RepoTags, e.used) {
			continue
		}
		_, err := e.client.ImageRemove(ctx, img.ID, image.RemoveOptions{PruneChildren: true})
		// A conflict means that a container uses it: its lab will remove it. Two
		// that remove the same image at once get all sorts of errors.
		if err != nil && !cerrdefs.IsConflict(err) && !cerrdefs.IsNotFound(err) && !e.imageGone(ctx, img.ID) {
			return fmt.Errorf("remove the node image %s: %w", img.ID, err)
		}
	}
	return nil
}

// imageGone says whether the engine has no such image.
func (e *Engine) imageGone(ctx context.Context, ref string) bool {
	_, err := e.client.ImageInspect(ctx, ref)
	return cerrdefs.IsNotFound(err)
}
