package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
)

// psDocument is what `ps --format json` prints for each lab.
type psDocument struct {
	engine.LabStatus
	NodeStatus []engine.NodeStatus `json:"node_status"`
}

func (c *cli) psCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ps",
		Short: "List running labs and their nodes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withEngine(cmd, func(e engine.Engine) error {
				labs, err := e.Labs(cmd.Context())
				if err != nil {
					return err
				}
				docs := make([]psDocument, 0, len(labs))
				for _, l := range labs {
					running, err := e.Open(cmd.Context(), l.Name)
					if errors.Is(err, engine.ErrNoLab) {
						continue // taken down at this moment
					}
					if err != nil {
						return err
					}
					nodes, err := running.Nodes(cmd.Context())
					if errors.Is(err, engine.ErrNoLab) {
						continue
					}
					if err != nil {
						return err
					}
					docs = append(docs, psDocument{l, nodes})
				}
				return c.printPS(docs)
			})
		},
	}
}

func (c *cli) printPS(docs []psDocument) error {
	if c.settings.format == "json" {
		return c.printJSON(docs)
	}
	if len(docs) == 0 {
		c.progress("no lab is running; start one with: wslab up home")
		return nil
	}
	var rows [][]string
	for _, d := range docs {
		age := time.Since(d.Created).Round(time.Second).String()
		if len(d.NodeStatus) == 0 {
			rows = append(rows, []string{d.Name, "-", "-", "-", age, "left over; remove it with: wslab down " + d.Name})
		}
		for _, n := range d.NodeStatus {
			state := string(n.State)
			if n.State == engine.Exited {
				state = fmt.Sprintf("exited (%d)", n.ExitCode)
			}
			if n.Detail != "" {
				state += ": " + n.Detail
			}
			rows = append(rows, []string{d.Name, n.Node, n.Kind, strings.Join(n.Addrs, ","), age, state})
		}
	}
	return c.printTable([]string{"LAB", "NODE", "KIND", "ADDRESSES", "AGE", "STATE"}, rows)
}
