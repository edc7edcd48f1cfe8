package main

import (
	"context"
	"errors"
	"slices"

	"github.com/wslab/wslab/internal/report"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
)

// runReported runs a suite and reports what came of it, also where it was interrupted: what was finished
// is in the reports, what was not is marked so.
func (c *cli) runReported(ctx context.Context, s *suite.Suite, list []*scenarios.Scenario, all bool, reports *reporting) error {
	var early error // of files that were written during the run
	s.Played = func(o *suite.Outcome) {
		early = reports.soFar(func() *report.Document { return c.documentOf(s, o) })
	}
	outcome, err := c.runSuite(ctx, s, list, all)
	if outcome == nil {
		return err
	}
	c.printTiming(outcome.Timing)
	d := c.documentOf(s, outcome)
	if len(outcome.Results) > 0 {
		err = errors.Join(err, reports.compare(d))
	}
	written := reports.finish(d)
	if written == nil {
		early = nil // it is written by now
	}
	reported := c.printReport(d)
	if problems := errors.Join(err, written, early); problems != nil {
		// What was played counts, and may say why the rest was not.
		return errors.Join(problems, reported)
	}
	return reported
}

// scopeOf is which cells of a baseline a run is to have. It is all of them, unless scenarios were named; or
// clients were chosen: then those that it has.
func scopeOf(named []string, list []*scenarios.Scenario, chosen bool) func(*report.Document) report.Scope {
	return func(d *report.Document) report.Scope {
		clients := d.Clients()
		return func(scenario, client string) bool {
			return (len(named) == 0 || slices.ContainsFunc(list, func(s *scenarios.Scenario) bool { return s.Name == scenario })) &&
				(!chosen || slices.Contains(clients, client))
		}
	}
}
