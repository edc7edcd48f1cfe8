package main

import (
	"fmt"

	"github.com/wslab/wslab/scenarios"
)

// scenarioDocument is a scenario in JSON, as --list has it.
type scenarioDocument struct {
	Name    string   `json:"name"`
	Family  string   `json:"family"`
	Summary string   `json:"summary"`
	Labs    []string `json:"labs"`
	Plays   int      `json:"plays"`
	// DurationS is how long the steps of a play take, in seconds of lab time; at most, where a
	// step ends earlier once something has happened.
	DurationS float64 `json:"duration_s"`
}

func scenarioJSON(s *scenarios.Scenario) scenarioDocument {
	d := scenarioDocument{Name: s.Name, Family: s.Family, Summary: s.Summary, Plays: len(s.Plays()), DurationS: s.Duration().Seconds()}
	for i, e := range s.Labs {
		if i == 0 || e.Lab != s.Labs[i-1].Lab {
			d.Labs = append(d.Labs, e.Lab)
		}
	}
	return d
}

// printScenarios lists scenarios by family.
func (c *cli) printScenarios(list []*scenarios.Scenario) error {
	if c.settings.format == "json" {
		documents := make([]scenarioDocument, len(list))
		for i, s := range list {
			documents[i] = scenarioJSON(s)
		}
		return c.printJSON(documents)
	}
	width := 0
	for _, s := range list {
		width = max(width, len(s.Name))
	}
	plays := 0
	for _, f := range append(scenarios.Families(), scenarios.Family{Title: "Others"}) {
		members := scenarios.OfFamily(list, f.Name)
		if len(members) == 0 {
			continue
		}
		if plays > 0 {
			if _, err := fmt.Fprintln(c.out); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(c.out, f.Title); err != nil {
			return err
		}
		for _, s := range members {
			plays += len(s.Plays())
			if _, err := fmt.Fprintf(c.out, "  %-*s  %s\n", width, s.Name, s.Summary); err != nil {
				return err
			}
		}
	}
	c.progress("%s in %d plays; wslab run --explain NAME shows one, wslab run NAME plays it", number(len(list), "scenario"), plays)
	return nil
}

// number is a number of things.
func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
