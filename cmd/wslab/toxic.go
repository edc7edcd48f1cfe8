package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/topology"
	"github.com/wslab/wslab/toxics"
)

func (c *cli) toxicCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "toxic",
		Short: "List, add and remove toxics of a running lab",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&name, "lab", "", "which lab, when several are running")
	withLab := func(f func(*cobra.Command, engine.Lab, []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			return c.withEngine(cmd, func(e engine.Engine) error {
				running, err := lab.Open(cmd.Context(), e, name)
				if err != nil {
					return err
				}
				return f(cmd, running, args)
			})
		}
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "ls [NODE...]",
			Short: "List the toxics that are there now",
			RunE:  withLab(c.toxicList),
		},
		&cobra.Command{
			Use:   "add NODE TYPE [KEY=VALUE...]",
			Short: "Add a toxic; it reaches the connections that are open",
			Long: `Add a toxic to a proxy, firewall or NAT. It reaches the connections that are open.
stream=upstream|downstream (default downstream), toxicity=0..1, name=... and the attributes
of the type, durations as in lab files (in lab time):

` + toxicTypesText(),
			Example: "  wslab toxic add nat latency latency=300ms jitter=20ms\n  wslab toxic add http-proxy reset",
			Args:    cobra.MinimumNArgs(2),
			RunE:    withLab(c.toxicAdd),
		},
		&cobra.Command{
			Use:   "rm NODE NAME",
			Short: "Remove a toxic; connections stay open",
			Args:  cobra.ExactArgs(2),
			RunE:  withLab(c.toxicRemove),
		},
	)
	return cmd
}

// toxicTypesText lists the types with their attributes.
func toxicTypesText() string {
	var b strings.Builder
	for _, t := range toxics.Types() {
		fmt.Fprintf(&b, "  %-18s %s\n", t.Name, t.Summary)
		for _, k := range topology.Keys(t.Attributes()) {
			fmt.Fprintf(&b, "  %-18s   %s: %s\n", "", k.Name, k.Doc)
		}
	}
	return b.String()
}

// placedToxic is a toxic with the node it is at.
type placedToxic struct {
	At string `json:"at"`
	topology.ToxicSpec
}

func (c *cli) toxicList(cmd *cobra.Command, running engine.Lab, args []string) error {
	nodes, err := nodesNamed(running, args)
	if err != nil {
		return err
	}
	reg := registry()
	list := []placedToxic{}
	for _, n := range nodes {
		spec, _ := running.Plan().Node(n)
		if kind, ok := reg.Kind(spec.Kind); !ok || !kind.Carries {
			continue
		}
		var at []topology.ToxicSpec
		if err := lab.Call(cmd.Context(), running, n, "toxic.list", struct{}{}, &at); err != nil {
			return err
		}
		for _, t := range at {
			list = append(list, placedToxic{n, t})
		}
	}
	if c.settings.format == "json" {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, t := range list {
		rows = append(rows, []string{t.At, t.Name, t.Type, t.Stream, fmt.Sprint(t.Toxicity), attributesText(reg, t.ToxicSpec)})
	}
	return c.printTable([]string{"NODE", "NAME", "TYPE", "STREAM", "TOXICITY", "ATTRIBUTES"}, rows)
}

// attributesText prints attributes as they would be written.
func attributesText(reg *topology.Registry, t topology.ToxicSpec) string {
	kind, ok := reg.ToxicType(t.Type)
	if !ok {
		return string(t.Attributes)
	}
	attributes := kind.Attributes()
	if err := json.Unmarshal(t.Attributes, attributes); err != nil {
		return string(t.Attributes)
	}
	var parts []string
	for _, k := range topology.Keys(attributes) {
		parts = append(parts, fmt.Sprintf("%s=%v", k.Name, k.Value))
	}
	return strings.Join(parts, " ")
}

func (c *cli) toxicAdd(cmd *cobra.Command, running engine.Lab, args []string) error {
	reg := registry()
	if err := carries(running, reg, args[0]); err != nil {
		return err
	}
	spec, err := topology.ParseToxic(reg, args[1], args[2:])
	if err != nil {
		return err
	}
	var answer struct {
		Unreached int `json:"unreached"`
	}
	if err := lab.Call(cmd.Context(), running, args[0], "toxic.add", spec, &answer); err != nil {
		return err
	}
	c.progress("toxic %s is at %s", spec.Name, args[0])
	if answer.Unreached > 0 {
		c.progress("%d open connections could not be reached by it: the kernel forwards them; new ones are", answer.Unreached)
	}
	return nil
}

func (c *cli) toxicRemove(cmd *cobra.Command, running engine.Lab, args []string) error {
	if err := carries(running, registry(), args[0]); err != nil {
		return err
	}
	err := lab.Call(cmd.Context(), running, args[0], "toxic.remove", map[string]string{"name": args[1]}, nil)
	if err != nil {
		return err
	}
	c.progress("toxic %s is gone from %s", args[1], args[0])
	return nil
}

// carries refuses nodes that toxics cannot be put at.
func carries(running engine.Lab, reg *topology.Registry, node string) error {
	if _, err := nodesNamed(running, []string{node}); err != nil {
		return err
	}
	spec, _ := running.Plan().Node(node)
	kind, ok := reg.Kind(spec.Kind)
	if ok && kind.Carries {
		return nil
	}
	var can []string
	for _, n := range running.Plan().Nodes {
		if k, ok := reg.Kind(n.Kind); ok && k.Carries {
			can = append(can, n.Name)
		}
	}
	return usagef("%s is a %s and carries no streams; toxics can be at: %s", node, spec.Kind, strings.Join(can, ", "))
}
