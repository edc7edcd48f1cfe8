package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/suite"
)

func (c *cli) runCommand() *cobra.Command {
	var keep bool
	var name string
	cmd := &cobra.Command{
		Use:   "run [SCENARIO...]",
		Short: "Play scenarios and say which client survived, and why",
		Long: `Play scenarios: built-in ones by name, or files. Without SCENARIO every scenario of
the running lab; with no lab running every built-in one. A lab that a scenario needs and
that is not running is brought up and taken down again.`,
		Example: "  wslab run\n  wslab run nat-idle --speed 5\n  wslab run my-scenario.yaml --format json",
		RunE: func(cmd *cobra.Command, args []string) error {
			reg := registry()
			list, err := suite.Find(args, suite.Known(reg))
			if err != nil {
				return err
			}
			return c.withEngine(cmd, func(e engine.Engine) error {
				s := &suite.Suite{
					Engine: e, Registry: reg, Lab: name, Keep: keep, Progress: c.progress,
					Speed: c.settings.speed, SpeedAsked: c.settings.speedSet,
				}
				results, err := s.Run(cmd.Context(), list, len(args) == 0)
				if err != nil && len(results) > 0 {
					// What was played before counts, and may say why the rest was not.
					return errors.Join(err, c.printReport(e, results))
				}
				if err != nil {
					return err
				}
				return c.printReport(e, results)
			})
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave a lab up that was brought up for the run")
	cmd.Flags().StringVar(&name, "lab", "", "the running lab to play on, when several are running")
	return cmd
}
