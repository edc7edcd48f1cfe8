package main

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wslab/wslab/internal/report"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

// explanation is a scenario in JSON, as --explain has it.
type explanation struct {
	scenarioDocument
	File   string            `json:"file"`
	Why    string            `json:"why"`
	Source []string          `json:"source"`
	Seed   int64             `json:"seed"`
	Steps  []string          `json:"steps"`
	Played []playExplanation `json:"played"`
}

// playExplanation is a play of it.
type playExplanation struct {
	Lab  string            `json:"lab"`
	Path string            `json:"path"`
	From string            `json:"from"`
	With map[string]string `json:"with,omitempty"`
	// MaxSpeed is the largest --speed that the play bears, LimitedBy what limits it; null where
	// nothing does.
	MaxSpeed  *float64              `json:"max_speed"`
	LimitedBy string                `json:"limited_by,omitempty"`
	Expect    []expectationDocument `json:"expect"`
}

type expectationDocument struct {
	Client     string   `json:"client"`
	Verdict    string   `json:"verdict"`
	Lost       *int     `json:"lost,omitempty"`
	Duplicated *int     `json:"duplicated,omitempty"`
	Outage     *float64 `json:"outage_s,omitempty"`
	Cause      string   `json:"cause,omitempty"`
	// Pinned says that the verdict is pinned, not written in the scenario's file.
	Pinned bool `json:"pinned,omitempty"`
}

func explain(s *scenarios.Scenario) explanation {
	d := explanation{scenarioDocument: scenarioJSON(s), File: s.File, Why: s.Why, Source: s.Source, Seed: s.Seed}
	for _, step := range s.Steps {
		d.Steps = append(d.Steps, step.String())
	}
	for _, p := range s.Plays() {
		play := playExplanation{Lab: p.Lab, Path: p.Path, From: p.Client}
		for _, w := range p.With {
			if play.With == nil {
				play.With = make(map[string]string)
			}
			play.With[w.Node] = w.Text
		}
		if most, key := p.MaxSpeed(); most > 0 {
			play.MaxSpeed, play.LimitedBy = &most, key
		}
		clients := p.Clients()
		for _, name := range builtinStrategies() {
			if !slices.Contains(clients, name) {
				clients = append(clients, name)
			}
		}
		for i, e := range p.PlayedBy(clients).Expect {
			if !e.Verdicts.Any() {
				play.Expect = append(play.Expect, expectationJSON(e, i >= len(p.Expect)))
			}
		}
		d.Played = append(d.Played, play)
	}
	return d
}

func expectationJSON(e scenarios.Expectation, pinned bool) expectationDocument {
	d := expectationDocument{Client: e.Client, Verdict: e.Verdicts.String(), Lost: e.Lost, Duplicated: e.Duplicated, Cause: e.Cause, Pinned: pinned}
	if e.Outage != nil {
		seconds := e.Outage.Seconds()
		d.Outage = &seconds
	}
	return d
}

// explainNamed shows the scenario of that name, or that file.
func (c *cli) explainNamed(name string, args []string, reg *topology.Registry) error {
	if len(args) > 0 {
		return usagef("--explain shows one scenario, %s; leave out %s", name, strings.Join(args, " "))
	}
	list, err := suite.Find([]string{name}, suite.Known(reg))
	if err != nil {
		return err
	}
	return c.explainScenario(list[0])
}

// limits are what is expected beside the verdict, as a person reads it.
func (d expectationDocument) limits() string {
	var parts []string
	if d.Lost != nil {
		parts = append(parts, fmt.Sprintf("at most %d lost", *d.Lost))
	}
	if d.Duplicated != nil {
		parts = append(parts, fmt.Sprintf("at most %d twice", *d.Duplicated))
	}
	if d.Outage != nil {
		parts = append(parts, fmt.Sprintf("at most %g s out", *d.Outage))
	}
	if d.Cause != "" {
		parts = append(parts, fmt.Sprintf("cause: %q", d.Cause))
	}
	return strings.Join(parts, ", ")
}

// where is the play as a person calls it.
func (p playExplanation) where() string {
	text := p.Lab
	if p.From != "" {
		text += " from " + p.From
	}
	if p.Path != "" && p.Path != "direct" {
		text += " through " + p.Path
	}
	for _, node := range slices.Sorted(maps.Keys(p.With)) {
		text += fmt.Sprintf(", %s with %s", node, p.With[node])
	}
	return text
}

// explainScenario shows all there is to know about a scenario.
func (c *cli) explainScenario(s *scenarios.Scenario) error {
	d := explain(s)
	if c.settings.format == "json" {
		return c.printJSON(d)
	}
	const column = 12 // of what stands behind the labels
	width := c.reportOptions().Width
	if width <= 0 {
		width = 100
	}
	w := bufio.NewWriter(c.out)
	line := func(label, text string) {
		for i, l := range report.Wrap(text, max(40, width-column)) {
			if i > 0 {
				label = ""
			}
			_, _ = fmt.Fprintf(w, "%-*s%s\n", column, label, l) // Flush tells
		}
	}
	family := ""
	for _, f := range scenarios.Families() {
		if f.Name == s.Family {
			family = " (" + f.Title + ")"
		}
	}
	line("Scenario", s.Name+family)
	line("", s.Summary)
	line("Why", strings.TrimSpace(s.Why))
	for i, source := range s.Source {
		line(first(i, "Source"), source)
	}
	for i, step := range d.Steps {
		line(first(i, "Steps"), fmt.Sprintf("%d. %s", i+1, step))
	}
	line("Takes", s.Duration().String()+" of lab time")
	if s.Seed != 0 {
		line("Seed", fmt.Sprint(s.Seed))
	}
	for i, p := range d.Played {
		line(first(i, "Played on"), p.where())
		if p.MaxSpeed != nil {
			line("", fmt.Sprintf("at a speed of %g at most (%s)", *p.MaxSpeed, p.LimitedBy))
		}
		client, verdict := 0, 0
		for _, e := range p.Expect {
			if !e.Pinned {
				client, verdict = max(client, len(e.Client)), max(verdict, len(e.Verdict))
			}
		}
		for _, e := range p.Expect {
			if !e.Pinned {
				row := fmt.Sprintf("%*s  %-*s  %-*s  %s", column, "", client, e.Client, verdict, e.Verdict, e.limits())
				_, _ = fmt.Fprintln(w, strings.TrimRight(row, " "))
			}
		}
		for _, l := range pinnedLines(p.Expect) {
			line("", l)
		}
	}
	return w.Flush()
}

// pinnedLines are the pinned verdicts, a line for each.
func pinnedLines(all []expectationDocument) []string {
	var order []string
	names := make(map[string][]string)
	for _, e := range all {
		if !e.Pinned {
			continue
		}
		if !slices.Contains(order, e.Verdict) {
			order = append(order, e.Verdict)
		}
		names[e.Verdict] = append(names[e.Verdict], e.Client)
	}
	slices.Sort(order)
	var lines []string
	for _, verdict := range order {
		lines = append(lines, fmt.Sprintf("others %s: %s", verdict, strings.Join(names[verdict], ", ")))
	}
	return lines
}

// first is a label that only the first line has.
func first(i int, label string) string {
	if i > 0 {
		return ""
	}
	return label
}
