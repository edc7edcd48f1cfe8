package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/topology"
)

func TestCompare(t *testing.T) {
	network := func(name string) topology.PlannedNetwork {
		return topology.PlannedNetwork{Name: name, Prefix: netip.MustParsePrefix("10.0.0.0/24")}
	}
	node := func(name string, networks ...string) topology.NodeSpec {
		n := topology.NodeSpec{Name: name, Speed: 1}
		for _, on := range networks {
			n.Interfaces = append(n.Interfaces, topology.Interface{Network: on, Addr: netip.MustParsePrefix("10.0.0.1/24")})
		}
		return n
	}
	plan := &topology.Plan{
		Networks: []topology.PlannedNetwork{network("left"), network("right")},
		Nodes:    []topology.NodeSpec{node("alice", "left"), node("nat", "left", "right"), node("server", "right")},
	}
	asPlanned := func() (networks, nodes []Part) {
		for _, n := range plan.Networks {
			networks = append(networks, Part{n.Name, n.Digest(), true})
		}
		for _, n := range plan.Nodes {
			nodes = append(nodes, Part{n.Name, n.Digest(), true})
		}
		return networks, nodes
	}
	for _, tt := range []struct {
		name   string
		change func(networks, nodes *[]Part)
		want   Changes
		// stale networks and nodes, by index
		stale [2][]int
	}{
		{"nothing there", func(networks, nodes *[]Part) { *networks, *nodes = nil, nil },
			Changes{Created: []string{"network left", "network right", "alice", "nat", "server"}}, [2][]int{}},
		{"all there", func(_, _ *[]Part) {}, Changes{}, [2][]int{}},
		{"another node", func(_, nodes *[]Part) { (*nodes)[0].Digest = "other" },
			Changes{Replaced: []string{"alice"}}, [2][]int{nil, {0}}},
		{"a node that has ended", func(_, nodes *[]Part) { (*nodes)[2].Usable = false },
			Changes{Replaced: []string{"server"}}, [2][]int{nil, {2}}},
		{"another network", func(networks, _ *[]Part) { (*networks)[1].Digest = "other" },
			Changes{Replaced: []string{"network right", "nat", "server"}}, [2][]int{{1}, {1, 2}}},
		{"a network is gone", func(networks, _ *[]Part) { *networks = (*networks)[:1] },
			Changes{Created: []string{"network right"}, Replaced: []string{"nat", "server"}}, [2][]int{nil, {1, 2}}},
		{"too much there", func(networks, nodes *[]Part) {
			*networks = append(*networks, Part{"dmz", "x", true})
			*nodes = append([]Part{{"bob", "x", true}}, *nodes...)
		}, Changes{Removed: []string{"network dmz", "bob"}}, [2][]int{{2}, {0}}},
		{"twice there", func(networks, _ *[]Part) { *networks = append(*networks, (*networks)[0]) },
			Changes{}, [2][]int{{2}, nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			networks, nodes := asPlanned()
			tt.change(&networks, &nodes)
			d := Compare(plan, networks, nodes)
			if diff := cmp.Diff(tt.want, d.Changes); diff != "" {
				t.Error(diff)
			}
			if !slices.Equal(d.StaleNetworks, tt.stale[0]) || !slices.Equal(d.StaleNodes, tt.stale[1]) {
				t.Errorf("stale: networks %v, nodes %v", d.StaleNetworks, d.StaleNodes)
			}
			if len(d.KeptNetworks)+len(d.StaleNetworks) != len(networks) || len(d.KeptNodes)+len(d.StaleNodes) != len(nodes) {
				t.Errorf("a part neither stays nor goes: %+v", d)
			}
		})
	}
}

func TestChangesSay(t *testing.T) {
	var lines []string
	var c Changes
	for i := range 40 {
		c.Created = append(c.Created, fmt.Sprintf("c%d", i))
	}
	c.Removed = []string{"network lan", "bob"}
	c.Say("home", func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) })
	if len(lines) != 2 || lines[0] != "lab home: removing network lan, bob" || !strings.HasSuffix(lines[1], "c29 and 10 more") {
		t.Errorf("%q", lines)
	}
	c.Say("home", nil) // says nothing
}
