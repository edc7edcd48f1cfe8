package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
)

// diagnosis is what `doctor --format json` prints for each engine.
type diagnosis struct {
	Engine string `json:"engine"`
	// Fit says whether it can run labs here.
	Fit    bool           `json:"fit"`
	Checks []engine.Check `json:"checks"`

	refused error
}

func (c *cli) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check what labs need on this machine, and say what to do about it",
		Long: `Check each engine, and what labs use of the kernel, one line each: what was found, by
what it is needed, what to do. Everything is really tried, in namespaces that are
thrown away. What is missing costs only what the line says; an engine without
something that is unfit runs no lab.

Ends with 3 when no engine can run labs here, or when the one that --engine names cannot.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []diagnosis
			for _, k := range engines() {
				if c.settings.engine == engineAuto || c.settings.engine == k.name {
					all = append(all, diagnose(cmd.Context(), k, c.settings))
				}
			}
			if err := c.printDiagnoses(all); err != nil {
				return err
			}
			var refused []error
			for _, d := range all {
				if d.Fit {
					return nil
				}
				refused = append(refused, d.refused)
			}
			return errors.Join(refused...)
		},
	}
}

// diagnose asks one engine.
func diagnose(ctx context.Context, k engineKind, s *settings) diagnosis {
	d := diagnosis{Engine: k.name}
	e, err := k.open(s, nil)
	if err != nil {
		return d.unfit(err)
	}
	defer func() { _ = e.Close() }()
	if checker, ok := e.(engine.Checker); ok {
		d.Checks = checker.Checks(ctx)
	}
	if err := e.Probe(ctx); err != nil {
		return d.unfit(err)
	}
	d.Fit = true
	return d
}

// unfit notes why the engine can run no lab; a check says so as well.
func (d diagnosis) unfit(err error) diagnosis {
	d.refused = err
	for _, c := range d.Checks {
		if c.Verdict == engine.Unfit {
			return d
		}
	}
	c := engine.Check{Name: "engine", Verdict: engine.Unfit, Found: err.Error(), Needed: "every lab on " + d.Engine}
	var unfit *engine.UnfitError
	if errors.As(err, &unfit) {
		c.Found, c.Remedy = unfit.Problem, unfit.Remedy
	}
	d.Checks = append([]engine.Check{c}, d.Checks...)
	return d
}

func (c *cli) printDiagnoses(all []diagnosis) error {
	if c.settings.format == "json" {
		return c.printJSON(all)
	}
	var rows [][]string
	for _, d := range all {
		for _, check := range d.Checks {
			remedy := check.Remedy
			if remedy == "" || check.Verdict == engine.Untried {
				remedy = "-"
			}
			rows = append(rows, []string{d.Engine, check.Name, string(check.Verdict), check.Found, check.Needed, remedy})
		}
	}
	return c.printTable([]string{"ENGINE", "CHECK", "", "FOUND", "NEEDED BY", "WHAT TO DO"}, rows)
}
