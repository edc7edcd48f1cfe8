package docker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/topology"
)

// pidsLimit bounds the threads of a node, so that a broken one does not take the host along.
const pidsLimit = 1024

// createContainer makes the container of a node, connected to the node's
// networks and not started, and returns its ID. The ID may be there beside an error.
func (e *Engine) createContainer(ctx context.Context, p *topology.Plan, index int, img *nodeImage, networks map[string]string) (string, error) {
	spec := &p.Nodes[index]
	config, err := e.containerConfig(p, index, img)
	if err != nil {
		return "", err
	}
	endpoint := func(i topology.Interface) *network.EndpointSettings {
		return &network.EndpointSettings{
			NetworkID:  networks[i.Network],
			IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: i.Addr.Addr().String()},
		}
	}
	first := spec.Interfaces[0]
	name := containerName(p.Lab, spec.Name)
	made, err := e.client.ContainerCreate(ctx, config, hostConfig(spec, networkName(p.Lab, first.Network)),
		&network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			networkName(p.Lab, first.Network): endpoint(first),
		}}, nil, name)
	if cerrdefs.IsConflict(err) {
		return "", &busyError{lab: p.Lab, err: err}
	}
	if err != nil {
		return "", fmt.Errorf("create the container: %w", err)
	}
	// API 1.41 takes one network at creation.
	for _, i := range spec.Interfaces[1:] {
		if err := e.client.NetworkConnect(ctx, networks[i.Network], made.ID, endpoint(i)); err != nil {
			return made.ID, fmt.Errorf("connect to network %s: %w", i.Network, err)
		}
	}
	return made.ID, nil
}

func (e *Engine) containerConfig(p *topology.Plan, index int, img *nodeImage) (*container.Config, error) {
	spec := &p.Nodes[index]
	carried, err := nodespec.Environ(*spec)
	if err != nil {
		return nil, err
	}
	labels := planLabels(p, e.version)
	maps.Copy(labels, map[string]string{
		labelNode:   spec.Name,
		labelKind:   spec.Kind,
		labelDigest: spec.Digest(),
		labelIndex:  strconv.Itoa(index),
	})
	return &container.Config{
		Image:      img.ref,
		Entrypoint: []string{binaryPath},
		Cmd:        []string{"node"},
		Env:        append(img.root.env(), carried),
		Hostname:   spec.Name,
		OpenStdin:  true, // the control stream; it stays open when a host leaves
		Labels:     labels,
	}, nil
}

// hostConfig gives the node what it needs and nothing else.
func hostConfig(spec *topology.NodeSpec, firstNetwork string) *container.HostConfig {
	limit := int64(pidsLimit)
	return &container.HostConfig{
		NetworkMode:    container.NetworkMode(firstNetwork),
		CapDrop:        []string{"ALL"},
		CapAdd:         capabilities(spec.Needs),
		SecurityOpt:    []string{"no-new-privileges"},
		ReadonlyRootfs: true,
		Sysctls:        sysctls(spec.Needs),
		ExtraHosts:     extraHosts(spec),
		// The engine's name server asks these for what it does not know. Nothing
		// answers on the node's own loopback, so no name leaves the lab.
		DNS:        []string{"127.0.0.1"},
		DNSSearch:  []string{"."},
		DNSOptions: []string{"timeout:1", "attempts:1"},
		RestartPolicy: container.RestartPolicy{
			Name: container.RestartPolicyDisabled,
		},
		LogConfig: container.LogConfig{
			Type:   "json-file",
			Config: map[string]string{"max-size": "16m", "max-file": "2"},
		},
		Resources: container.Resources{PidsLimit: &limit},
	}
}

// capabilities are those of the node and NET_ADMIN, with which every node sets its routes.
func capabilities(needs topology.Needs) []string {
	all := append([]string{"NET_ADMIN"}, needs.Capabilities...)
	slices.Sort(all)
	return slices.Compact(all)
}

func sysctls(needs topology.Needs) map[string]string {
	// Ports below 1024 without the capability for it.
	all := map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
	maps.Copy(all, needs.Sysctls)
	return all
}

// extraHosts are the names of the lab, the node's own among them.
func extraHosts(spec *topology.NodeSpec) []string {
	var hosts []string
	if _, ok := spec.Hosts[spec.Name]; !ok {
		hosts = append(hosts, spec.Name+":"+spec.Interfaces[0].Addr.Addr().String())
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Hosts)) {
		hosts = append(hosts, name+":"+spec.Hosts[name].String())
	}
	return hosts
}

// removeContainer kills and removes a container, and returns when it is gone.
func (e *Engine) removeContainer(ctx context.Context, id string) error {
	err := e.client.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	switch {
	case err == nil || cerrdefs.IsNotFound(err):
		return nil
	case cerrdefs.IsConflict(err): // somebody else is removing it
		return e.awaitRemoval(ctx, id)
	}
	return fmt.Errorf("remove the container: %w", err)
}

func (e *Engine) awaitRemoval(ctx context.Context, id string) error {
	removed, failed := e.client.ContainerWait(ctx, id, container.WaitConditionRemoved)
	select {
	case <-removed:
		return nil
	case err := <-failed:
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("wait for the container's removal: %w", err)
	}
}
