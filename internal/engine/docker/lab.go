package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// lab is a running instance. Containers are addressed by name, so that it goes
// on working when a node is replaced.
type lab struct {
	engine *Engine
	plan   *topology.Plan
}

// Plan as it was when the lab was opened. A node whose container is gone is not in it.
func (l *lab) Plan() *topology.Plan { return l.plan }

// roster is the plan's nodes, and those that the others know by name and that are gone.
func (l *lab) roster() []topology.NodeSpec {
	nodes := slices.Clone(l.plan.Nodes)
	known := make(map[string]topology.NodeSpec)
	for _, n := range l.plan.Nodes {
		for name, addr := range n.Hosts {
			if _, ok := l.plan.Node(name); !ok && topology.ValidName(name) { // NODE.NETWORK is no node
				known[name] = topology.NodeSpec{Name: name, Hosts: map[string]netip.Addr{name: addr}}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		nodes = append(nodes, known[name])
	}
	return nodes
}

// Nodes says how each node is now.
func (l *lab) Nodes(ctx context.Context) ([]engine.NodeStatus, error) {
	roster := l.roster()
	statuses := make([]engine.NodeStatus, len(roster))
	group, ctx := errgroup.WithContext(ctx)
	for i := range roster {
		group.Go(func() (err error) {
			statuses[i], err = l.status(ctx, &roster[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return statuses, nil
}

func (l *lab) status(ctx context.Context, spec *topology.NodeSpec) (engine.NodeStatus, error) {
	s := engine.NodeStatus{Node: spec.Name, Kind: spec.Kind, State: engine.Missing, Addrs: addrs(spec)}
	full, err := l.engine.client.ContainerInspect(ctx, l.container(spec.Name))
	switch {
	case cerrdefs.IsNotFound(err):
		s.Detail = "its container is gone"
		return s, nil
	case err != nil:
		return s, fmt.Errorf("node %s: %w", spec.Name, err)
	}
	switch {
	case full.State.Paused:
		s.State, s.PID = engine.Paused, full.State.Pid
	case full.State.Running:
		s.State, s.PID = engine.Running, full.State.Pid
	default:
		s.State, s.ExitCode = engine.Exited, full.State.ExitCode
		s.Detail = l.exitDetail(ctx, full)
	}
	return s, nil
}

// addrs of a node; of one that is gone the address that others know.
func addrs(spec *topology.NodeSpec) []string {
	all := engine.Addrs(spec)
	if addr, ok := spec.Hosts[spec.Name]; ok && len(all) == 0 {
		all = append(all, addr.String())
	}
	return all
}

// exitDetail says why a container has ended: the kernel's reason, and the node's last words.
func (l *lab) exitDetail(ctx context.Context, full container.InspectResponse) string {
	lines, err := l.engine.lastStderr(ctx, full.ID, 1)
	if err != nil {
		lines = nil // there is nothing to add, then
	}
	return engine.Detail(exitReason(full.State), lines)
}

// exitReason says why a container ended, as far as the engine knows.
func exitReason(s *container.State) string {
	switch {
	case s.OOMKilled:
		return "killed: out of memory"
	case s.Error != "":
		return s.Error
	case s.Status == container.StateCreated:
		return "never started"
	}
	return engine.ExitReason(s.ExitCode)
}

func (l *lab) container(node string) string { return containerName(l.plan.Lab, node) }

// of adds the node to an error of one of its methods.
func (l *lab) of(node string, err error) error {
	switch {
	case err == nil:
		return nil
	case cerrdefs.IsNotFound(err):
		err = engine.NoNode(l.plan.Lab)
	}
	return fmt.Errorf("node %s: %w", node, err)
}

// running returns the node's container, which has to be running.
func (l *lab) running(ctx context.Context, node string) (*container.InspectResponse, error) {
	full, err := l.engine.client.ContainerInspect(ctx, l.container(node))
	switch {
	case cerrdefs.IsNotFound(err):
		return nil, engine.NoNode(l.plan.Lab)
	case err != nil:
		return nil, err
	case full.State.Paused:
		return nil, errors.New("it is paused")
	case !full.State.Running:
		return nil, engine.NotRunning(l.exitDetail(ctx, full))
	}
	return &full, nil
}

// Attach opens the control stream of a running node. Close it; ctx bounds only
// the opening. The reader has to keep up: a node whose output nobody takes from an
// open attachment stops when the engine's buffer is full.
func (l *lab) Attach(ctx context.Context, node string) (io.ReadWriteCloser, error) {
	full, err := l.running(ctx, node)
	if err != nil {
		return nil, l.of(node, err)
	}
	a, err := l.engine.attach(ctx, full.ID)
	if err != nil {
		return nil, l.of(node, err)
	}
	return a, nil
}

// Logs returns the node's standard output and error in whole lines; see [engine.Lab]. Close it.
func (l *lab) Logs(ctx context.Context, node string, follow bool) (io.ReadCloser, error) {
	s, err := l.engine.logs(ctx, l.container(node), container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow})
	if err != nil {
		return nil, l.of(node, err)
	}
	return s, nil
}

// Pause freezes the node's processes. A paused node can be paused again.
func (l *lab) Pause(ctx context.Context, node string) error {
	return l.of(node, ignoreConflict(ctx, l, node, true, l.engine.client.ContainerPause(ctx, l.container(node))))
}

// Resume continues the node's processes. It does nothing to a running node.
func (l *lab) Resume(ctx context.Context, node string) error {
	return l.of(node, ignoreConflict(ctx, l, node, false, l.engine.client.ContainerUnpause(ctx, l.container(node))))
}

// ignoreConflict drops an error when the node is as it should be all the same.
func ignoreConflict(ctx context.Context, l *lab, node string, paused bool, err error) error {
	if err == nil {
		return nil
	}
	full, errInspect := l.engine.client.ContainerInspect(ctx, l.container(node))
	if errInspect == nil && full.State.Running && full.State.Paused == paused {
		return nil
	}
	return err
}
