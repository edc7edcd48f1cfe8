package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/wslab/wslab/topology"
)

// refuser is an engine as far as choosing one goes.
type refuser struct {
	Engine
	name    string
	refuses func(topology.Needs) bool
}

func (r *refuser) Name() string { return r.name }

func (r *refuser) Refuse(n topology.Needs) *topology.Refusal {
	if !r.refuses(n) {
		return nil
	}
	return &topology.Refusal{Why: "it does not like it"}
}

func lab(t *testing.T, node string) *topology.Lab {
	t.Helper()
	type settings struct {
		Program string `json:"program"`
		Image   string `json:"image"`
	}
	l, err := topology.Load("lab.yaml", []byte("name: test\nnetworks: { lan: 10.0.0.0/24 }\nnodes:\n  node: "+node+"\n  other: { kind: client, on: [lan] }\n"), &topology.Registry{
		Kinds: []*topology.Kind{{Name: "client", Settings: func() any { return &struct{}{} }}, {
			Name: "any", Target: true, Settings: func() any { return new(settings) },
			Needs: func(s any) topology.Needs {
				return topology.Needs{Program: s.(*settings).Program, Image: s.(*settings).Image}
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestFor(t *testing.T) {
	docker := &refuser{name: "docker", refuses: func(n topology.Needs) bool { return n.Program != "" && n.Image == "" }}
	netns := &refuser{name: "netns", refuses: func(n topology.Needs) bool { return n.Program == "" && n.Image != "" || n.Program == "none" }}
	var told []string
	progress := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	for _, c := range []struct {
		node, want string
		told       []string
	}{
		{"{ kind: any, on: [lan] }", "docker", nil},
		{"{ kind: any, on: [lan], image: x }", "docker", nil},
		{"{ kind: any, on: [lan], image: x, program: y }", "docker", nil},
		{"{ kind: any, on: [lan], program: y }", "netns", []string{"engine netns: node cannot run on engine docker: it does not like it"}},
	} {
		told = nil
		e, err := For(Several{docker, netns}, lab(t, c.node), progress)
		if err != nil || e.Name() != c.want || len(e.(Several)) != 2 || !slices.Equal(told, c.told) {
			t.Errorf("%s: %v, %v, %q", c.node, e, err, told)
		}
	}
	var problems topology.Problems
	if _, err := For(Several{docker, netns}, lab(t, "{ kind: any, on: [lan], program: none }"), nil); !errors.As(err, &problems) || len(problems) != 2 {
		t.Errorf("none can: %v", err)
	}
	if _, err := For(netns, lab(t, "{ kind: any, on: [lan], image: x }"), nil); !errors.As(err, &problems) || len(problems) != 1 {
		t.Errorf("the one that was asked for cannot: %v", err)
	}
}
