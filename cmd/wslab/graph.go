package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/topology"
)

func (c *cli) graphCommand() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:     "graph LAB",
		Short:   "Draw a lab as Mermaid or SVG",
		Example: "  wslab graph corporate > corporate.mmd\n  wslab graph --as svg labs/home.yaml > home.svg",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, _, err := lab.Read(args[0], registry())
			if err != nil {
				return err
			}
			switch as {
			case "mermaid":
				_, err = fmt.Fprint(c.out, topology.Mermaid(l))
				return err
			case "svg":
				return topology.SVG(l, c.out)
			}
			return usagef("--as is %q; it can be: mermaid, svg", as)
		},
	}
	cmd.Flags().StringVar(&as, "as", "mermaid", "mermaid or svg")
	return cmd
}
