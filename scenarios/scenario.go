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
	"strings"
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
	// Family that it belongs to, see [Families]; "" for none.
	Family string
	// Why it happens and to whom, in a few sentences, and the sources of that.
	Why    string
	Source []string
	// File is where it was read from, or "embedded:NAME".
	File string
	// Labs that it is played on, each with its own expectations.
	Labs []Entry
	// Seed of what is drawn at random in a play: by strategies, and by toxics and links
	// that have no seed of their own; 0 takes others each time.
	Seed int64
	// Steps in their order.
	Steps []Step
	// Strategies that the scenario defines, as the client is told them.
	Strategies map[string]json.RawMessage

	// pinned are the verdicts of strategies that the file does not name, for each play; none
	// where the scenario is not a built-in one.
	pinned []Pin
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
	// Kind of the node whose settings they are.
	Kind string
	// Text is the settings as the file has them, on one line.
	Text string
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

	pinned   Pin
	programs []enrolled
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
			p := Play{Scenario: s, Lab: e.Lab, Client: e.Client, Path: path, With: e.With, Expect: e.Expect}
			if i := len(plays); i < len(s.pinned) {
				p.pinned = s.pinned[i]
			}
			plays = append(plays, p)
		}
	}
	return plays
}

// longest is how long the steps of a scenario may take, in lab time: more than the longest
// timeout of a middlebox, the five days of Linux's connection tracking.
const longest = 30 * 24 * time.Hour

// atMost adds durations, and does not get further than a little over the longest.
func atMost(a, b time.Duration) time.Duration { return min(longest+1, a+b) }

// Duration of the steps in lab time; of a step that may end earlier its longest.
func (s *Scenario) Duration() time.Duration {
	var d time.Duration
	for _, step := range s.Steps {
		d = atMost(d, step.takes())
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
	for _, c := range p.changes() {
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

// changes are the changes of settings for the play and during it.
func (p Play) changes() []Change {
	all := slices.Clone(p.With)
	for s := range every(p.Scenario.Steps) {
		if c, ok := s.(*Configure); ok {
			all = append(all, c.change)
		}
	}
	return all
}

// known returns a strategy that the scenario defines or that is built in.
func (p Play) known(name string) (s strategy.Strategy, ok bool) {
	base, resumes := strings.CutSuffix(name, strategy.ResumeSuffix)
	if raw, own := p.Scenario.Strategies[base]; own {
		err := json.Unmarshal(raw, &s)
		return s.Resuming(resumes), err == nil
	}
	return strategy.Find(name)
}

// Clients are the clients that the play has expectations of, in order: programs, and strategies.
func (p Play) Clients() []string {
	var names []string
	for _, e := range p.programs {
		names = append(names, e.Name)
	}
	for _, e := range p.Expect {
		names = append(names, e.Client)
	}
	return names
}

// Changed says what is changed at nodes for the time of the play, as the file has it: "NODE: SETTINGS".
func (p Play) Changed() []string {
	var all []string
	for _, c := range p.With {
		all = append(all, c.Node+": "+c.Text)
	}
	return all
}

// PlayedBy returns the play with these clients, in this order. What is expected of one is what
// the scenario says; else, of a built-in scenario, the verdict that is pinned; else every
// verdict passes.
func (p Play) PlayedBy(clients []string) Play {
	var expect []Expectation
	for _, name := range clients {
		expect = append(expect, p.expectationOf(name))
	}
	p.Expect = expect
	return p
}

func (p Play) expectationOf(client string) Expectation {
	for _, e := range p.Expect {
		if e.Client == client {
			return e
		}
	}
	e := Expectation{Client: client, Verdicts: p.pinned.expected(client)}
	if len(e.Verdicts) == 0 {
		e.Verdicts = verdicts()
	}
	return e
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
	for s := range every(p.Scenario.Steps) {
		add(s.node())
	}
	return names
}
