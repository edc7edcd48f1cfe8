package main

import (
	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/report"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

func (c *cli) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "schema [lab|scenario|report]",
		Short:     "Print the JSON schema of lab or scenario files, for editors, or of JSON reports",
		Example:   "  wslab schema > lab.schema.json",
		ValidArgs: []string{"lab", "scenario", "report"},
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			reg := registry()
			if len(args) == 1 && args[0] == "scenario" {
				return c.printJSON(scenarios.Schema(suite.Known(reg)))
			}
			if len(args) == 1 && args[0] == "report" {
				return c.printJSON(report.Schema())
			}
			return c.printJSON(topology.Schema(reg))
		},
	}
}
