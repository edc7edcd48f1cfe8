package main

import (
	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
)

func (c *cli) runCommand() *cobra.Command {
	var keep, showList bool
	var showOne string
	var name, as string
	var matrix matrix
	var strategies []string
	var own clientFlags
	var reports reportFlags
	cmd := &cobra.Command{
		Use:   "run [SCENARIO...]",
		Short: "Play scenarios and say which client survived, and why",
		Long: `Play scenarios: built-in ones by name, or files. Without SCENARIO every scenario of
the running lab; with no lab running every built-in one. A lab that a scenario needs and
that is not running is brought up and taken down again.

As many plays run side by side as this machine bears without being late; a play during which it was
late all the same is said to be one whose result cannot be trusted. On netns each play has a lab of its
own. On Docker those of one lab follow one another on it, as on a lab that runs already.

A play that does not bear the speed that was asked for is refused if its scenario is named; without SCENARIO
it is played at the largest speed that it bears.`,
		Example: "  wslab run\n  wslab run --list\n  wslab run --explain nat-idle\n  wslab run nat-idle --speed 5\n  wslab run my-scenario.yaml --format json\n  wslab run --report junit=wslab.xml --report html=wslab.html\n  wslab run --lab corporate-debian --as corporate",
		RunE: func(cmd *cobra.Command, args []string) error {
			reg := registry()
			if as != "" && name == "" {
				return usagef("--as needs --lab, the running lab to play on")
			}
			if showOne != "" {
				return c.explainNamed(showOne, args, reg)
			}
			list, err := suite.Find(args, suite.Known(reg))
			if err != nil {
				return err
			}
			if showList {
				return c.printScenarios(list)
			}
			clients, err := playedBy(strategies, list)
			if err != nil {
				return err
			}
			programs, err := own.programs(c, strategiesOf(list))
			if err != nil {
				return err
			}
			s := &suite.Suite{
				Registry: reg, Lab: name, As: as, Keep: keep, Clients: clients, Programs: programs, Progress: c.progress,
				Speed: c.settings.speed, SpeedAsked: c.settings.speedSet,
			}
			if err := matrix.into(s); err != nil {
				return err
			}
			reporting, err := reports.check(c)
			if err != nil {
				return err
			}
			reporting.scope = scopeOf(args, list, len(strategies) > 0 || programs != nil)
			if len(own.ports) > 0 {
				s.Parallel = 1 // one play has the port
			}
			return c.withEngine(cmd, func(e engine.Engine) error {
				s.Engine = e
				return c.runReported(cmd.Context(), s, list, len(args) == 0, reporting)
			})
		},
	}
	cmd.Flags().BoolVar(&showList, "list", false, "list the scenarios by what they are about, and play none")
	cmd.Flags().StringVar(&showOne, "explain", "", "show all there is to know about this scenario, and play none")
	_ = cmd.RegisterFlagCompletionFunc("explain", cobra.FixedCompletions(scenarios.Names(), cobra.ShellCompDirectiveDefault)) // the flag is there
	matrix.addFlags(cmd)
	cmd.Flags().BoolVar(&keep, "keep", false, "leave a lab up that was brought up for the run")
	cmd.Flags().StringVar(&name, "lab", "", "the running lab to play on, when several are running")
	cmd.Flags().StringVar(&as, "as", "", "play what is for this lab on the one that --lab names, which has the same nodes")
	cmd.Flags().StringSliceVar(&strategies, "strategies", nil, "the strategies that play, such as ws-ping,socket.io, or all; those that a scenario expects something of if left out")
	_ = cmd.RegisterFlagCompletionFunc("strategies", cobra.FixedCompletions(append(builtinStrategies(), everyStrategy), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	own.add(cmd.Flags())
	reports.add(cmd.Flags())
	return cmd
}
