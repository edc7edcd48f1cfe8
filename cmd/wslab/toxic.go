package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
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
	withLab := c.withRunning(&name)
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
stream=upstream|downstream (default downstream), toxicity=0..1 (the share of the connections that it
acts on, default 1), name=... (default TYPE_STREAM), and the attributes of the type: durations as in lab files (in lab time), lists as ping,pong, maps as '{Location: http://portal/}':

` + toxicTypesText(),
			Example: "  wslab toxic add nat latency latency=300ms jitter=20ms\n  wslab toxic add nat ws_frames opcodes=pong action=drop stream=downstream\n  wslab toxic add http-proxy reset",
			Args:    cobra.MinimumNArgs(2),
			RunE:    withLab(c.toxicAdd),
		},
		&cobra.Command{
			Use:   "rm NODE NAME",
			Short: "Remove a toxic; connections stay open",
			Long: `Remove a toxic. The connections that it is on stay open and go on without it, except those
that cannot go on whole: timeout closes them, as in Toxiproxy; reset_peer ends those whose data
it has dropped; and what nat_idle_timeout has forgotten stays forgotten.`,
			Example: "  wslab toxic rm nat latency_downstream",
			Args:    cobra.ExactArgs(2),
			RunE:    withLab(c.toxicRemove),
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
			takes := k.Takes()
			if d := k.Default(); d != "" {
				takes += ", default " + d
			}
			fmt.Fprintf(&b, "  %-18s   %s [%s]: %s\n", "", k.Name, takes, k.Doc)
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
		value := fmt.Sprint(k.Value)
		if list, ok := k.Value.([]string); ok {
			value = strings.Join(list, ",")
		}
		if k.Type.Kind() == reflect.Map {
			value = strings.TrimPrefix(value, "map")
		}
		parts = append(parts, k.Name+"="+value)
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
	var at []topology.ToxicSpec
	if err := lab.Call(cmd.Context(), running, args[0], "toxic.list", struct{}{}, &at); err != nil {
		return err
	}
	var names []string
	for _, t := range at {
		names = append(names, t.Name)
	}
	if !slices.Contains(names, args[1]) {
		if len(names) == 0 {
			return usagef("there is no toxic at %s", args[0])
		}
		return &lab.NotFoundError{What: "toxic", Name: args[1], Known: names}
	}
	if err := lab.Call(cmd.Context(), running, args[0], "toxic.remove", map[string]string{"name": args[1]}, nil); err != nil {
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
