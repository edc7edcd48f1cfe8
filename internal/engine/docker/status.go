package docker

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/wslab/wslab/internal/engine"
)

// labs sums the inventory of all labs up.
func (i *inventory) labs() []engine.LabStatus {
	byName := make(map[string]*engine.LabStatus)
	note := func(labels map[string]string, created time.Time) *engine.LabStatus {
		name := labels[labelLab]
		s, ok := byName[name]
		if !ok {
			s = &engine.LabStatus{Name: name, Engine: "docker", Created: created}
			byName[name] = s
		}
		s.Source, s.File, s.Speed = labels[labelSource], labels[labelFile], speedOf(labels)
		if created.Before(s.Created) {
			s.Created = created
		}
		return s
	}
	// A network can be older than the speed of its lab: the containers have the last word.
	for _, n := range i.networks {
		note(n.Labels, n.Created)
	}
	for _, c := range i.containers {
		s := note(c.Labels, time.Unix(c.Created, 0))
		s.Nodes++
		if c.State == container.StateRunning {
			s.Running++
		}
	}
	labs := make([]engine.LabStatus, 0, len(byName))
	for _, s := range slices.SortedFunc(maps.Values(byName), func(a, b *engine.LabStatus) int { return cmp.Compare(a.Name, b.Name) }) {
		labs = append(labs, *s)
	}
	return labs
}
