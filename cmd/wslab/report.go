package main

import (
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/wslab/wslab/internal/report"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
)

// documentOf is the outcome of a suite as reports have it.
func (c *cli) documentOf(s *suite.Suite, outcome *suite.Outcome) *report.Document {
	run := report.Run{Engine: strings.Join(s.Engines(), ", "), Speed: c.settings.speed, Results: outcome.Results, Unfinished: outcome.Unfinished}
	if s.Shard.Of > 0 {
		run.Shard = s.Shard.String()
	}
	for i, r := range outcome.Results { // a running lab has its own, and some plays bear less
		if i == 0 || r.Speed > run.Speed {
			run.Speed = r.Speed
		}
	}
	return report.NewDocument(run, language(c.settings.lang), version())
}

// printReport writes a document in the format of the settings, and reports an expectation that failed.
func (c *cli) printReport(d *report.Document) error {
	format, ok := report.Find(c.settings.format)
	if !ok {
		return usagef("no report format %q", c.settings.format)
	}
	if err := format.Write(c.out, d, c.reportOptions()); err != nil {
		return err
	}
	if !d.Passed {
		return errExpectation
	}
	return nil
}

// reportOptions looks at where the report goes.
func (c *cli) reportOptions() report.Options {
	var o report.Options
	f, ok := c.out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return o
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		o.Width = width
	}
	_, noColor := os.LookupEnv("NO_COLOR")
	o.Color = !noColor && os.Getenv("TERM") != "dumb"
	return o
}

// language is the one asked for, else that of the locale.
func language(asked string) scenarios.Language {
	for _, locale := range []string{asked, os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")} {
		switch {
		case strings.HasPrefix(locale, "ja"):
			return scenarios.Japanese
		case locale != "":
			return scenarios.English
		}
	}
	return scenarios.English
}
