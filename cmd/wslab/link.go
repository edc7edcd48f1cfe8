package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/node/link"
	"github.com/wslab/wslab/topology"
)

func (c *cli) linkCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "link",
		Short: "Show and change the conditions of networks of a running lab: delay, loss, rate, down",
		Long: `Show and change the conditions of a running lab's networks, and of nodes' places on them.
A network's conditions are for what passes between any two of its nodes, each way; those of a
node's place are for what arrives there and for what leaves it, beside the network's. They act
on every packet.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&name, "lab", "", "which lab, when several are running")
	withLab := c.withRunning(&name)
	cmd.AddCommand(
		&cobra.Command{
			Use:   "set [NODE] NETWORK KEY=VALUE...",
			Short: "Give a network, or a node's place on it, these conditions and no others",
			Long: `Give a network, or a node's place on it, these conditions in place of those that it has.
Times are lab time, as in lab files.

` + conditionsText(),
			Example: "  wslab link set home delay=40ms loss=1%\n  wslab link set alice home profile=3g rate=300kbit\n  wslab link set home down",
			Args:    cobra.MinimumNArgs(1),
			RunE:    withLab(c.linkSet),
		},
		&cobra.Command{
			Use:   "show [NETWORK...]",
			Short: "Show the conditions that there are, and what they have done",
			RunE:  withLab(c.linkShow),
		},
		&cobra.Command{
			Use:     "clear [[NODE] NETWORK]",
			Short:   "Take conditions away; without a network, all of the lab's",
			Example: "  wslab link clear home\n  wslab link clear",
			Args:    cobra.MaximumNArgs(2),
			RunE:    withLab(c.linkClear),
		},
		&cobra.Command{
			Use:   "test [NETWORK]",
			Short: "Measure how exactly conditions are carried out here",
			Long: `Send packets from one node of a network to another under one condition after the other, and
print what was asked for and what came out: the median delay, jitter, the packets of 10,000 that
are lost, come twice or overtake others, and the rate. It takes about a minute. Conditions of
the receiver's place are changed meanwhile, and restored. It ends with 1 where a figure is off
by more than 1 ms (delay), 10 % (jitter, loss, duplicate, reorder) or 3 % (rate).`,
			Args: cobra.MaximumNArgs(1),
			RunE: withLab(c.linkTest),
		},
	)
	return cmd
}

// conditionsText lists the keys and the profiles.
func conditionsText() string {
	var b strings.Builder
	for _, k := range topology.Keys(link.Conditions{}) {
		fmt.Fprintf(&b, "  %-10s %s [%s]\n", k.Name, k.Doc, k.Takes())
	}
	b.WriteString("\nprofile=NAME is one of these, and keys beside it hold in place of its own:\n\n")
	for _, p := range link.Profiles() {
		fmt.Fprintf(&b, "  %-10s %s (%v)\n", p.Name, p.Summary, p.New())
	}
	return b.String()
}

// linkNamed takes a network, or a node and a network, from the words, and returns the rest.
func linkNamed(p *topology.Plan, args []string) (l topology.Link, rest []string, err error) {
	if _, isNode := p.Node(args[0]); isNode {
		l.Node, args = args[0], args[1:]
		if len(args) == 0 {
			return l, nil, usagef("which network of %s? it is on: %s", l.Node, strings.Join(networksOf(p, l.Node), ", "))
		}
	}
	l.Network, rest = args[0], args[1:]
	known := networksOf(p, l.Node)
	if slices.Contains(known, l.Network) {
		return l, rest, nil
	}
	if l.Node != "" && slices.Contains(networksOf(p, ""), l.Network) {
		return l, nil, usagef("%s is not on network %s; it is on: %s", l.Node, l.Network, strings.Join(known, ", "))
	}
	return l, nil, &lab.NotFoundError{What: "network", Name: l.Network, Known: known}
}

// networksOf are the networks of a node, or of the lab.
func networksOf(p *topology.Plan, node string) []string {
	var names []string
	if n, ok := p.Node(node); ok {
		for _, i := range n.Interfaces {
			names = append(names, i.Network)
		}
		return names
	}
	for _, n := range p.Networks {
		names = append(names, n.Name)
	}
	return names
}

func (c *cli) linkSet(cmd *cobra.Command, running engine.Lab, args []string) error {
	l, words, err := linkNamed(running.Plan(), args)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return usagef("which conditions? such as delay=40ms loss=1%%; wslab link clear takes them away")
	}
	conditions, err := topology.ParseConditions(registry(), words)
	if err != nil {
		return err
	}
	if l.Conditions, err = json.Marshal(conditions); err != nil {
		return err
	}
	if err := setLink(cmd.Context(), running, l); err != nil {
		return err
	}
	c.progress("%s has %v", linkText(l), conditions)
	return nil
}

// setLink tells every node concerned.
func setLink(ctx context.Context, running engine.Lab, l topology.Link) error {
	told := running.Plan().Spread(l)
	for _, n := range running.Plan().Nodes {
		if spec, ok := told[n.Name]; ok {
			if err := lab.Call(ctx, running, n.Name, "link.set", spec, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// linkText names a link.
func linkText(l topology.Link) string {
	if l.Node != "" {
		return l.Node + " on network " + l.Network
	}
	return "network " + l.Network
}

// shownLink is the conditions of a link and what they have done to packets, at all nodes.
type shownLink struct {
	Network    string          `json:"network"`
	Node       string          `json:"node,omitempty"`
	Conditions link.Conditions `json:"conditions"`
	Counts     link.Counts     `json:"counts"`
}

// shownLinks asks all nodes.
func shownLinks(ctx context.Context, running engine.Lab) ([]shownLink, error) {
	var all []shownLink
	for _, n := range running.Plan().Nodes {
		var at []link.Shown
		if err := lab.Call(ctx, running, n.Name, "link.show", struct{}{}, &at); err != nil {
			return nil, err
		}
		for _, s := range at {
			i := slices.IndexFunc(all, func(o shownLink) bool { return o.Network == s.Network && o.Node == s.Node })
			if i < 0 {
				i = len(all)
				all = append(all, shownLink{Network: s.Network, Node: s.Node, Conditions: s.Conditions})
			}
			all[i].Counts.Add(s.Counts)
		}
	}
	order := networksOf(running.Plan(), "")
	slices.SortStableFunc(all, func(a, b shownLink) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Network), slices.Index(order, b.Network)), cmp.Compare(a.Node, b.Node))
	})
	return all, nil
}

func (c *cli) linkShow(cmd *cobra.Command, running engine.Lab, args []string) error {
	for _, a := range args {
		if known := networksOf(running.Plan(), ""); !slices.Contains(known, a) {
			return &lab.NotFoundError{What: "network", Name: a, Known: known}
		}
	}
	all, err := shownLinks(cmd.Context(), running)
	if err != nil {
		return err
	}
	shown := []shownLink{}
	for _, s := range all {
		if len(args) == 0 || slices.Contains(args, s.Network) {
			shown = append(shown, s)
		}
	}
	if c.settings.format == "json" {
		return c.printJSON(shown)
	}
	var rows [][]string
	for _, s := range shown {
		rows = append(rows, []string{s.Network, cmp.Or(s.Node, "-"), s.Conditions.String(), fmt.Sprint(s.Counts.Packets), fmt.Sprint(s.Counts.Lost), fmt.Sprint(s.Counts.Duplicated), fmt.Sprint(s.Counts.Full)})
	}
	return c.printTable([]string{"NETWORK", "NODE", "CONDITIONS", "PACKETS", "LOST", "TWICE", "QUEUE FULL"}, rows)
}

func (c *cli) linkClear(cmd *cobra.Command, running engine.Lab, args []string) error {
	var links []topology.Link
	if len(args) > 0 {
		l, rest, err := linkNamed(running.Plan(), args)
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			return usagef("%q is too much: wslab link clear [[NODE] NETWORK]", rest[0])
		}
		links = append(links, l)
	} else {
		all, err := shownLinks(cmd.Context(), running)
		if err != nil {
			return err
		}
		for _, s := range all {
			links = append(links, topology.Link{Network: s.Network, Node: s.Node})
		}
	}
	for _, l := range links {
		if err := setLink(cmd.Context(), running, l); err != nil {
			return err
		}
		c.progress("%s has no conditions any more", linkText(l))
	}
	return nil
}
