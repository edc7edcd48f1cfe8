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
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := c.engine(cmd)
			var unfit *engine.UnfitError
			if errors.As(err, &unfit) {
				if _, werr := fmt.Fprintln(c.out, "docker: unfit"); werr != nil {
					return werr
				}
				return err
			}
			if err != nil {
				return err
			}
			defer func() { _ = e.Close() }()
			_, err = fmt.Fprintf(c.out, "%s: ready\n", e.Name())
			return err
		},
	}
}
