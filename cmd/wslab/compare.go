package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/strategies"
	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
)

// compareStrategies plays scenarios with every built-in strategy, or reads the JSON document of a run, and
// prints what became of each strategy in all of them together.
func (c *cli) compareStrategies(cmd *cobra.Command, args []string) error {
	var played []strategies.Played
	if len(args) == 1 && filepath.Ext(args[0]) == ".json" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		if played, err = strategies.Read(f); err != nil {
			return usagef("%s: %w", args[0], err)
		}
		return c.printComparison(played)
	}
	reg := registry()
	list, err := suite.Find(args, suite.Known(reg))
	if err != nil {
		return err
	}
	clients := func(scenarios.Play) []string { return builtinStrategies() }
	return c.withEngine(cmd, func(e engine.Engine) error {
		s := &suite.Suite{
			Engine: e, Registry: reg, Clients: clients, Progress: c.progress,
			Speed: c.settings.speed, SpeedAsked: c.settings.speedSet,
		}
		outcome, err := c.runSuite(cmd.Context(), s, list, len(args) == 0)
		if err != nil {
			return err
		}
		return c.printComparison(strategies.FromResults(outcome.Results))
	})
}

// rowDocument is a row of the comparison in JSON. Seconds are lab time.
type rowDocument struct {
	Strategy     string  `json:"strategy"`
	Plays        int     `json:"plays"`
	Down         float64 `json:"down_s"`
	Lost         int     `json:"lost"`
	Sent         int     `json:"sent"`
	BytesPerHour float64 `json:"keepalive_bytes_per_hour"`
	Reconnects   int     `json:"reconnects"`
	Survived     int     `json:"survived"`
	Recovered    int     `json:"recovered"`
	Failed       int     `json:"failed"`
}

func (c *cli) printComparison(played []strategies.Played) error {
	all, err := strategies.Compare(played)
	if err != nil {
		return err
	}
	if len(all.LeftOut) > 0 {
		c.progress("left out, because they took part in some of the plays only: %s", strings.Join(all.LeftOut, ", "))
	}
	if c.settings.format == "json" {
		documents := make([]rowDocument, len(all.Rows))
		for i, r := range all.Rows {
			documents[i] = rowDocument{
				Strategy: r.Strategy, Plays: r.Plays, Down: math.Round(r.Down.Seconds()*1000) / 1000, Lost: r.Lost, Sent: r.Sent,
				BytesPerHour: math.Round(r.BytesPerHour), Reconnects: r.Reconnects, Survived: r.Survived, Recovered: r.Recovered, Failed: r.Failed,
			}
		}
		return c.printJSON(documents)
	}
	var rows [][]string
	for _, r := range all.Rows {
		rows = append(rows, []string{
			r.Strategy, fmt.Sprintf("%.1f s", r.Down.Seconds()), fmt.Sprintf("%d of %d", r.Lost, r.Sent), fmt.Sprintf("%.0f", r.BytesPerHour),
			fmt.Sprint(r.Reconnects), fmt.Sprint(r.Survived), fmt.Sprint(r.Recovered), fmt.Sprint(r.Failed),
		})
	}
	if err := c.printTable([]string{"STRATEGY", "LOST TIME", "LOST MESSAGES", "KEEPALIVE B/H", "RECONNECTS", "SURVIVED", "RECOVERED", "FAILED"}, rows); err != nil {
		return err
	}
	least := all.Rows[0]
	if len(all.Rows) == 1 {
		return nil
	}
	_, err = fmt.Fprintf(c.out, "\n%s lost the least time in %d plays; its keepalive takes %.0f bytes per hour, the median of the others %.0f.\n",
		least.Strategy, least.Plays, least.BytesPerHour, all.MedianBytes(least.Strategy))
	return err
}
