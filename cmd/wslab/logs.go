package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/trace"
)

func (c *cli) logsCommand() *cobra.Command {
	var follow bool
	var name string
	cmd := &cobra.Command{
		Use:   "logs [NODE...]",
		Short: "Show what the nodes of a running lab recorded, in order",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withEngine(cmd, func(e engine.Engine) error {
				running, err := lab.Open(cmd.Context(), e, name)
				if err != nil {
					return err
				}
				nodes, err := nodesNamed(running, args)
				if err != nil {
					return err
				}
				if follow {
					return c.followLogs(cmd, running, nodes)
				}
				return c.allLogs(cmd, running, nodes)
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is recorded from now on")
	cmd.Flags().StringVar(&name, "lab", "", "which lab, when several are running")
	return cmd
}

// nodesNamed returns the nodes asked for, all of the lab when none is.
func nodesNamed(running engine.Lab, args []string) ([]string, error) {
	var all []string
	for _, n := range running.Plan().Nodes {
		all = append(all, n.Name)
	}
	if len(args) == 0 {
		return all, nil
	}
	for _, a := range args {
		if !slices.Contains(all, a) {
			return nil, &lab.NotFoundError{What: "node", Name: a, Known: all}
		}
	}
	return args, nil
}

// allLogs prints what there is, the events of all nodes sorted by time.
func (c *cli) allLogs(cmd *cobra.Command, running engine.Lab, nodes []string) error {
	var events []trace.Event
	for _, n := range nodes {
		r, err := running.Logs(cmd.Context(), n, false)
		if err != nil {
			return fmt.Errorf("logs of %s: %w", n, err)
		}
		c.readLogs(n, r, func(e trace.Event) { events = append(events, e) })
		if err := r.Close(); err != nil {
			return fmt.Errorf("logs of %s: %w", n, err)
		}
	}
	slices.SortStableFunc(events, func(a, b trace.Event) int { return a.Time.Compare(b.Time) })
	for _, e := range events {
		if err := c.printEvent(e); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) followLogs(cmd *cobra.Command, running engine.Lab, nodes []string) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, n := range nodes {
		r, err := running.Logs(cmd.Context(), n, true)
		if err != nil {
			errs = append(errs, fmt.Errorf("logs of %s: %w", n, err))
			continue
		}
		wg.Go(func() {
			defer func() { _ = r.Close() }()
			c.readLogs(n, r, func(e trace.Event) {
				mu.Lock()
				defer mu.Unlock()
				_ = c.printEvent(e)
			})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// readLogs calls f with each event of a node's output; a line that is none (a
// panic) becomes a log event.
func (c *cli) readLogs(node string, r io.Reader, f func(trace.Event)) {
	control.ForEachLine(r, func(line []byte) {
		if e, ok := control.ParseEvent(line); ok {
			f(e)
			return
		}
		if text := strings.TrimSpace(string(line)); text != "" && !strings.HasPrefix(text, `{"id"`) {
			f(trace.Event{Node: node, Type: trace.Log, Detail: text})
		}
	})
}

func (c *cli) printEvent(e trace.Event) error {
	if c.settings.format == "json" {
		return c.printJSONLine(e)
	}
	_, err := fmt.Fprintln(c.out, e.String())
	return err
}
