package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/report"
)

func (c *cli) reportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Reports of runs that are over",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.mergeCommand())
	return cmd
}

func (c *cli) mergeCommand() *cobra.Command {
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "merge FILE...",
		Short: "Make one report of several JSON reports: the shards of a run",
		Long: `Make one report of the JSON reports of a run's shards, or any other format of one JSON report. What is
not alike about them (version, speed, engine) is said in the report; shards that overlap are refused; a
shard that is missing fails, as a client does that was not as expected.`,
		Example: "  wslab run --shard 1/2 --report json=1.json\n  wslab run --shard 2/2 --report json=2.json\n  wslab report merge 1.json 2.json --report html=wslab.html,junit=wslab.xml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := flags.check(c)
			if err != nil {
				return err
			}
			var parts []report.Part
			var wrong []error
			for _, file := range args {
				d, err := readReport(file)
				if err != nil {
					wrong = append(wrong, err)
					continue
				}
				parts = append(parts, report.Part{File: file, Document: d})
			}
			if len(wrong) > 0 {
				return usagef("%w", errors.Join(wrong...))
			}
			d, err := report.Merge(parts)
			if err != nil {
				return usagef("%w", err)
			}
			if err := r.compare(d); err != nil {
				return err
			}
			if err := r.finish(d); err != nil {
				return err
			}
			return c.printReport(d)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}
