package main

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
)

const pinsFile = "../../scenarios/pinned/verdicts.yaml"

const pinsHead = `# What comes of each built-in scenario with the strategies of which its file expects nothing.
# The plays of a scenario are in their order. Made from reports of runs of everything, of which one
# will do: wslab run --engine netns --speed 10 --strategies all --report json=F, then go test ./cmd/wslab -run TestPins -reports F
# Read the difference before you commit it: a cell that changes is a change of behaviour.
`

// reports to take the pinned verdicts from.
var reports = flag.String("reports", "", "pin what these JSON reports say, separated by commas")

// TestPinsAreTheReports writes the pinned verdicts anew from reports, if there are some: of several
// rounds what came out most often. A cell that came out otherwise in plays that can be trusted is an
// error.
func TestPinsAreTheReports(t *testing.T) {
	if *reports == "" {
		return // nothing is to be pinned
	}
	var rounds []document
	for file := range strings.SplitSeq(*reports, ",") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d document
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		rounds = append(rounds, d)
	}
	cells := slices.Clone(rounds[0].Cells)
	for i, c := range cells {
		came := make(map[string]int)
		for _, d := range rounds {
			same := d.Cells[i]
			if where(same) != where(c) {
				t.Fatalf("the reports are of different runs: %s, %s", where(c), where(same))
			}
			if d.trusted(same) {
				came[same.Verdict]++
			}
		}
		for _, verdict := range slices.Sorted(maps.Keys(came)) {
			if came[verdict] > came[cells[i].Verdict] {
				cells[i].Verdict = verdict
			}
		}
		if len(came) > 1 && !strings.Contains(c.Expected, " or ") {
			t.Errorf("%s flips: %v", where(c), came)
		}
	}
	updatePins(t, cells)
}

// updatePins writes the pinned verdicts anew from what was played.
func updatePins(t *testing.T, cells []cell) {
	t.Helper()
	list, err := scenarios.Builtin(suite.Known(registry()))
	if err != nil {
		t.Fatal(err)
	}
	pins := make(map[string][]scenarios.Pin)
	for _, s := range list {
		for _, p := range s.Plays() {
			pin := scenarios.Pin{Lab: p.Lab, Via: p.Path, From: p.Client}
			for _, name := range builtinStrategies() {
				i := slices.IndexFunc(cells, func(c cell) bool {
					return c.Scenario == s.Name && c.Lab == p.Lab && (p.Path == "" || c.Path == p.Path) && c.From == p.Client && c.Client == name
				})
				if i < 0 {
					t.Fatalf("%s on %s by %q was not played by %s", s.Name, p.Lab, p.Path, name)
				}
				c := cells[i]
				cells = slices.Delete(cells, i, i+1) // a scenario may play one lab by one way twice
				if slices.Contains(p.Clients(), name) {
					continue // its file says it
				}
				for _, to := range []struct {
					verdict scenarios.Verdict
					names   *[]string
				}{{scenarios.Survived, &pin.Survived}, {scenarios.Recovered, &pin.Recovered}, {scenarios.Failed, &pin.Failed}} {
					if scenarios.Verdict(c.Verdict) == to.verdict {
						*to.names = append(*to.names, name)
					}
				}
			}
			pins[s.Name] = append(pins[s.Name], pin)
		}
	}
	text, err := yaml.Marshal(pins)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pinsFile, append([]byte(pinsHead), text...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPinsAreWhole: every built-in strategy has an expectation in every play, in the file of
// its scenario or pinned.
func TestPinsAreWhole(t *testing.T) {
	list, err := scenarios.Builtin(suite.Known(registry()))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		for _, p := range s.Plays() {
			for _, name := range builtinStrategies() {
				if !slices.Contains(p.Clients(), name) && len(p.Pinned(name)) == 0 {
					t.Errorf("%s on %s by %q: nothing is expected of %s; go test ./cmd/wslab -run TestParity -update", s.Name, p.Lab, p.Path, name)
				}
			}
		}
	}
}
