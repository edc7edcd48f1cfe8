package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// networkOptions let a lab route between its networks and shut it off from the
// host. See the bridge driver's options:
// https://docs.docker.com/engine/network/drivers/bridge/#options
var networkOptions = map[string]string{
	// Since engine 28 a container's address can be reached only from its own
	// bridge, unless its network says so. Older engines ignore the option.
	"com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
	// The host gets no address on the bridge: nothing leaves the lab, and the
	// lab's ranges cannot clash with the host's.
	"com.docker.network.bridge.inhibit_ipv4": "true",
	// Addresses stay what they are.
	"com.docker.network.bridge.enable_ip_masquerade": "false",
}

// createNetwork makes a network of the plan and returns its ID.
func (e *Engine) createNetwork(ctx context.Context, p *topology.Plan, index int) (string, error) {
	n := p.Networks[index]
	raw, err := json.Marshal(n)
	if err != nil {
		return "", fmt.Errorf("network %s: %w", n.Name, err)
	}
	labels := planLabels(p, e.version)
	maps.Copy(labels, map[string]string{
		labelNetwork: string(raw),
		labelDigest:  n.Digest(),
		labelIndex:   strconv.Itoa(index),
	})
	made, err := e.client.NetworkCreate(ctx, networkName(p.Lab, n.Name), network.CreateOptions{
		Driver: "bridge",
		IPAM: &network.IPAM{
			Driver: "default",
			Config: []network.IPAMConfig{{Subnet: n.Prefix.Masked().String(), Gateway: n.Reserved.String()}},
		},
		Options: networkOptions,
		Labels:  labels,
	})
	switch {
	case cerrdefs.IsConflict(err):
		return "", fmt.Errorf("network %s: %w", n.Name, &engine.BusyError{Lab: p.Lab, Err: err})
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "overlap"):
		// The engine has no type for this error.
		return "", fmt.Errorf("network %s: %w", n.Name, &engine.RangeTakenError{
			Taken: []topology.PlannedNetwork{{Name: n.Name, Prefix: n.Prefix}},
			Err:   fmt.Errorf("%s (%w)", n.Prefix, err),
		})
	case err != nil:
		return "", fmt.Errorf("network %s: %w", n.Name, err)
	}
	return made.ID, nil
}

// removeNetwork removes a network although something may be connected to it still.
func (e *Engine) removeNetwork(ctx context.Context, id string) error {
	const tries = 3
	for try := 1; ; try++ {
		err := e.client.NetworkRemove(ctx, id)
		if err == nil || cerrdefs.IsNotFound(err) {
			return nil
		}
		if try == tries {
			return removalError(err)
		}
		// Somebody's own container is connected, or the engine has forgotten to
		// disconnect one of ours.
		n, err := e.client.NetworkInspect(ctx, id, network.InspectOptions{})
		if err != nil {
			continue
		}
		for container, endpoint := range n.Containers {
			if strings.HasPrefix(container, "ep-") {
				container = endpoint.Name // an endpoint whose container is gone
			}
			_ = e.client.NetworkDisconnect(ctx, id, container, true) // the next try says whether it helped
		}
	}
}

// removalError explains why a network cannot be removed. Engine 20.10 sometimes
// loses count of a network's endpoints when containers come and go at the same moment; then
// nothing is connected, and only a restart makes the engine count anew.
func removalError(err error) error {
	if strings.Contains(err.Error(), "has active endpoints") {
		return fmt.Errorf("remove the network: %w\n  if no container is connected to it, the engine has lost count: restart the Docker engine, then try again", err)
	}
	return fmt.Errorf("remove the network: %w", err)
}

// taken returns the ranges of all networks of the engine but the lab's own.
func (e *Engine) taken(ctx context.Context, lab string) ([]topology.PlannedNetwork, error) {
	all, err := e.client.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("networks of the Docker engine: %w", err)
	}
	return takenBy(all, lab), nil
}

// takenBy are the ranges of those networks that are not the lab's own.
func takenBy(all []network.Summary, lab string) []topology.PlannedNetwork {
	var taken []topology.PlannedNetwork
	for _, n := range all {
		if owner, ok := n.Labels[labelLab]; ok && owner == lab {
			continue
		}
		for _, prefix := range ranges(n) {
			taken = append(taken, topology.PlannedNetwork{Name: n.Name, Prefix: prefix})
		}
	}
	return taken
}

// free says whether the ranges of the networks that are to be made are.
func free(p *topology.Plan, d *engine.Difference, taken []topology.PlannedNetwork) error {
	for _, n := range p.Networks {
		if _, kept := d.KeptNetworks[n.Name]; kept {
			continue
		}
		for _, t := range taken {
			if t.Prefix.Overlaps(n.Prefix) {
				return &engine.RangeTakenError{Taken: taken, Err: fmt.Errorf("network %s: %s is network %s of the Docker engine", n.Name, n.Prefix, t.Name)}
			}
		}
	}
	return nil
}

// ranges of a network of the engine.
func ranges(n network.Summary) []netip.Prefix {
	var all []netip.Prefix
	for _, c := range n.IPAM.Config {
		if prefix, err := netip.ParsePrefix(c.Subnet); err == nil {
			all = append(all, prefix.Masked())
		}
	}
	return all
}

func overlaps(n network.Summary, with netip.Prefix) bool {
	return slices.ContainsFunc(ranges(n), with.Overlaps)
}
