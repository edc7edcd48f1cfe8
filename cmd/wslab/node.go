package main

import (
	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine/netns"
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/nsexec"
)

// nodeCommand is what an engine starts on a node's machine.
func (c *cli) nodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "node",
		Short:  "Be a node of a lab (started by the engine)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return node.Run(cmd.Context(), kinds(), c.in, c.out)
		},
	}
}

// nodeExecCommand is the inner half of exec: it enters the namespaces and becomes the program.
func (c *cli) nodeExecCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "node-exec",
		Short:              "Enter a node's namespaces and become a program (started by exec)",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return nsexec.Main(args) },
	}
}

// supervisorCommand holds a lab of the netns engine.
func (c *cli) supervisorCommand() *cobra.Command {
	return &cobra.Command{
		Use:    netns.SupervisorVerb,
		Short:  "Hold a lab in network namespaces (started by up)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return netns.Supervise(cmd.Context()) },
	}
}

// probeCommand tries what labs use of the kernel, in namespaces made for that.
func (c *cli) probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    netns.ProbeVerb,
		Short:  "Try what labs use of the kernel (started by the netns engine)",
		Hidden: true,
		RunE:   func(_ *cobra.Command, args []string) error { return netns.Try(args, c.out) },
	}
}
