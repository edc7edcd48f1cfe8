package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"golang.org/x/sync/errgroup"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/topology"
)

// inventory is what the engine holds of a lab, or of all labs, found by labels
// and in the order of the plan.
type inventory struct {
	containers []container.Summary
	networks   []network.Summary
	// visitors are containers beside nodes, which belong to no plan.
	visitors []container.Summary
}

func (i *inventory) empty() bool { return len(i.containers)+len(i.networks)+len(i.visitors) == 0 }

// whole says whether the lab looks like one that had come up: every node was made and started.
func (i *inventory) whole() bool {
	return len(i.containers) > 0 && !slices.ContainsFunc(i.containers, func(c container.Summary) bool {
		return c.State == container.StateCreated || c.Labels[labelNodes] != strconv.Itoa(len(i.containers))
	})
}

// alive says whether the container's process is there.
func alive(c container.Summary) bool {
	return c.State == container.StateRunning || c.State == container.StatePaused
}

// inventory lists the parts of the lab; of all labs when it is empty.
func (e *Engine) inventory(ctx context.Context, lab string) (*inventory, error) {
	e.negotiate(ctx)
	var i inventory
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		i.containers, err = e.client.ContainerList(ctx, container.ListOptions{All: true, Filters: withLab(lab)})
		return err
	})
	group.Go(func() (err error) {
		i.networks, err = e.client.NetworkList(ctx, network.ListOptions{Filters: withLab(lab)})
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("what the Docker engine holds: %w", err)
	}
	visits := func(c container.Summary) bool { return c.Labels[labelVisitor] != "" }
	for _, c := range i.containers {
		if visits(c) {
			i.visitors = append(i.visitors, c)
		}
	}
	i.containers = slices.DeleteFunc(i.containers, visits)
	slices.SortFunc(i.containers, func(a, b container.Summary) int { return byIndex(a.Labels, b.Labels) })
	slices.SortFunc(i.networks, func(a, b network.Summary) int { return byIndex(a.Labels, b.Labels) })
	return &i, nil
}

// runningPlan is the plan as far as the parts of a lab tell it. What is missing
// of the lab is missing in it, and Notes are not kept.
func (e *Engine) runningPlan(ctx context.Context, lab string, i *inventory) (*topology.Plan, error) {
	plan := &topology.Plan{Lab: lab, Speed: 1}
	for _, n := range i.networks {
		plan.File, plan.Speed = n.Labels[labelFile], speedOf(n.Labels)
		var planned topology.PlannedNetwork
		if err := json.Unmarshal([]byte(n.Labels[labelNetwork]), &planned); err != nil {
			return nil, fmt.Errorf("label %s of network %s: %w", labelNetwork, n.Name, err)
		}
		plan.Networks = append(plan.Networks, planned)
	}
	specs := make([]*topology.NodeSpec, len(i.containers))
	group, ctx := errgroup.WithContext(ctx)
	for k, c := range i.containers {
		group.Go(func() error {
			full, err := e.client.ContainerInspect(ctx, c.ID)
			if cerrdefs.IsNotFound(err) {
				return nil // removed since it was listed
			}
			if err != nil {
				return fmt.Errorf("node %s: %w", c.Labels[labelNode], err)
			}
			spec, err := nodespec.FromEnviron(full.Config.Env)
			if err != nil {
				return fmt.Errorf("node %s: %w", c.Labels[labelNode], err)
			}
			specs[k] = &spec
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, spec := range specs {
		if spec != nil {
			plan.File, plan.Speed = spec.File, spec.Speed
			plan.Nodes = append(plan.Nodes, *spec)
		}
	}
	return plan, nil
}

func speedOf(labels map[string]string) float64 {
	speed, err := strconv.ParseFloat(labels[labelSpeed], 64)
	if err != nil {
		return 1
	}
	return speed
}

// Open returns the lab of that name, in whatever state it is, or [engine.ErrNoLab].
func (e *Engine) Open(ctx context.Context, name string) (engine.Lab, error) {
	i, err := e.inventory(ctx, name)
	if err != nil {
		return nil, err
	}
	if name == "" || i.empty() {
		return nil, fmt.Errorf("%w: %s", engine.ErrNoLab, name)
	}
	plan, err := e.runningPlan(ctx, name, i)
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", name, err)
	}
	return &lab{engine: e, plan: plan}, nil
}

// Labs lists the labs of the engine by name. What a killed up has left is among them.
func (e *Engine) Labs(ctx context.Context) ([]engine.LabStatus, error) {
	i, err := e.inventory(ctx, "")
	if err != nil {
		return nil, err
	}
	all := i.labs()
	for n := range all {
		all[n].Tied = e.claimed(all[n].Name)
	}
	return all, nil
}
