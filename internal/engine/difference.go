package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wslab/wslab/topology"
)

// Part is a network or a node that an engine holds of an instance.
type Part struct {
	// Name in the lab.
	Name string
	// Digest of the [topology.PlannedNetwork] or [topology.NodeSpec] that it was made from.
	Digest string
	// Usable says that it may stay if the plan has it as it is: a node whose process
	// has ended is not, nor is one of another version of wslab.
	Usable bool
}

// Difference is what has to be done to make an instance equal to a plan. A network
// that differs takes the nodes on it along.
type Difference struct {
	// KeptNetworks and KeptNodes are those that stay: the index of the part by name.
	KeptNetworks, KeptNodes map[string]int
	// StaleNetworks and StaleNodes are the indexes of the parts that have to go.
	StaleNetworks, StaleNodes []int
	// Changes say the same for the user.
	Changes Changes
}

// Compare finds the difference between a plan and what is there of it. Several parts
// may have the same name: one of them can stay.
func Compare(p *topology.Plan, networks, nodes []Part) *Difference {
	d := &Difference{}
	var wanted []Part
	for i := range p.Networks {
		wanted = append(wanted, Part{Name: p.Networks[i].Name, Digest: p.Networks[i].Digest()})
	}
	d.KeptNetworks, d.StaleNetworks = d.compare("network ", wanted, networks, func(int) bool { return true })
	wanted = nil
	for i := range p.Nodes {
		wanted = append(wanted, Part{Name: p.Nodes[i].Name, Digest: p.Nodes[i].Digest()})
	}
	d.KeptNodes, d.StaleNodes = d.compare("", wanted, nodes, func(i int) bool {
		return !slices.ContainsFunc(p.Nodes[i].Interfaces, func(i topology.Interface) bool {
			_, kept := d.KeptNetworks[i.Network]
			return !kept
		})
	})
	return d
}

// compare compares the parts of one sort. stays says whether a wanted one may be kept.
func (d *Difference) compare(prefix string, wanted, there []Part, stays func(wanted int) bool) (kept map[string]int, stale []int) {
	kept = make(map[string]int)
	index := make(map[string]int)
	for i, w := range wanted {
		index[w.Name] = i
	}
	replaced := make(map[string]bool) // parts that have to go, by name
	for i, part := range there {
		w, ok := index[part.Name]
		_, again := kept[part.Name]
		if ok && !again && part.Usable && part.Digest == wanted[w].Digest && stays(w) {
			kept[part.Name] = i
			continue
		}
		stale = append(stale, i)
		replaced[part.Name] = true
	}
	for _, w := range wanted {
		_, stays := kept[w.Name]
		switch {
		case stays:
		case replaced[w.Name]:
			d.Changes.Replaced = append(d.Changes.Replaced, prefix+w.Name)
		default:
			d.Changes.Created = append(d.Changes.Created, prefix+w.Name)
		}
		delete(replaced, w.Name)
	}
	for _, i := range stale {
		if name := there[i].Name; replaced[name] {
			delete(replaced, name)
			d.Changes.Removed = append(d.Changes.Removed, prefix+name)
		}
	}
	return kept, stale
}

// Say tells what is about to be done.
func (c Changes) Say(lab string, progress Progress) {
	for _, what := range []struct {
		doing string
		names []string
	}{{"removing", c.Removed}, {"replacing", c.Replaced}, {"creating", c.Created}} {
		if len(what.names) > 0 {
			progress.Say("lab %s: %s %s", lab, what.doing, some(what.names))
		}
	}
}

// named is how many names are told one by one.
const named = 30

func some(names []string) string {
	if len(names) <= named {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:named], ", "), len(names)-named)
}
