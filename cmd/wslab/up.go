package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
)

// errNoWay says that a lab is up and a client cannot reach its server.
var errNoWay = errors.New("a client does not reach its server; the lab is left up to be looked at")

func (c *cli) upCommand() *cobra.Command {
	var name, api string
	cmd := &cobra.Command{
		Use:   "up [LAB]",
		Short: "Start a lab, or make a running one equal to its file",
		Long: `Start the lab of a file, or an embedded lab by its name (default: corporate).
up returns when every node is ready and every client's ways to the server have been
walked once; the lab lives until down. up again on the same file changes nothing, on a
changed file it changes what differs.`,
		Example: "  wslab up labs/corporate.yaml\n  wslab up home --name second --speed 5",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			arg := "corporate"
			if len(args) == 1 {
				arg = args[0]
			}
			l, file, err := lab.Read(arg, registry())
			if err != nil {
				return err
			}
			return c.withEngine(cmd, func(e engine.Engine) error {
				r, err := lab.Up(cmd.Context(), e, l, lab.Options{
					Name: name, File: file, Speed: c.settings.speed, Progress: c.progress,
				})
				if err != nil {
					return err
				}
				if api != "" {
					if err := c.startToxiproxy(cmd.Context(), r.Engine, r.Plan.Lab, api); err != nil {
						return err
					}
				}
				return c.printUp(r)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of this instance (default: the lab's name)")
	cmd.Flags().StringVar(&api, "toxiproxy-api", "", "address at which Toxiproxy's HTTP API answers for the lab, such as 127.0.0.1:8474")
	return cmd
}

// upDocument is what `up --format json` prints.
type upDocument struct {
	Lab       string     `json:"lab"`
	Engine    string     `json:"engine"`
	Speed     float64    `json:"speed"`
	Changed   bool       `json:"changed"`
	Created   []string   `json:"created"`
	Replaced  []string   `json:"replaced"`
	Removed   []string   `json:"removed"`
	ReadySecs float64    `json:"ready_s"`
	Walks     []lab.Walk `json:"walks"`
	Notes     []string   `json:"notes"`
}

func (c *cli) printUp(r *lab.Result) error {
	if c.settings.format == "json" {
		err := c.printJSON(upDocument{
			Lab: r.Plan.Lab, Engine: r.Engine, Speed: r.Plan.Speed, Changed: !r.Changes.None(),
			Created: r.Changes.Created, Replaced: r.Changes.Replaced, Removed: r.Changes.Removed,
			ReadySecs: r.Ready.Seconds(), Walks: r.Walks, Notes: r.Plan.Notes,
		})
		if err != nil {
			return err
		}
	} else if err := c.printUpTable(r); err != nil {
		return err
	}
	lost := slices.DeleteFunc(withoutWay(r.Walks), func(client string) bool { return lab.Blocked(r.Plan, client) })
	if len(lost) > 0 {
		return fmt.Errorf("%w: %s (see: wslab logs %s)", errNoWay, strings.Join(lost, ", "), lost[0])
	}
	next := "wslab run"
	if r.Plan.Lab != r.Plan.Nodes[0].Source {
		next += " --lab " + r.Plan.Lab
	}
	c.progress("next: %s", next)
	return nil
}

func (c *cli) printUpTable(r *lab.Result) error {
	if r.Changes.None() {
		c.progress("lab %s is up already and equal to its file: nothing changed", r.Plan.Lab)
	} else if len(r.Changes.Replaced)+len(r.Changes.Removed) > 0 {
		for _, what := range []struct {
			word  string
			names []string
		}{{"created", r.Changes.Created}, {"replaced", r.Changes.Replaced}, {"removed", r.Changes.Removed}} {
			if len(what.names) > 0 {
				c.progress("%s: %s", what.word, strings.Join(what.names, ", "))
			}
		}
	}
	c.progress("lab %s on engine %s: %d nodes ready in %s, speed %g",
		r.Plan.Lab, r.Engine, len(r.Plan.Nodes), r.Ready.Round(10*time.Millisecond), r.Plan.Speed)
	rows := make([][]string, 0, len(r.Walks))
	for _, w := range r.Walks {
		result := fmt.Sprintf("reached the server in %.3f s", w.Seconds)
		if !w.OK {
			result = fmt.Sprintf("failed at %s: %s", w.Stage, w.Error)
			if lab.Blocked(r.Plan, w.Client) {
				result = fmt.Sprintf("stopped at %s, as the lab means it: %s", w.Stage, w.Error)
			}
		}
		rows = append(rows, []string{w.Client, w.Path, result})
	}
	return c.printTable([]string{"CLIENT", "PATH", "WALKED"}, rows)
}

// withoutWay names the clients of which no way works.
func withoutWay(walks []lab.Walk) []string {
	var all, ok []string
	for _, w := range walks {
		if !slices.Contains(all, w.Client) {
			all = append(all, w.Client)
		}
		if w.OK {
			ok = append(ok, w.Client)
		}
	}
	return slices.DeleteFunc(all, func(client string) bool { return slices.Contains(ok, client) })
}
