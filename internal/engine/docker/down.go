package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wslab/wslab/internal/engine"
)

// settleTime is how long the engine may go on with requests of a wslab that was
// killed: what they make appears after its death.
const settleTime = 300 * time.Millisecond

// Down removes the lab's containers and networks, and the node images that no
// container uses; see [engine.Engine]. It waits for another wslab that is
// changing the lab. Node images are cleared away even when there is no such lab.
func (e *Engine) Down(ctx context.Context, lab string, progress engine.Progress) error {
	if lab == "" {
		return fmt.Errorf("%w: it has no name", engine.ErrNoLab)
	}
	release, err := e.lock(ctx, lab, progress)
	if err != nil {
		return err
	}
	defer release()
	found, err := e.removeAll(ctx, lab, progress)
	if err != nil {
		return fmt.Errorf("lab %s: %w", lab, err)
	}
	if err := e.removeImages(ctx); err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: %s", engine.ErrNoLab, lab)
	}
	return nil
}

// removeAll removes what is there until nothing is.
func (e *Engine) removeAll(ctx context.Context, lab string, progress engine.Progress) (found bool, err error) {
	for first := true; ; first = false {
		there, err := e.inventory(ctx, lab)
		if err != nil {
			return found, err
		}
		if there.empty() && !first {
			return found, nil
		}
		if !there.empty() {
			found = true
			progress.Say("lab %s: removing %d nodes and %d networks", lab, len(there.containers), len(there.networks))
		}
		if err := e.removeInventory(ctx, there); err != nil {
			return found, err
		}
		if there.whole() {
			continue // it had come up: no request is under way
		}
		select {
		case <-time.After(settleTime):
		case <-ctx.Done():
			return found, context.Cause(ctx)
		}
	}
}

func (e *Engine) removeInventory(ctx context.Context, i *inventory) error {
	var nodes, networks []string
	for _, c := range slices.Concat(i.visitors, i.containers) {
		nodes = append(nodes, c.ID)
	}
	for _, n := range i.networks {
		networks = append(networks, n.ID)
	}
	return e.removeParts(ctx, nodes, networks)
}

// removeParts removes containers and then networks, each lot at the same time.
// One that cannot be removed does not keep the others.
func (e *Engine) removeParts(ctx context.Context, containers, networks []string) error {
	return errors.Join(
		each(ctx, containers, e.removeContainer),
		each(ctx, networks, e.removeNetwork),
	)
}

// each calls f for all IDs, some at a time, and joins the errors.
func each(ctx context.Context, ids []string, f func(context.Context, string) error) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	errs := make([]error, len(ids))
	for i, id := range ids {
		group.Go(func() error {
			errs[i] = f(ctx, id)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errors.Join(errs...)
}
