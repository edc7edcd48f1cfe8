package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wslab/wslab/internal/clients"
	"github.com/wslab/wslab/internal/contain"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

// portPatience is how long a play waits until somebody connects to a port, in wall time: it may be
// a person with a browser.
const portPatience = time.Minute

// clientFlags are the flags of `run` that name clients which are not wslab's own.
type clientFlags struct {
	commands, images, ports, like []string
}

func (f *clientFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.commands, "client", nil, "a client of yours that plays, as a command of the shell or NAME='COMMAND'; several make columns")
	flags.StringArrayVar(&f.images, "client-image", nil, "the same as a container image (docker): IMAGE [ARG...] or NAME='IMAGE [ARG...]'")
	flags.StringArrayVar(&f.ports, "client-port", nil, "a port of 127.0.0.1 that comes out at the client node, for a browser, an emulator or anything on this machine: PORT or NAME=PORT")
	flags.StringArrayVar(&f.like, "like", nil, "the strategy whose expectations your clients are held to, or NAME=STRATEGY; without it they have to survive or recover")
}

// named is the value of a flag in two parts. Names are in small letters: FOO=1 ./client is a command.
var named = regexp.MustCompile(`(?s)^([a-z][a-z0-9-]*)=(.*)$`)

// split takes NAME=VALUE apart; without a name it is the given one.
func split(text, unnamed string) (name, value string) {
	if m := named.FindStringSubmatch(text); m != nil {
		return m[1], strings.TrimSpace(m[2])
	}
	return unnamed, strings.TrimSpace(text)
}

// programs are the clients that the flags name. known are the names of strategies.
func (f *clientFlags) programs(c *cli, known []string) ([]scenarios.Program, error) {
	var all []scenarios.Program
	add := func(flag, text, unnamed, wants string, make func(value string) (scenarios.Launcher, error)) error {
		name, value := split(text, unnamed)
		if value == "" {
			return usagef("--%s %q: it wants %s", flag, text, wants)
		}
		if slices.ContainsFunc(all, func(p scenarios.Program) bool { return p.Name == name }) {
			return usagef("two clients are called %s: give each a name, such as --%s mine='%s'", name, flag, value)
		}
		if slices.Contains(known, name) {
			return usagef("--%s: %s is the name of a strategy: call it otherwise, such as my-%[2]s", flag, name)
		}
		launcher, err := make(value)
		if err != nil {
			return err
		}
		all = append(all, scenarios.Program{Name: name, Launcher: launcher})
		return nil
	}
	for _, text := range f.commands {
		if err := add("client", text, "client", "a command", func(command string) (scenarios.Launcher, error) {
			return clients.Command(command), nil
		}); err != nil {
			return nil, err
		}
	}
	for _, text := range f.images {
		if err := add("client-image", text, "image", "the name of an image", func(image string) (scenarios.Launcher, error) {
			return clients.Image(image), nil
		}); err != nil {
			return nil, err
		}
	}
	for _, text := range f.ports {
		if err := add("client-port", text, "port", "a port", func(port string) (scenarios.Launcher, error) {
			number, err := strconv.ParseUint(port, 10, 16)
			if err != nil || number == 0 {
				return nil, usagef("--client-port %q: %q is no port; it can be 1 to 65535", text, port)
			}
			p := clients.NewPort(int(number))
			p.Opened = func(url string) { c.progress("waiting for a client at %s", url) }
			return p, nil
		}); err != nil {
			return nil, err
		}
		all[len(all)-1].Patience = portPatience
	}
	return all, f.liken(all, known)
}

// strategiesOf are the strategies that scenarios know.
func strategiesOf(list []*scenarios.Scenario) []string {
	names := builtinStrategies()
	for _, s := range list {
		for _, p := range s.Plays() {
			for _, name := range p.Clients() {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// liken says which strategies clients are held to.
func (f *clientFlags) liken(all []scenarios.Program, known []string) error {
	if len(f.like) > 0 && len(all) == 0 {
		return usagef("--like is for --client, --client-image and --client-port, and there is none of them")
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	for _, text := range f.like {
		name, like := split(text, "")
		if !slices.Contains(known, like) {
			hint := topology.Suggest(like, known)
			return usagef("--like %s: there is no strategy %q; %s", text, like, hint)
		}
		if name != "" && !slices.Contains(names, name) {
			return usagef("--like %s: there is no client %q; there is: %s", text, name, strings.Join(names, ", "))
		}
		for i := range all {
			if name == "" || all[i].Name == name {
				all[i].Like = like
			}
		}
	}
	return nil
}

// containCommand runs a program of --client so that nothing of it is left.
func (c *cli) containCommand() *cobra.Command {
	return inner(contain.Verb, "Run a program in a PID namespace of its own (started by run --client)", contain.Main)
}

// containInitCommand is the first process of that namespace, or of a container.
func (c *cli) containInitCommand() *cobra.Command {
	return inner(contain.InitVerb, "Be the first process of a PID namespace (started by run --client)", contain.Init)
}

// inner is a hidden command that ends with the exit code of a program.
func inner(verb, short string, run func([]string) (int, error)) *cobra.Command {
	return &cobra.Command{
		Use:                verb,
		Short:              short,
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := run(args)
			if err != nil {
				cmd.PrintErrln("wslab:", err)
				code = max(code, exitFailed)
			}
			return &programError{code}
		},
	}
}

// clientPortCommand serves --client-port at a client node.
func (c *cli) clientPortCommand() *cobra.Command {
	return &cobra.Command{
		Use:                clients.ForwardVerb,
		Short:              "Forward a port of the host (started by run --client-port)",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE:               func(cmd *cobra.Command, args []string) error { return clients.Forward(cmd.Context(), args) },
	}
}
