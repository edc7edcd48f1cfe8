// Package suite plays scenarios: it finds the running lab that a play needs or
// brings one up for it, and takes down what it has brought up.
package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/labs"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

// Suite plays scenarios on an engine.
type Suite struct {
	Engine   engine.Engine
	Registry *topology.Registry
	// Lab names the running instance to play on; empty is any that fits.
	Lab string
	// Speed for labs that are brought up. A lab that runs already keeps its own.
	Speed float64
	// SpeedAsked says that the user asked for the speed: a running lab of
	// another speed is then an error rather than a surprise.
	SpeedAsked bool
	// Keep leaves labs up that were brought up.
	Keep bool
	// Progress may be nil.
	Progress engine.Progress
}

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

// stage is a lab with the plays on it.
type stage struct {
	ref   string // what the scenarios call the lab
	plays []scenarios.Play
}

// Run plays scenarios, those of one lab after another. When all is set and a lab is
// running, only plays for it are played: those are "every scenario of the running
// lab". What it brings up it takes down again, also when ctx ends, unless Keep is set.
func (s *Suite) Run(ctx context.Context, list []*scenarios.Scenario, all bool) ([]*scenarios.Result, error) {
	running, err := s.Engine.Labs(ctx)
	if err != nil {
		return nil, err
	}
	// What is left of a lab is nothing to play on.
	running = slices.DeleteFunc(running, func(l engine.LabStatus) bool { return l.Running == 0 })
	if s.Lab != "" {
		one, err := lab.Find(ctx, s.Engine, s.Lab)
		if err != nil {
			return nil, err
		}
		running = []engine.LabStatus{*one}
	}
	stages := stagesOf(list)
	if (all && len(running) > 0) || s.Lab != "" {
		stages = slices.DeleteFunc(stages, func(st stage) bool { return find(running, st.ref) == nil })
		if len(stages) == 0 {
			return nil, fmt.Errorf("%w: %s; name a scenario to play it on a lab of its own", ErrNoPlay, running[0].Name)
		}
	}
	var results []*scenarios.Result
	for _, st := range stages {
		r, err := s.stage(ctx, st, find(running, st.ref))
		results = append(results, r...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// stagesOf groups plays by lab, in the order in which labs come first.
func stagesOf(list []*scenarios.Scenario) []stage {
	var stages []stage
	for _, sc := range list {
		for _, p := range sc.Plays() {
			i := slices.IndexFunc(stages, func(st stage) bool { return st.ref == p.Lab })
			if i < 0 {
				i = len(stages)
				stages = append(stages, stage{ref: p.Lab})
			}
			stages[i].plays = append(stages[i].plays, p)
		}
	}
	return stages
}

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

// stage plays everything that is for one lab.
func (s *Suite) stage(ctx context.Context, st stage, status *engine.LabStatus) (results []*scenarios.Result, err error) {
	name, speed := "", s.Speed
	if status != nil {
		speed = status.Speed
	}
	for _, p := range st.plays {
		if most, key := p.MaxSpeed(); most > 0 && speed > most {
			return nil, fmt.Errorf("scenario %s: %w", p.Scenario.Name, &topology.SpeedError{Speed: speed, Max: most, Key: key})
		}
	}
	if status == nil {
		var down func(context.Context) error
		name, down, err = s.bringUp(ctx, st.ref)
		if err != nil {
			return nil, err
		}
		defer func() {
			if s.Keep {
				s.progress("lab %s is left up; take it down with: wslab down %s", name, name)
				return
			}
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), downWithin)
			defer cancel()
			err = errors.Join(err, down(ending))
		}()
	} else {
		name = status.Name
		if s.SpeedAsked && s.Speed != status.Speed {
			return nil, &SpeedMismatchError{Lab: name, Running: status.Speed, Asked: s.Speed}
		}
	}
	running, err := s.Engine.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	for i, p := range st.plays {
		s.progress("%s on %s (%d of %d, %s)", p.Scenario.Name, name, i+1, len(st.plays), wallText(p.Scenario.Duration(), running.Plan().Speed))
		r, err := scenarios.Run(ctx, running, p, scenarios.Options{Progress: s.Progress, Why: why(running)})
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// downWithin bounds how long taking a lab down may take when the run was interrupted.
const downWithin = 30 * time.Second

// bringUp starts a lab for its plays.
func (s *Suite) bringUp(ctx context.Context, ref string) (name string, down func(context.Context) error, err error) {
	l, file, err := lab.Read(ref, s.Registry)
	if err != nil {
		return "", nil, err
	}
	s.progress("bringing up lab %s", l.Name)
	r, err := lab.Up(ctx, s.Engine, l, lab.Options{File: file, Speed: s.Speed, Progress: s.Progress})
	if err != nil {
		return "", nil, err
	}
	name = r.Plan.Lab
	return name, func(ctx context.Context) error { return s.Engine.Down(ctx, name, nil) }, nil
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

func wallText(d time.Duration, speed float64) string {
	return time.Duration(float64(d) / speed).Round(time.Second).String()
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
