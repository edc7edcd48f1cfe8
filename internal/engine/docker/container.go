package docker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/versions"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/nodespec"
	"github.com/wslab/wslab/topology"
)

// pidsLimit bounds the threads of a node, so that a broken one does not take the host along.
const pidsLimit = 1024

// createContainer makes the container of a node, connected to the node's
// networks and not started, and returns its ID. The ID may be there beside an error.
// theirs is the user's image that the node asks for, nil for none.
func (u *up) createContainer(ctx context.Context, index int, theirs *image.InspectResponse, networks map[string]string) (string, error) {
	spec := &u.plan.Nodes[index]
	config, err := u.containerConfig(u.plan, index, u.image)
	if err == nil && theirs != nil {
		err = takeOver(config, spec.Needs.Image, said(theirs))
	}
	if err != nil {
		return "", err
	}
	endpoint := func(i topology.Interface) *network.EndpointSettings {
		s := &network.EndpointSettings{
			NetworkID:  networks[i.Network],
			IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: i.Addr.Addr().String()},
		}
		// Engines before this API do not take it, and choose the same.
		if versions.GreaterThanOrEqualTo(u.client.ClientVersion(), "1.44") {
			s.MacAddress = i.HardwareAddr().String()
		}
		return s
	}
	first := spec.Interfaces[0]
	name := containerName(u.plan.Lab, spec.Name)
	host := hostConfig(spec, networkName(u.plan.Lab, first.Network))
	host.CgroupParent = u.cgroup
	made, err := u.client.ContainerCreate(ctx, config, host,
		&network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			networkName(u.plan.Lab, first.Network): endpoint(first),
		}}, nil, name)
	if cerrdefs.IsConflict(err) {
		return "", &engine.BusyError{Lab: u.plan.Lab, Err: err}
	}
	if err != nil {
		return "", fmt.Errorf("create the container: %w", err)
	}
	// API 1.41 takes one network at creation.
	for _, i := range spec.Interfaces[1:] {
		if err := u.client.NetworkConnect(ctx, networks[i.Network], made.ID, endpoint(i)); err != nil {
			return made.ID, fmt.Errorf("connect to network %s: %w", i.Network, err)
		}
	}
	if theirs != nil {
		return made.ID, u.putBinary(ctx, made.ID, u.image.root)
	}
	return made.ID, nil
}

// takeOver makes the container one of the user's image, in which the node runs what
// the image says. The image's environment is the node's; wslab's binary is static there.
func takeOver(config *container.Config, name string, says *node.Image) error {
	carried, err := says.Environ()
	if err != nil {
		return err
	}
	config.Image = name
	config.Entrypoint = []string{nodeBinary}
	config.User = "0" // the node sets the network up; it knows whom the program runs as
	config.WorkingDir = "/"
	config.Env = append(slices.DeleteFunc(config.Env, func(entry string) bool {
		return !strings.HasPrefix(entry, "WSLAB_")
	}), carried)
	// The image's health check is about the image's own entry point.
	config.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
	return nil
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
		labelBinary: img.ref,
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
	host := &container.HostConfig{
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
	if spec.Needs.Image != "" {
		// Images expect what Docker gives by itself: to write, to change their user.
		host.CapDrop, host.ReadonlyRootfs = nil, false
	}
	return host
}

// capabilities are those of the node and what every node needs: NET_ADMIN to set its routes and
// the conditions of its links, NET_RAW to make packets arrive twice.
func capabilities(needs topology.Needs) []string {
	all := append([]string{"NET_ADMIN", "NET_RAW"}, needs.Capabilities...)
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
