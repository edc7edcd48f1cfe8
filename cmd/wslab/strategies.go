package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/strategies"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

func (c *cli) strategiesCommand() *cobra.Command {
	var compare, herd bool
	var clients int
	var down time.Duration
	cmd := &cobra.Command{
		Use:   "strategies [NAME]",
		Short: "List how clients keep a connection and get it back, show one, or compare them",
		Long: `List the built-in strategies: those of wslab's own, and those of real libraries with the
version and the source. BLACK HOLE is how long the client takes to notice that nothing
gets through any more while nobody speaks, calculated from its settings.

NAME+resume is the same strategy in a session that outlives its connections: what the other end
has not acknowledged is sent again over the next one.

With --compare scenarios are played with every built-in strategy: the built-in ones, or those that
are named. The JSON document of a run takes the place of playing. The table says for each strategy, over
all plays: the time without a connection that worked, the messages that were lost, what keepalive
costs in bytes of WebSocket frames in an hour with a connection open, and the verdicts.

With --herd many clients of each strategy lose their connections at the same moment, and the server
refuses them while it is down. It is calculated from the strategies, without a lab, with the same
random numbers each time: how often each client tries, how many arrive together at most, and when the last is back.`,
		Example: "  wslab strategies\n  wslab strategies socket.io\n  wslab strategies --compare --speed 10\n  wslab strategies --compare run.json\n  wslab strategies --herd --clients 500 --down 30s",
		Args: func(cmd *cobra.Command, args []string) error {
			if compare || herd {
				return nil
			}
			return cobra.MaximumNArgs(1)(cmd, args)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if compare {
				return scenarios.Names(), cobra.ShellCompDirectiveDefault
			}
			if len(args) > 0 && !herd {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, n := range strategy.Builtin() {
				names = append(names, cobra.CompletionWithDesc(n.Name, n.Summary))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case compare:
				return c.compareStrategies(cmd, args)
			case herd:
				return c.printHerd(args, clients, down)
			case cmd.Flags().Changed("clients"), cmd.Flags().Changed("down"):
				return usagef("--clients and --down need --herd")
			}
			all := strategy.Builtin()
			if len(args) == 0 {
				return c.printStrategies(all)
			}
			base, resumes := strings.CutSuffix(args[0], strategy.ResumeSuffix)
			i := slices.IndexFunc(all, func(n strategy.Named) bool { return n.Name == base })
			if i < 0 {
				return usagef("there is no strategy %q; %s", args[0], topology.Suggest(args[0], registry().Strategies))
			}
			n := all[i]
			n.Name, n.Strategy = args[0], n.Resuming(resumes)
			if c.settings.format == "json" {
				return c.printJSON(strategyJSON(n))
			}
			return c.printStrategy(n)
		},
	}
	cmd.Flags().BoolVar(&compare, "compare", false, "play scenarios with every strategy, or read the JSON of a run, and say how each did")
	cmd.Flags().BoolVar(&herd, "herd", false, "say how clients come back that lose their connections at the same moment")
	cmd.Flags().IntVar(&clients, "clients", 1000, "with --herd: how many clients of each strategy")
	cmd.Flags().DurationVar(&down, "down", time.Minute, "with --herd: how long the server is down")
	cmd.MarkFlagsMutuallyExclusive("compare", "herd")
	return cmd
}

// strategyDocument is a strategy in JSON. Windows are null where nobody notices.
type strategyDocument struct {
	Name      string `json:"name"`
	Version   string `json:"version,omitempty"`
	Summary   string `json:"summary"`
	WhenQuiet string `json:"when_quiet"`
	// BlackHole is what the client takes to notice one, ServerBlackHole the server.
	BlackHole       *windowDocument `json:"black_hole"`
	ServerBlackHole *windowDocument `json:"server_black_hole"`
	// Settings are the keys of a strategy in a lab file, with the defaults filled in.
	Settings any      `json:"settings"`
	Sources  []string `json:"sources,omitempty"`
	Note     string   `json:"note,omitempty"`
}

// windowDocument is a window in seconds.
type windowDocument struct {
	Least float64 `json:"least_s"`
	Most  float64 `json:"most_s"`
}

func windowJSON(w strategy.Window) *windowDocument {
	if w.Never() {
		return nil
	}
	return &windowDocument{w.Least.Seconds(), w.Most.Seconds()}
}

func strategyJSON(n strategy.Named) strategyDocument {
	return strategyDocument{
		Name: n.Name, Version: n.Version, Summary: n.Summary, WhenQuiet: n.WhenQuiet(),
		BlackHole: windowJSON(n.Detection()), ServerBlackHole: windowJSON(n.ServerDetection()),
		Settings: strategies.SettingsOf(n.Strategy), Sources: n.Sources, Note: n.Note,
	}
}

func (c *cli) printStrategies(all []strategy.Named) error {
	if c.settings.format == "json" {
		documents := make([]strategyDocument, len(all))
		for i, n := range all {
			documents[i] = strategyJSON(n)
		}
		return c.printJSON(documents)
	}
	var rows [][]string
	for _, n := range all {
		rows = append(rows, []string{n.Name, n.WhenQuiet(), n.Detection().String(), n.Reconnects(), dash(n.Version)})
	}
	return c.printTable([]string{"NAME", "WHEN QUIET", "BLACK HOLE", "RECONNECT", "FROM"}, rows)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// printStrategy shows all there is to know about a strategy.
func (c *cli) printStrategy(n strategy.Named) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	line := func(label, text string) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", label, text) // Flush tells
	}
	line("Strategy", n.Name)
	line("", n.Summary)
	if n.Version != "" {
		line("From", n.Version)
	}
	line("When quiet", n.WhenQuiet())
	line("Black hole", "noticed by the client: "+n.Detection().String())
	if n.Keepalive.Server != nil {
		line("", "noticed by the server: "+n.ServerDetection().String())
	}
	line("Reconnect", n.Reconnects())
	for i, text := range strategies.SettingsOf(n.Strategy) {
		label := ""
		if i == 0 {
			label = "Settings"
		}
		line(label, text.String())
	}
	for i, source := range n.Sources {
		label := ""
		if i == 0 {
			label = "Sources"
		}
		line(label, source)
	}
	if n.Note != "" {
		line("Note", strings.TrimSpace(n.Note))
	}
	return w.Flush()
}
