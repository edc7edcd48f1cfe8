package main

import (
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/report"
	"github.com/wslab/wslab/scenarios"
)

// printReport writes the results in the format of the settings, and reports an
// expectation that failed.
func (c *cli) printReport(e engine.Engine, results []*scenarios.Result) error {
	run := report.Run{Engine: e.Name(), Speed: c.settings.speed, Results: results}
	if len(results) > 0 {
		run.Speed = results[0].Speed // a running lab has its own
	}
	format, ok := report.Find(c.settings.format)
	if !ok {
		return usagef("no report format %q", c.settings.format)
	}
	if err := format.Write(c.out, run, c.reportOptions()); err != nil {
		return err
	}
	if !run.Passed() {
		return errExpectation
	}
	return nil
}

// reportOptions looks at where the report goes.
func (c *cli) reportOptions() report.Options {
	o := report.Options{Language: language(c.settings.lang)}
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
