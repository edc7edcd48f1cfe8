package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
)

func (c *cli) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check what labs need on this machine, and say what to do about it",
		Long: `Check each engine: one line each. Ends with 3 when none can run labs here, or when
the one that --engine names cannot.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var fit int
			var refused []error
			for _, k := range engines() {
				if c.settings.engine != engineAuto && c.settings.engine != k.name {
					continue
				}
				e, err := fitEngine(cmd.Context(), k, c.settings)
				var unfit *engine.UnfitError
				switch {
				case errors.As(err, &unfit):
					refused = append(refused, err)
					err = c.printLine("%-8s unfit: %s", k.name, unfit.Problem)
				case err == nil:
					fit++
					err = errors.Join(c.printLine("%-8s ready", k.name), e.Close())
				}
				if err != nil {
					return err
				}
			}
			if fit == 0 {
				return errors.Join(refused...)
			}
			return nil
		},
	}
}

// printLine writes one line to standard output.
func (c *cli) printLine(format string, args ...any) error {
	_, err := fmt.Fprintf(c.out, format+"\n", args...)
	return err
}
