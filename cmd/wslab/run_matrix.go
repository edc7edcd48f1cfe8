package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/suite"
	"github.com/wslab/wslab/scenarios"
)

// matrix are the flags of run that say how many plays there are, and how many at once.
type matrix struct {
	parallel, shard string
	repeat          int
}

// parallelAuto is as many plays side by side as the machine bears.
const parallelAuto = "auto"

func (m *matrix) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.parallel, "parallel", parallelAuto, "how many plays run side by side at most, each with a lab of its own where the engine is netns; auto is as many as this machine bears without being late")
	cmd.Flags().IntVar(&m.repeat, "repeat", 1, "how often each play is played; says of each client how often each verdict came out")
	cmd.Flags().StringVar(&m.shard, "shard", "", "play one part of several only, such as 2/5: the second of five that take about as long as one another")
}

// into hands the flags to a suite.
func (m *matrix) into(s *suite.Suite) error {
	if m.parallel != parallelAuto {
		n, err := strconv.Atoi(m.parallel)
		if err != nil || n < 1 {
			return usagef("--parallel is %q; it has to be a number of plays, or auto", m.parallel)
		}
		s.Parallel = n
	}
	if m.repeat < 1 || m.repeat > maxRounds {
		return usagef("--repeat is %d; it has to be between 1 and %d", m.repeat, maxRounds)
	}
	s.Repeat = m.repeat
	if m.shard != "" {
		shard, err := suite.ParseShard(m.shard)
		if err != nil {
			return usagef("--shard: %w", err)
		}
		s.Shard = shard
	}
	return nil
}

// runSuite runs a suite and shows how far it is; see [suite.Suite.Run].
func (c *cli) runSuite(ctx context.Context, s *suite.Suite, list []*scenarios.Scenario, all bool) (*suite.Outcome, error) {
	if terminal := c.openConsole(); terminal != nil {
		defer terminal.close()
		s.Progress, s.Watch = terminal.progress, terminal.watch
	}
	s.CareFor = c.careFor
	return s.Run(ctx, list, all)
}

// maxRounds is more than anybody waits for.
const maxRounds = 10000

// printTiming says how long a run of several plays took, beside what it had to take.
func (c *cli) printTiming(t suite.Timing) {
	if t.Plays < 2 {
		return
	}
	c.progress("%d plays in %s, %.1f side by side (at most %d): %.2f times the %s of their lab time at that speed",
		t.Plays, tenths(t.Wall), t.SideBySide(), t.Most, t.Ratio(), tenths(t.Lab))
}

// tenths is a duration as a person reads it.
func tenths(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
