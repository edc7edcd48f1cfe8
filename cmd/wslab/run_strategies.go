package main

import (
	"slices"
	"strings"

	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

// everyStrategy is what --strategies takes for all that there are.
const everyStrategy = "all"

// builtinStrategies are the names of the built-in strategies.
func builtinStrategies() []string {
	var names []string
	for _, n := range strategy.Builtin() {
		names = append(names, n.Name)
	}
	return names
}

// playedBy returns which strategies play a play, as --strategies asks; nil is those that its
// scenario has expectations of.
func playedBy(asked []string, list []*scenarios.Scenario) (func(scenarios.Play) []string, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	if slices.Contains(asked, everyStrategy) {
		if len(asked) > 1 {
			return nil, usagef("--strategies %s: all of them are named already", strings.Join(asked, ","))
		}
		return func(p scenarios.Play) []string {
			names := builtinStrategies()
			for _, own := range p.Clients() {
				if !slices.Contains(names, own) {
					names = append(names, own)
				}
			}
			return names
		}, nil
	}
	for i, name := range asked {
		if slices.Contains(asked[:i], name) {
			return nil, usagef("--strategies names %s twice", name)
		}
		for _, s := range list {
			for _, p := range s.Plays() {
				known := slices.Concat(builtinStrategies(), p.Clients())
				base := strings.TrimSuffix(name, strategy.ResumeSuffix)
				if _, own := s.Strategies[base]; !own && !slices.Contains(known, base) && !slices.Contains(known, name) {
					return nil, usagef("--strategies: scenario %s knows no strategy %q; %s", s.Name, name, topology.Suggest(name, append(known, everyStrategy)))
				}
			}
		}
	}
	return func(scenarios.Play) []string { return asked }, nil
}
