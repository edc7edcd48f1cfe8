package scenarios

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"
)

// pinnedVerdicts is what came of the built-in scenarios with the strategies of which their
// files expect nothing. TestParity in cmd/wslab plays them and holds them to it.
//
//go:embed pinned/verdicts.yaml
var pinnedVerdicts []byte

// Pin is the verdicts of one play by strategy, where the scenario's file does not say them. One
// that has several stands in several lists.
type Pin struct {
	// Lab, Via and From are those of the play.
	Lab  string `yaml:"lab"`
	Via  string `yaml:"via,omitempty"`
	From string `yaml:"from,omitempty"`
	// The names of the strategies, each list in the order of their names.
	Survived  []string `yaml:"survived,flow,omitempty"`
	Recovered []string `yaml:"recovered,flow,omitempty"`
	Failed    []string `yaml:"failed,flow,omitempty"`
}

// Pins are the plays of each built-in scenario, in their order.
type Pins map[string][]Pin

// expected returns the verdicts that are pinned for a strategy; none where there are none.
func (p Pin) expected(strategy string) Expected {
	var out Expected
	for _, l := range []struct {
		verdict Verdict
		names   []string
	}{{Survived, p.Survived}, {Recovered, p.Recovered}, {Failed, p.Failed}} {
		if slices.Contains(l.names, strategy) {
			out = append(out, l.verdict)
		}
	}
	return out
}

// Pinned returns the verdicts that are pinned for a strategy of which the scenario's file expects
// nothing; none where there are none.
func (p Play) Pinned(strategy string) Expected { return p.pinned.expected(strategy) }

// readPins reads the pinned verdicts.
func readPins(text []byte) (Pins, error) {
	var pins Pins
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&pins); err != nil {
		return nil, fmt.Errorf("pinned verdicts: %w", err)
	}
	return pins, nil
}

// pin gives a scenario its pinned verdicts. Those of a play that it does not have, or has in
// another order, are an error: they would be held against another one.
func (s *Scenario) pin(pins Pins) error {
	plays, pinned := s.Plays(), pins[s.Name]
	if len(pinned) == 0 {
		return nil
	}
	if len(pinned) != len(plays) {
		return fmt.Errorf("pinned verdicts: %s has %d plays, %d are pinned; play them anew with: go test ./cmd/wslab -run TestParity -update", s.Name, len(plays), len(pinned))
	}
	for i, p := range plays {
		if pin := pinned[i]; pin.Lab != p.Lab || pin.Via != p.Path || pin.From != p.Client {
			return fmt.Errorf("pinned verdicts: play %d of %s is on %s %s, pinned is one on %s %s", i+1, s.Name, p.Lab, p.Path, pin.Lab, pin.Via)
		}
	}
	s.pinned = pinned
	return nil
}
