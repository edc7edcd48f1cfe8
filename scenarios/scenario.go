// Package scenarios plays steps against a running lab and judges what became of
// each client: the scenario files, the runner, the expectations, the verdict and
// its cause.
//
// The way is file -> [Scenario] -> [Play] -> [Run] -> [Result]. The package does not
// know which engine runs the lab: it is handed a [Lab].
package scenarios

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

// Scenario is a scenario file that was read and checked.
type Scenario struct {
	// Name of the scenario: letters, digits and hyphens.
	Name string
	// Summary says in one sentence what happens.
	Summary string
	// File is where it was read from, or "embedded:NAME".
	File string
	// Labs that it is played on, each with its own expectations.
	Labs []Entry
	// Steps in their order.
	Steps []Step
	// Strategies that the scenario defines, as the client is told them.
	Strategies map[string]json.RawMessage
}

// Entry is one lab of a scenario.
type Entry struct {
	// Lab is the name of an embedded lab, or the path of a lab file as the
	// scenario file has it.
	Lab string
	// Client names the client node; empty is the first one of the lab.
	Client string
	// Via names the ways to the server that are played, one after another; empty
	// is the client's first way.
	Via []string
	// With is what is changed at nodes for the time of the play.
	With []Change
	// Expect in the order of the file.
	Expect []Expectation
}

// Change is a change of a node's settings for the time of a play.
type Change struct {
	Node string
	// Settings are the keys to be changed, as JSON of the kind's settings.
	Settings json.RawMessage
	// MaxSpeed is the largest speed that its durations bear, and Limit the key
	// that limits it.
	MaxSpeed float64
	Limit    string
}

// Play is one scenario on one lab by one way: what [Run] plays.
type Play struct {
	Scenario *Scenario
	// Lab, Client and Path as in an [Entry]; Path may be empty.
	Lab, Client, Path string
	With              []Change
	Expect            []Expectation
}

// Plays returns what the scenario consists of: a play for each lab and way.
func (s *Scenario) Plays() []Play {
	var plays []Play
	for _, e := range s.Labs {
		via := e.Via
		if len(via) == 0 {
			via = []string{""}
		}
		for _, path := range via {
			plays = append(plays, Play{Scenario: s, Lab: e.Lab, Client: e.Client, Path: path, With: e.With, Expect: e.Expect})
		}
	}
	return plays
}

// Duration of the steps in lab time.
func (s *Scenario) Duration() time.Duration {
	var d time.Duration
	for _, step := range s.Steps {
		d += step.takes()
	}
	return d
}

// MaxSpeed returns the largest speed that the play bears, and the setting that
// limits it: the kernel counts whole seconds. 0 is no limit. A strategy that only the
// lab defines is not known here; the lab's own plan has checked it.
func (p Play) MaxSpeed() (speed float64, key string) {
	limit := func(most float64, by string) {
		if most > 0 && !math.IsInf(most, 1) && (speed == 0 || most < speed) {
			speed, key = most, by
		}
	}
	for _, c := range p.With {
		limit(c.MaxSpeed, c.Node+"."+c.Limit)
	}
	for _, name := range p.Clients() {
		if s, ok := p.known(name); ok {
			most, by := topology.MaxSpeed(s.WithDefaults())
			limit(most, name+"."+by)
		}
	}
	return speed, key
}

// known returns a strategy that the scenario defines or that is built in.
func (p Play) known(name string) (s strategy.Strategy, ok bool) {
	if raw, own := p.Scenario.Strategies[name]; own {
		return s, json.Unmarshal(raw, &s) == nil
	}
	return strategy.Find(name)
}

// Clients are the strategies that the play has expectations of, in order.
func (p Play) Clients() []string {
	var names []string
	for _, e := range p.Expect {
		names = append(names, e.Client)
	}
	return names
}

// Nodes returns the nodes that the steps and changes of the play act on.
func (p Play) Nodes() []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, c := range p.With {
		add(c.Node)
	}
	for _, s := range p.Scenario.Steps {
		add(s.node())
	}
	return names
}
