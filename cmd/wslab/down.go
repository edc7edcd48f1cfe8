package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
)

func (c *cli) downCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down [LAB]",
		Short: "Take a lab away, whatever state it is in",
		Long: `Remove everything of a lab: containers, networks and, when no other lab uses it, the
node image; also what a killed up left behind. Without LAB the only running one.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return usagef("down takes a LAB or --all, not both")
			}
			return c.withEngine(cmd, func(e engine.Engine) error {
				names, err := c.downNames(cmd, e, args, all)
				if errors.Is(err, lab.ErrNoneRunning) {
					c.progress("no lab is running: nothing to take down")
					return nil
				}
				if err != nil {
					return err
				}
				for _, name := range names {
					if err := e.Down(cmd.Context(), name, c.progress); err != nil {
						return err
					}
					c.progress("lab %s is gone", name)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every lab on this engine")
	return cmd
}

// downNames are the labs to be taken down. It is empty when one that was hardly
// there yet is gone already.
func (c *cli) downNames(cmd *cobra.Command, e engine.Engine, args []string, all bool) ([]string, error) {
	if all {
		labs, err := e.Labs(cmd.Context())
		if err == nil && len(labs) == 0 {
			err = lab.ErrNoneRunning
		}
		var names []string
		for _, l := range labs {
			names = append(names, l.Name)
		}
		return names, err
	}
	name := ""
	if len(args) == 1 {
		name = args[0]
	}
	status, err := lab.Find(cmd.Context(), e, name)
	var missing *lab.NotFoundError
	if errors.As(err, &missing) {
		// What a killed up was about to make may not be listed yet; the engine
		// looks more closely.
		if downErr := e.Down(cmd.Context(), name, c.progress); !errors.Is(downErr, engine.ErrNoLab) {
			return nil, downErr
		}
	}
	if err != nil {
		return nil, err
	}
	return []string{status.Name}, nil
}
