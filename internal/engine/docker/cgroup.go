package docker

import (
	"context"
	"fmt"
	"slices"

	"github.com/docker/docker/api/types/system"
)

// findCgroup asks the engine where the control groups of nodes belong.
func (e *Engine) findCgroup(ctx context.Context) (parent string, err error) {
	info, err := e.client.Info(ctx)
	if err != nil {
		return "", fmt.Errorf("settings of the Docker engine: %w", err)
	}
	return cgroupParent(info), nil
}

// cgroupParent is the control group that those of the nodes are made in, "" for the engine's choice.
//
// An engine that manages control groups itself (cgroupfs) puts those of all containers into one,
// /docker, which gets as much of the processors as a single process outside of it gets: while a lab comes
// up the nodes of another would stand still. Directly below the root each node counts as much as such a
// process (kernel, scheduler/sched-design-CFS, "FAIR GROUP SCHEDULING"). With systemd each has a scope
// beside the services already; an engine without root has no say outside of its own group.
func cgroupParent(info system.Info) string {
	if info.CgroupDriver != "cgroupfs" || slices.Contains(info.SecurityOptions, "name=rootless") {
		return ""
	}
	return "/"
}
