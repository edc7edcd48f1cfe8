// Package suite plays scenarios, as many side by side as the machine bears: it finds the
// running lab that a play needs or brings one up for it, and takes down what it has brought up.
package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/report"
	"github.com/wslab/wslab/labs"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

// Suite plays scenarios on an engine. A Suite runs once.
type Suite struct {
	Engine   engine.Engine
	Registry *topology.Registry
	// Lab names the running instance to play on; empty is any that fits.
	Lab string
	// As is the name or the file of the lab whose plays are played on the lab that
	// Lab names; empty is that lab's own. Plays that change settings which a node of that
	// lab does not have are left out.
	As string
	// Speed for labs that are brought up. A lab that runs already keeps its own.
	Speed float64
	// SpeedAsked says that the user asked for the speed: a running lab of
	// another speed is then an error rather than a surprise.
	SpeedAsked bool
	// Clients says which strategies a play is played with, see [scenarios.Play.PlayedBy]; nil
	// is those that it has expectations of.
	Clients func(scenarios.Play) []string
	// Programs are clients that are not wslab's own; without Clients they play alone.
	Programs []scenarios.Program
	// Keep leaves labs up that were brought up.
	Keep bool
	// Parallel is how many plays run side by side at most; 0 is as many as the machine bears
	// without being late.
	Parallel int
	// Repeat is how often each play is played; 0 and 1 are once.
	Repeat int
	// Shard is the part of the plays that is played; the zero Shard is all.
	Shard Shard
	// CareFor sees to it that a lab which would outlive this process is taken down if this process is killed,
	// until relieve is called. Whoever does it inherits claim, if it is not nil, and has it until the lab
	// is down. CareFor may be nil.
	CareFor func(engine, lab string, claim *os.File) (relieve func() error, err error)
	// Progress takes lines about what is being done. It may be nil.
	Progress engine.Progress
	// Watch takes how far the run is, whenever that changes and twice a second. It may be nil:
	// then a line tells of each play that ends.
	Watch func(State)
	// Played takes what there is so far each time a play has ended, one call at a time. It may be nil.
	Played func(*Outcome)

	engines []string
	jobs    []*job
}

// Outcome is what came of a run. Results and Unfinished are in the order of the plays, whatever
// ended first; of a play that is repeated the rounds follow one another.
type Outcome struct {
	Results []*scenarios.Result
	// Unfinished are the plays that were asked for and did not come to an end.
	Unfinished []report.Unfinished
	Timing     Timing
}

// Engines names the engines that plays were played on, in their order.
func (s *Suite) Engines() []string { return s.engines }

// Known is what scenario files may name.
func Known(reg *topology.Registry) scenarios.Known {
	return scenarios.Known{
		Registry: reg,
		Labs:     labs.Names(),
		Lab: func(ref string) (*topology.Lab, error) {
			l, _, err := lab.Read(ref, reg)
			return l, err
		},
	}
}

// Find returns the scenarios that are named: files, or built-in ones by name. No
// name is every built-in one.
func Find(names []string, known scenarios.Known) ([]*scenarios.Scenario, error) {
	var builtin []*scenarios.Scenario
	if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return !isFile(n) }) {
		var err error
		if builtin, err = scenarios.Builtin(known); err != nil || len(names) == 0 {
			return builtin, err
		}
	}
	var found []*scenarios.Scenario
	for _, name := range names {
		if isFile(name) {
			s, err := scenarios.LoadFile(name, known)
			if err != nil {
				return nil, err
			}
			found = append(found, s)
			continue
		}
		s, err := findBuiltin(builtin, name)
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, nil
}

// isFile says whether an argument is meant to be a file rather than a name.
func isFile(arg string) bool { return strings.ContainsAny(arg, `/\`) || filepath.Ext(arg) != "" }

func findBuiltin(builtin []*scenarios.Scenario, name string) (*scenarios.Scenario, error) {
	i := slices.IndexFunc(builtin, func(s *scenarios.Scenario) bool { return s.Name == name })
	if i < 0 {
		return nil, &lab.NotFoundError{What: "scenario", Name: name, Known: scenarios.Names()}
	}
	return builtin[i], nil
}

// ErrNoPlay says that none of the scenarios is for the lab.
var ErrNoPlay = errors.New("no scenario is for this lab")

// find returns the running instance of a lab: by the name that the lab has in its
// file, or by the file.
func find(running []engine.LabStatus, ref string) *engine.LabStatus {
	for i := range running {
		if running[i].Source == ref || lab.SameFile(running[i].File, ref) {
			return &running[i]
		}
	}
	return nil
}

// why says how a node ended, for the cause of a play.
func why(running engine.Lab) func(context.Context, string) string {
	return func(ctx context.Context, node string) string {
		nodes, err := running.Nodes(ctx)
		if err != nil {
			return err.Error()
		}
		for _, n := range nodes {
			if n.Node == node && n.State == engine.Exited {
				return fmt.Sprintf("exit code %d: %s", n.ExitCode, n.Detail)
			}
		}
		return ""
	}
}

func (s *Suite) progress(format string, args ...any) {
	if s.Progress != nil {
		s.Progress(format, args...)
	}
}

// SpeedMismatchError says that a lab runs at another speed than was asked for.
type SpeedMismatchError struct {
	Lab            string
	Running, Asked float64
}

// Error says what to do about it.
func (e *SpeedMismatchError) Error() string {
	return fmt.Sprintf("lab %s runs at speed %g, not %g: start it anew with: wslab up %s --speed %g",
		e.Lab, e.Running, e.Asked, e.Lab, e.Asked)
}
