package docker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"golang.org/x/sync/errgroup"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

const (
	// atOnce bounds how many containers and networks the engine is asked to work
	// on at a time. An engine is bound by its processors: more does not make it
	// faster, bends the timing of what plays meanwhile, and with a hundred nodes at a
	// time it would miss its own deadlines.
	atOnce = 4
	// undoTimeout bounds the removal of what a failed Up has made.
	undoTimeout = time.Minute
)

// up is one call of Up.
type up struct {
	*Engine
	plan     *topology.Plan
	progress engine.Progress
	image    *nodeImage
	cgroup   string // that the nodes' own are made in, "" for the engine's choice
	theirs   *userImages
	// unused ends our claim to the image.
	unused func()

	// slots are taken by requests that keep the engine busy.
	slots chan struct{}
	// networks by name in the plan, and the image: nodes wait for what they need.
	networks map[string]*promise
	imported *promise

	mu sync.Mutex
	// madeNetworks and madeNodes are the IDs of what this call has made.
	madeNetworks, madeNodes []string
}

// Up makes the lab equal to the plan; see [engine.Engine]. What is the same stays
// untouched, paused nodes are continued. A node is replaced when its spec, one
// of its networks or the wslab binary differs, or when it does not run.
//
// Errors: an error that names the node and holds the last lines of its standard
// error; [*engine.RangeTakenError]; an [*engine.UnfitError] when the binary
// cannot be a node. Another wslab that changes the same lab is an error.
func (e *Engine) Up(ctx context.Context, p *topology.Plan, progress engine.Progress) (engine.Changes, error) {
	release, err := e.tryLock(p.Lab)
	if err != nil {
		return engine.Changes{}, err
	}
	defer release()
	u := &up{
		Engine:   e,
		theirs:   newUserImages(e, progress),
		plan:     p,
		progress: progress,
		slots:    make(chan struct{}, atOnce),
		networks: make(map[string]*promise),
		imported: newPromise(),
		unused:   func() {},
	}
	defer func() { u.unused() }()
	changes, err := u.run(ctx)
	if err == nil {
		return changes, nil
	}
	if undone := u.undo(ctx); undone != nil {
		err = errors.Join(err, &engine.LeftBehindError{Lab: p.Lab, Err: undone})
	}
	return engine.Changes{}, err
}

func (u *up) run(ctx context.Context) (engine.Changes, error) {
	u.negotiate(ctx)
	var there *inventory
	var taken []topology.PlannedNetwork
	group, lookCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		there, err = u.inventory(lookCtx, u.plan.Lab)
		return err
	})
	group.Go(func() (err error) {
		taken, err = u.taken(lookCtx, u.plan.Lab)
		return err
	})
	group.Go(func() (err error) {
		u.image, err = u.newNodeImage(lookCtx)
		return err
	})
	group.Go(func() (err error) {
		u.cgroup, err = u.findCgroup(lookCtx)
		return err
	})
	if err := group.Wait(); err != nil {
		return engine.Changes{}, err
	}
	unused, err := u.useImage(u.image.ref, u.plan.Lab)
	if err != nil {
		return engine.Changes{}, err
	}
	u.unused = unused
	d := there.difference(u.plan, u.image.ref)
	if err := free(u.plan, d, taken); err != nil {
		return engine.Changes{}, err
	}
	// A pull takes long and may fail: nothing is changed before it.
	for _, n := range u.plan.Nodes {
		if _, kept := d.KeptNodes[n.Name]; kept || n.Needs.Image == "" {
			continue
		}
		if _, err := u.theirs.get(ctx, n.Needs.Image); err != nil {
			return engine.Changes{}, fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	d.Changes.Say(u.plan.Lab, u.progress)
	if err := u.removeStale(ctx, there, d); err != nil {
		return engine.Changes{}, err
	}
	return d.Changes, u.make(ctx, there, d)
}

// removeStale removes nodes and then networks that differ or are not in the plan.
func (u *up) removeStale(ctx context.Context, there *inventory, d *engine.Difference) error {
	var nodes, networks []string
	for _, i := range d.StaleNodes {
		nodes = append(nodes, there.containers[i].ID)
	}
	for _, i := range d.StaleNetworks {
		networks = append(networks, there.networks[i].ID)
	}
	return u.removeParts(ctx, nodes, networks)
}

// make makes what is missing, each part as soon as those it needs are there, and
// returns when every node of the plan has said that it is ready.
func (u *up) make(ctx context.Context, there *inventory, d *engine.Difference) error {
	for _, n := range u.plan.Networks {
		u.networks[n.Name] = newPromise()
	}
	group, ctx := errgroup.WithContext(ctx)
	for k, n := range u.plan.Networks {
		if i, kept := d.KeptNetworks[n.Name]; kept {
			u.networks[n.Name].keep(there.networks[i].ID)
			continue
		}
		group.Go(func() error { return u.makeNetwork(ctx, k) })
	}
	if len(d.KeptNodes) < len(u.plan.Nodes) {
		group.Go(func() error {
			if err := u.ensureImage(ctx, u.image); err != nil {
				return err
			}
			u.imported.keep(u.image.ref)
			return nil
		})
	}
	for k := range u.plan.Nodes {
		group.Go(func() error {
			name := u.plan.Nodes[k].Name
			var err error
			if i, kept := d.KeptNodes[name]; kept {
				err = u.keepNode(ctx, name, there.containers[i])
			} else {
				err = u.startNode(ctx, k)
			}
			if err != nil && ctx.Err() == nil {
				err = fmt.Errorf("node %s: %w", name, err)
			}
			return err
		})
	}
	return group.Wait()
}

func (u *up) makeNetwork(ctx context.Context, index int) error {
	release, err := u.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	return whole(ctx, func(ctx context.Context) error {
		id, err := u.createNetwork(ctx, u.plan, index)
		if err != nil {
			return u.ownOrTaken(ctx, u.plan.Networks[index], err)
		}
		u.mu.Lock()
		u.madeNetworks = append(u.madeNetworks, id)
		u.mu.Unlock()
		u.networks[u.plan.Networks[index].Name].keep(id)
		return nil
	})
}

// slot waits for a turn with the engine; release gives it back.
func (u *up) slot(ctx context.Context) (release func(), err error) {
	select {
	case u.slots <- struct{}{}:
		return func() { <-u.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ownOrTaken tells a range taken by another lab from one taken by another wslab
// that is bringing the same lab up: planning anew would not help there.
func (u *up) ownOrTaken(ctx context.Context, planned topology.PlannedNetwork, err error) error {
	var overlap *engine.RangeTakenError
	if !errors.As(err, &overlap) {
		return err
	}
	// An engine reserves the range of a network before it lists the network.
	for try := 0; try < 3; try++ {
		all, errList := u.client.NetworkList(ctx, network.ListOptions{})
		if errList != nil {
			return err
		}
		for _, n := range all {
			if !overlaps(n, planned.Prefix) {
				continue
			}
			if n.Labels[labelLab] == u.plan.Lab {
				return &engine.BusyError{Lab: u.plan.Lab, Err: fmt.Errorf("network %s is there already", n.Name)}
			}
			overlap.Taken = takenBy(all, u.plan.Lab)
			return err
		}
		time.Sleep(settleTime)
	}
	return err
}

// keepNode makes sure that a node which was there works.
func (u *up) keepNode(ctx context.Context, name string, c container.Summary) error {
	if c.State == container.StatePaused {
		u.progress.Say("node %s was paused: it goes on", name)
		if err := u.client.ContainerUnpause(ctx, c.ID); err != nil {
			return fmt.Errorf("resume: %w", err)
		}
	}
	w, err := u.watch(ctx, name, c.ID)
	if err != nil {
		return err
	}
	defer w.close()
	return w.await(ctx)
}

// startNode makes a node and waits until it is ready. It listens before the
// node starts, so that nothing the node says is missed.
func (u *up) startNode(ctx context.Context, index int) error {
	w, err := u.launch(ctx, index)
	if err != nil {
		return err
	}
	defer w.close()
	return w.await(ctx)
}

// launch creates and starts a container when what it needs is there.
func (u *up) launch(ctx context.Context, index int) (*watch, error) {
	spec := &u.plan.Nodes[index]
	networks := make(map[string]string)
	for _, i := range spec.Interfaces {
		id, err := u.networks[i.Network].wait(ctx)
		if err != nil {
			return nil, err
		}
		networks[i.Network] = id
	}
	if _, err := u.imported.wait(ctx); err != nil {
		return nil, err
	}
	var theirs *image.InspectResponse
	if spec.Needs.Image != "" {
		var err error
		if theirs, err = u.theirs.get(ctx, spec.Needs.Image); err != nil {
			return nil, err
		}
	}
	release, err := u.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	id, err := u.makeNode(ctx, index, theirs, networks)
	if err != nil {
		return nil, err
	}
	w, err := u.watch(ctx, spec.Name, id)
	if err != nil {
		return nil, err
	}
	err = whole(ctx, func(ctx context.Context) error {
		return u.client.ContainerStart(ctx, id, container.StartOptions{})
	})
	if err != nil {
		w.close()
		return nil, fmt.Errorf("start the container: %w", err)
	}
	return w, nil
}

// makeNode creates a container. Should another lab's down have taken the image
// away at this moment, it is imported again.
func (u *up) makeNode(ctx context.Context, index int, theirs *image.InspectResponse, networks map[string]string) (id string, err error) {
	const tries = 3
	for try := 1; ; try++ {
		err = whole(ctx, func(ctx context.Context) error {
			id, err = u.createContainer(ctx, index, theirs, networks)
			if id != "" {
				u.mu.Lock()
				u.madeNodes = append(u.madeNodes, id)
				u.mu.Unlock()
			}
			return err
		})
		if err == nil || id != "" || try == tries || ctx.Err() != nil || !u.imageGone(ctx, u.image.ref) {
			return id, err
		}
		if err := u.ensureImage(ctx, u.image); err != nil {
			return "", err
		}
	}
}

// undo removes what this call has made, although ctx may have ended.
func (u *up) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if len(u.madeNodes)+len(u.madeNetworks) > 0 {
		u.progress.Say("lab %s: removing what was made", u.plan.Lab)
	}
	err := u.removeParts(ctx, u.madeNodes, u.madeNetworks)
	u.unused()
	if u.image != nil {
		err = errors.Join(err, u.removeImages(ctx)) // another lab's down may have left it to us
	}
	return err
}
