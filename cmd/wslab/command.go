package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// cli is what every verb has: where it reads and writes, and the settings.
type cli struct {
	in       io.Reader
	out, err io.Writer
	settings *settings
}

// newCommand returns the root command. Data goes to out, progress and errors to err.
func newCommand(in io.Reader, out, err io.Writer) *cobra.Command {
	c := &cli{in: in, out: out, err: err}
	root := &cobra.Command{
		Use:   "wslab",
		Short: "A lab of real proxies, firewalls and NATs for WebSocket connections",
		Long: `wslab turns a topology file into running networks with clients, proxies, firewalls,
NATs and servers, breaks them while clients talk, and says which keepalive and
reconnect strategy survived and why the others did not.

  wslab up corporate        start a lab
  wslab run                 play every scenario of the running lab
  wslab down                take it away

` + exitCodes,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Hidden {
				return nil // what an engine starts has no settings of the user's
			}
			s, err := readSettings(cmd.Root().PersistentFlags())
			c.settings = s
			return err
		},
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	root.CompletionOptions.HiddenDefaultCmd = false
	addSettingFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w\nsee: %s --help", err, cmd.CommandPath())
	})
	verbs := []*cobra.Command{
		c.upCommand(), c.downCommand(), c.psCommand(), c.inspectCommand(), c.logsCommand(), c.execCommand(),
		c.runCommand(), c.reportCommand(), c.toxicCommand(), c.linkCommand(), c.toxiproxyCommand(), c.validateCommand(), c.graphCommand(), c.presetsCommand(), c.strategiesCommand(), c.handshakeCommand(),
		c.schemaCommand(),
		c.doctorCommand(), c.versionCommand(), c.nodeCommand(), c.nodeExecCommand(), c.supervisorCommand(), c.caretakerCommand(), c.probeCommand(),
		c.containCommand(), c.containInitCommand(), c.clientPortCommand(),
	}
	for _, v := range verbs {
		refuseUnknown(v)
		root.AddCommand(v)
	}
	root.Args = cobra.ArbitraryArgs
	root.SuggestionsMinimumDistance = 2
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("unknown command %q", args[0])
		for i, s := range cmd.SuggestionsFor(args[0]) {
			if i == 0 {
				text += fmt.Sprintf("; did you mean %q?", s)
			}
		}
		return usagef("%s\nsee: wslab --help", text)
	}
	return root
}

// refuseUnknown makes cobra's own complaints about arguments usage errors (exit code 2).
func refuseUnknown(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef("%w\nusage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		refuseUnknown(sub)
	}
}

// progress prints a line for a person on standard error.
func (c *cli) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(c.err, format+"\n", args...)
}
