package main

import (
	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
)

func (c *cli) execCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "exec NODE -- CMD [ARG...]",
		Short: "Run a program of this machine inside a node's network",
		Long: `Run a program of this machine (python3, curl, tcpdump, ss ...) in the network namespace
of a node. It sees the node's addresses and routes, resolves the lab's names, and finds the
lab's certificate authority in SSL_CERT_FILE and WSLAB_CA_FILE. Needs Linux, root and a local engine.`,
		Example: "  wslab exec alice -- ss -tn\n  wslab exec alice -- python3 my_client.py",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, program := args[0], args[1:]
			if program[0] == "--" {
				program = program[1:]
			}
			if len(program) == 0 {
				return usagef("what is to be run in %s?\nusage: %s", node, cmd.UseLine())
			}
			return c.withEngine(cmd, func(e engine.Engine) error {
				running, err := lab.Open(cmd.Context(), e, name)
				if err != nil {
					return err
				}
				if _, err := nodesNamed(running, []string{node}); err != nil {
					return err
				}
				code, err := running.Exec(cmd.Context(), node, engine.Command{
					Args: program, Stdin: c.in, Stdout: c.out, Stderr: c.err,
				})
				if err != nil {
					return err
				}
				if code != 0 {
					return &programError{code}
				}
				return nil
			})
		},
	}
	// What follows the node is the program's, dashes included.
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&name, "lab", "", "which lab, when several are running")
	return cmd
}
