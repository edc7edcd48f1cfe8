package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/internal/report"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

// job is a play that is to be played once.
type job struct {
	play scenarios.Play
	// round of the play, from 1; 0 where it is played once.
	round int
	stage *stage
	speed float64

	// What came of it: a result, or why there is none. left out is neither.
	result  *scenarios.Result
	why     string
	leftOut bool
}

// stage is a lab that plays are for.
type stage struct {
	ref string // what the scenarios call the lab
	lab *topology.Lab
	// file it was read from, as `wslab ps` shows it.
	file string
	// running is the instance that the user has brought up, or nil.
	running *engine.LabStatus
	// own says that each play has an instance of its own.
	own bool
}

// name of the play for a person.
func (j *job) String() string {
	text := j.play.Scenario.Name + " on " + j.stage.lab.Name
	if j.play.Client != "" {
		text += " from " + j.play.Client
	}
	if j.play.Path != "" {
		text += " through " + j.play.Path
	}
	if j.round > 0 {
		text += fmt.Sprintf(", round %d", j.round)
	}
	return text
}

// lasts is how long the steps of the play take, in wall time.
func (j *job) lasts() time.Duration {
	return time.Duration(float64(j.play.Scenario.Duration()) / j.speed)
}

// unfinished is the job as one that did not come to an end.
func (j *job) unfinished() report.Unfinished {
	why := j.why
	if j.round > 0 {
		why = fmt.Sprintf("round %d: %s", j.round, why)
	}
	return report.Unfinished{
		Scenario: j.play.Scenario.Name, Lab: j.stage.lab.Name, Path: j.play.Path, From: j.play.Client, With: j.play.Changed(), Clients: j.play.Clients(), Why: why,
	}
}

// plan works out what is to be played, and on which labs. all says that no scenario was named.
func (s *Suite) plan(ctx context.Context, list []*scenarios.Scenario, all bool) error {
	running, err := s.running(ctx)
	if err != nil {
		return err
	}
	stages, err := s.stages(list, running)
	if err != nil {
		return err
	}
	onRunning := (all && len(running) > 0) || s.Lab != ""
	var jobs []*job
	for _, sc := range list {
		for _, p := range sc.Plays() {
			st := stages[p.Lab]
			if onRunning && st.running == nil {
				continue
			}
			j := &job{play: s.cast(p), stage: st}
			ok, err := s.setSpeed(j, all)
			if err != nil {
				return err
			}
			if ok {
				jobs = append(jobs, j)
			}
		}
	}
	if len(jobs) == 0 && onRunning {
		return fmt.Errorf("%w: %s; name a scenario to play it on a lab of its own, or play here what is for a lab with the same nodes: --lab %[2]s --as LAB", ErrNoPlay, running[0].Name)
	}
	s.jobs = s.repeat(s.ofShard(jobs))
	return nil
}

// cast gives a play the clients that were asked for. Programs play alone, unless strategies
// are asked for as well.
func (s *Suite) cast(p scenarios.Play) scenarios.Play {
	var strategies []string
	if s.Clients != nil {
		strategies = s.Clients(p)
	}
	if len(s.Programs) > 0 {
		p = p.WithPrograms(s.Programs)
	}
	if s.Clients == nil && len(s.Programs) == 0 {
		return p
	}
	return p.PlayedBy(strategies)
}

// running are the labs that there are to play on.
func (s *Suite) running(ctx context.Context) ([]engine.LabStatus, error) {
	if s.Lab != "" {
		one, err := lab.Find(ctx, s.Engine, s.Lab)
		if err != nil {
			return nil, err
		}
		return []engine.LabStatus{*one}, nil
	}
	running, err := s.Engine.Labs(ctx)
	if err != nil {
		return nil, err
	}
	// What is left of a lab is nothing to play on, nor is another run's own.
	return slices.DeleteFunc(running, func(l engine.LabStatus) bool { return l.Running == 0 || l.Tied }), nil
}

// stages are the labs of the plays, by what the scenarios call them.
func (s *Suite) stages(list []*scenarios.Scenario, running []engine.LabStatus) (map[string]*stage, error) {
	stages := make(map[string]*stage)
	var known []string
	as := false
	for _, sc := range list {
		for _, p := range sc.Plays() {
			if stages[p.Lab] != nil {
				continue
			}
			known = append(known, p.Lab)
			st := &stage{ref: p.Lab, running: find(running, p.Lab)}
			if s.As != "" && !as && (p.Lab == s.As || lab.SameFile(p.Lab, s.As)) {
				as, st.running = true, &running[0]
			}
			var err error
			if st.lab, st.file, err = lab.Read(p.Lab, s.Registry); err != nil {
				return nil, err
			}
			stages[p.Lab] = st
		}
	}
	if s.As != "" && !as {
		return nil, &lab.NotFoundError{What: "lab that a scenario is for", Name: s.As, Known: known}
	}
	return stages, nil
}

// setSpeed decides at which speed a play is played. A running lab has its own. A play that does
// not bear the speed that was asked for is refused if it was named; of all it is played at
// the largest that it bears.
func (s *Suite) setSpeed(j *job, all bool) (play bool, err error) {
	if j.stage.running != nil {
		j.speed = j.stage.running.Speed
		if s.SpeedAsked && s.Speed != j.speed {
			return false, &SpeedMismatchError{Lab: j.stage.running.Name, Running: j.speed, Asked: s.Speed}
		}
		if most, key := j.play.MaxSpeed(); most > 0 && j.speed > most {
			refused := &topology.SpeedError{Speed: j.speed, Max: most, Key: key}
			if !all {
				return false, fmt.Errorf("scenario %s: %w", j.play.Scenario.Name, refused)
			}
			s.progress("left out: %s: %s", j, refused)
			return false, nil
		}
		return true, nil
	}
	j.speed = s.Speed
	var refused *topology.SpeedError
	if _, err := topology.NewPlan(j.stage.lab, topology.PlanOptions{Speed: j.speed}); errors.As(err, &refused) {
		j.speed = refused.Max
	} else if err != nil {
		return false, err
	}
	if most, key := j.play.MaxSpeed(); most > 0 && j.speed > most {
		refused = &topology.SpeedError{Speed: s.Speed, Max: most, Key: key}
		j.speed = most
	}
	if refused == nil {
		return true, nil
	}
	if !all {
		return false, fmt.Errorf("scenario %s: %w", j.play.Scenario.Name, refused)
	}
	s.progress("%s is played at speed %g: speed %g takes %s under one second, which the kernel does not count", j, j.speed, s.Speed, refused.Key)
	return true, nil
}

// ofShard leaves out what is in other shards.
func (s *Suite) ofShard(jobs []*job) []*job {
	if s.Shard.Of == 0 {
		return jobs
	}
	durations := make([]time.Duration, len(jobs))
	for i, j := range jobs {
		durations[i] = j.lasts() + overheadAtFirst
	}
	picked := s.Shard.pick(durations)
	var mine []*job
	for i, j := range jobs {
		if picked[i] {
			mine = append(mine, j)
		}
	}
	s.progress("shard %s: %d of %d plays", s.Shard, len(mine), len(jobs))
	return mine
}

// repeat makes a job for each round of each.
func (s *Suite) repeat(jobs []*job) []*job {
	if s.Repeat <= 1 {
		return jobs
	}
	var rounds []*job
	for _, j := range jobs {
		for n := range s.Repeat {
			one := *j
			one.round = n + 1
			rounds = append(rounds, &one)
		}
	}
	return rounds
}

// track is jobs that follow one another on one instance of a lab.
type track []*job

// tracks divides the jobs into what may run side by side: with a lab of its own each, or those
// of one lab after another. The longest come first, so that none is left over at the end; of
// repeated plays the first rounds do.
func (s *Suite) tracks() ([]track, error) {
	var all []track
	shared := make(map[string]int)
	fit := make(map[*stage]bool)
	for _, j := range s.jobs {
		st := j.stage
		if !fit[st] && st.running == nil {
			e, err := engine.For(s.Engine, st.lab, s.Progress)
			if err != nil {
				return nil, err
			}
			_, st.own = engine.AsEphemeral(e)
			st.own = st.own && !s.Keep
			fit[st] = true
		}
		if st.own {
			all = append(all, track{j})
			continue
		}
		// Two files may have labs of one name, which cannot be up at the same time.
		name := st.lab.Name
		if st.running != nil {
			name = st.running.Name
		}
		i, ok := shared[name]
		if !ok {
			i = len(all)
			shared[name] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], j)
	}
	for _, t := range all {
		// A lab comes up once for each speed, and what is for another lab does not come between.
		slices.SortStableFunc(t, func(a, b *job) int {
			return cmp.Or(cmp.Compare(a.stage.ref, b.stage.ref), cmp.Compare(b.speed, a.speed), cmp.Compare(a.round, b.round))
		})
	}
	slices.SortStableFunc(all, func(a, b track) int {
		return cmp.Or(cmp.Compare(a[0].round, b[0].round), cmp.Compare(b.lasts(), a.lasts()))
	})
	return all, nil
}

func (t track) lasts() (d time.Duration) {
	for _, j := range t {
		d += j.lasts() + overheadAtFirst
	}
	return d
}

// same says whether two jobs can be played on one instance of a lab.
func same(a, b *job) bool { return a.stage == b.stage && a.speed == b.speed }
