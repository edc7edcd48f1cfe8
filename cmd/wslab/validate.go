package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

func (c *cli) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check lab and scenario files; every error at once, with its place",
		Long: `Check lab and scenario files. With --engine, labs are also checked for what that engine
cannot run: a program of this host on Docker, or one that is not installed; an image on netns.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var all topology.Problems
			for _, arg := range args {
				what, err := c.validate(arg)
				var problems topology.Problems
				switch {
				case errors.As(err, &problems):
					all = append(all, problems...)
				case err != nil:
					return err
				default:
					if _, err := fmt.Fprintf(c.out, "%s: a valid %s\n", arg, what); err != nil {
						return err
					}
				}
			}
			if len(all) > 0 {
				return all
			}
			return nil
		},
	}
}

// validate checks one file as what it is: a scenario has steps, a lab has not.
func (c *cli) validate(arg string) (what string, err error) {
	reg := registry()
	if src, err := os.ReadFile(arg); err == nil && scenarios.IsScenario(arg, src) {
		_, err := scenarios.LoadFile(arg, suite.Known(reg))
		return "scenario", err
	}
	l, file, err := lab.Read(arg, reg)
	if err != nil {
		return "", err
	}
	if _, err := topology.NewPlan(l, topology.PlanOptions{File: file, Speed: 1}); err != nil {
		return "lab", err
	}
	return "lab", c.refused(l)
}

// refused says what the engine that the user names cannot run. It need not answer.
func (c *cli) refused(l *topology.Lab) error {
	for _, k := range engines() {
		if k.name != c.settings.engine {
			continue
		}
		e, err := k.open(c.settings, nil)
		if err != nil {
			return err
		}
		defer func() { _ = e.Close() }()
		return l.Refused(e.Name(), e.Refuse)
	}
	return nil
}
