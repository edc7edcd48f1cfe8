package main

import (
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

func (c *cli) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect [LAB]",
		Short: "Show the plan of a running lab: addresses, routes and settings of every node",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withEngine(cmd, func(e engine.Engine) error {
				running, err := lab.Open(cmd.Context(), e, strings.Join(args, ""))
				if err != nil {
					return err
				}
				return c.printPlan(running.Plan())
			})
		},
	}
}

// printPlan leaves the authority's key out: it is nobody's business to read.
func (c *cli) printPlan(p *topology.Plan) error {
	if c.settings.format == "json" {
		shown := *p
		shown.Nodes = slices.Clone(p.Nodes)
		for i := range shown.Nodes {
			if a := shown.Nodes[i].CA; a != nil {
				shown.Nodes[i].CA = &topology.Authority{CertPEM: a.CertPEM}
			}
		}
		return c.printJSON(shown)
	}
	var rows [][]string
	for _, n := range p.Nodes {
		rows = append(rows, []string{n.Name, n.Kind, interfaces(n), routes(n), presetOf(n), settingsText(n)})
	}
	return c.printTable([]string{"NODE", "KIND", "INTERFACES", "ROUTES", "PRESET", "SETTINGS"}, rows)
}

// presetOf names a node's preset and the settings that are from it.
func presetOf(n topology.NodeSpec) string {
	switch {
	case n.Preset == nil:
		return "-"
	case len(n.Preset.Keys) == 0:
		return n.Preset.Name + " (every key overridden)"
	}
	return fmt.Sprintf("%s (%s)", n.Preset.Name, strings.Join(n.Preset.Keys, ", "))
}

func interfaces(n topology.NodeSpec) string {
	var out []string
	for _, i := range n.Interfaces {
		text := fmt.Sprintf("%s %s", i.Network, i.Addr)
		for _, l := range n.Links {
			if l.Network == i.Network && l.From == "" {
				whose := "its place"
				if l.Node == "" {
					whose = "the network"
				}
				text += fmt.Sprintf(" (%s: %s)", whose, conditionsOf(l))
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// conditionsOf writes the conditions of a link as on a command line.
func conditionsOf(l topology.LinkSpec) string {
	var c link.Conditions
	if json.Unmarshal(l.Conditions, &c) != nil {
		return string(l.Conditions)
	}
	return c.String()
}

func routes(n topology.NodeSpec) string {
	var out []string
	for _, r := range n.Routes {
		out = append(out, fmt.Sprintf("%s via %s", r.Dst, r.Via))
	}
	if len(out) == 0 {
		return "-"
	}
	return strings.Join(out, ", ")
}
