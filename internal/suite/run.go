package suite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/scenarios"
)

// Why plays are not finished.
const (
	interrupted   = "interrupted while it was played"
	notBegun      = "interrupted before it was begun"
	labDidNotCome = "its lab could not be brought up: "
	afterUnfit    = "not begun, after this machine turned out to be unfit"
)

// Run plays scenarios. Where labs cost little and share nothing (see [engine.Ephemeral]) every play has
// a lab of its own, and ends with it; elsewhere, and on a lab that runs already, those of one lab
// follow one another. When all is set and a lab is running, only plays for it are played: those
// are "every scenario of the running lab".
//
// A play that cannot be played does not keep others from being played. The error says what went wrong,
// and the outcome what there is nevertheless; it is nil if nothing was begun. What Run brings up it
// takes down again, also when ctx ends, unless Keep is set.
func (s *Suite) Run(ctx context.Context, list []*scenarios.Scenario, all bool) (*Outcome, error) {
	if err := s.plan(ctx, list, all); err != nil {
		return nil, err
	}
	tracks, err := s.tracks()
	if err != nil {
		return nil, err
	}
	r := &run{Suite: s, pace: newPace(s.Parallel, s.Speed), alone: len(tracks) <= 1 || s.Parallel == 1}
	r.board = newBoard(s.jobs, r.pace, s.Watch)
	playing, stop := context.WithCancelCause(ctx)
	r.stop = stop
	var watching sync.WaitGroup
	watching.Go(func() { r.pace.adapt(playing) })
	watching.Go(func() { r.board.follow(playing) })
	r.play(playing, tracks)
	stop(nil)
	watching.Wait()
	if ctx.Err() != nil {
		r.failed(context.Cause(ctx))
	}
	return r.outcome(), errors.Join(r.errs...)
}

// run is a run under way.
type run struct {
	*Suite
	pace  *pace
	board *board
	// alone says that one play follows another, so that each can be told of in detail.
	alone bool
	stop  context.CancelCauseFunc

	mu   sync.Mutex
	errs []error
}

// play plays all tracks and returns when the last has ended and its lab is down.
func (r *run) play(ctx context.Context, tracks []track) {
	var playing sync.WaitGroup
	for _, t := range tracks {
		// Each waits here for its turn: the order in which they begin is that of the tracks.
		if err := r.pace.bringUp(ctx); err != nil {
			r.leave(t, r.notBegun(ctx))
			continue
		}
		playing.Go(func() { r.track(ctx, t) })
	}
	playing.Wait()
}

// leave says why plays will not be played.
func (r *run) leave(t track, why string) {
	for _, j := range t {
		r.end(j, nil, why)
	}
}

// notBegun says why a play was not begun.
func (r *run) notBegun(ctx context.Context) string {
	var unfit *engine.UnfitError
	if errors.As(context.Cause(ctx), &unfit) {
		return afterUnfit
	}
	return notBegun
}

// failed keeps an error. On a machine that is unfit nothing else is tried.
func (r *run) failed(err error) {
	r.mu.Lock()
	r.errs = append(r.errs, err)
	r.mu.Unlock()
	var unfit *engine.UnfitError
	if errors.As(err, &unfit) {
		r.stop(err)
	}
}

// end keeps what came of a job, and tells of it.
func (r *run) end(j *job, result *scenarios.Result, why string) {
	r.mu.Lock()
	j.result, j.why = result, why
	r.mu.Unlock()
	if result != nil {
		result.Round = j.round
	}
	r.board.end(j)
	if r.Played != nil { // before a line says that it was played
		r.mu.Lock()
		r.Played(r.snapshot())
		r.mu.Unlock()
	}
	if result != nil && result.Untrusted != "" {
		r.progress("%s: the result cannot be trusted: %s", j, result.Untrusted)
	}
	if !r.alone && r.Watch == nil && result != nil {
		st := r.board.state()
		r.progress("%s: played (%d of %d%s)", j, st.Done, st.Total, toGo(st.Left))
	}
}

// toGo says how much time is left, where there is any to speak of.
func toGo(left time.Duration) string {
	if left < time.Second {
		return ""
	}
	return ", about " + left.Round(time.Second).String() + " to go"
}

// track plays jobs on one lab after another: one instance for those that follow one another at
// the same speed. The pace counts it as coming up when it begins.
func (r *run) track(ctx context.Context, t track) {
	for len(t) > 0 {
		n := 1
		for n < len(t) && same(t[0], t[n]) {
			n++
		}
		if ctx.Err() != nil {
			r.pace.isUp(false)
			r.leave(t, r.notBegun(ctx))
			return
		}
		r.instance(ctx, t[:n])
		t = t[n:]
		if len(t) > 0 {
			if err := r.pace.bringUp(ctx); err != nil {
				r.leave(t, r.notBegun(ctx))
				return
			}
		}
	}
}

// instance plays jobs on one instance of their lab.
func (r *run) instance(ctx context.Context, t track) {
	name, down, err := r.bringUp(ctx, t[0])
	r.pace.isUp(err == nil)
	if err != nil {
		why := labDidNotCome + err.Error()
		if ctx.Err() != nil {
			why = r.notBegun(ctx)
		} else {
			r.failed(fmt.Errorf("lab %s: %w", t[0].stage.lab.Name, err))
		}
		r.leave(t, why)
		return
	}
	for i, j := range t {
		if err := r.pace.play(ctx); err != nil {
			r.leave(t[i:], r.notBegun(ctx))
			break
		}
		began := time.Now()
		r.job(ctx, j, name)
		if j.result != nil {
			r.pace.ends(began, j.result.Untrusted == "")
		}
		r.pace.played(i+1 < len(t))
	}
	if err := down(context.WithoutCancel(ctx)); err != nil {
		r.failed(err)
	}
}

// job plays one play on a lab.
func (r *run) job(ctx context.Context, j *job, name string) {
	r.board.begin(j)
	o := scenarios.Options{}
	if r.alone {
		o.Progress = r.Progress
		st := r.board.state()
		r.progress("%s on %s (%d of %d, %s)", j.play.Scenario.Name, name, st.Done+1, st.Total, j.lasts().Round(time.Second))
	}
	result, err := r.playOn(ctx, j, name, o)
	var other *scenarios.OtherKindError
	switch {
	case err == nil:
		r.end(j, result, "")
	case r.As != "" && errors.As(err, &other):
		r.mu.Lock()
		j.leftOut = true
		r.mu.Unlock()
		r.progress("left out: %s", other)
		r.end(j, nil, "")
	case ctx.Err() != nil:
		r.end(j, nil, interrupted)
	default:
		r.failed(err)
		r.end(j, nil, err.Error())
	}
}

func (r *run) playOn(ctx context.Context, j *job, name string, o scenarios.Options) (*scenarios.Result, error) {
	running, err := r.Engine.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	o.Why = why(running)
	return scenarios.Run(ctx, running, j.play, o)
}

// downWithin bounds how long taking a lab down may take when the run was interrupted.
const downWithin = 30 * time.Second

// bringUp finds the instance for a job, or brings one up. down takes down what was brought up.
func (r *run) bringUp(ctx context.Context, j *job) (name string, down func(context.Context) error, err error) {
	if on := j.stage.running; on != nil {
		r.note(on.Engine)
		return on.Name, func(context.Context) error { return nil }, nil
	}
	l := j.stage.lab
	o := lab.Options{File: j.stage.file, Speed: j.speed, Tied: j.stage.own}
	if j.stage.own {
		o.Name = InstanceName(l.Name)
	}
	if r.alone {
		r.progress("bringing up lab %s", l.Name)
		o.Progress = r.Progress
	}
	claim, err := r.claim(ctx, j)
	if err != nil {
		return "", nil, err
	}
	relieve, err := r.careFor(ctx, j, claim)
	if err != nil {
		return "", nil, errors.Join(err, release(claim))
	}
	up, err := lab.Up(ctx, r.Engine, l, o)
	if err != nil {
		return "", nil, errors.Join(err, relieve(), release(claim))
	}
	r.note(up.Engine)
	name = up.Plan.Lab
	if r.Keep {
		return name, func(context.Context) error {
			r.progress("lab %s is left up; take it down with: wslab down %s", name, name)
			return release(claim)
		}, nil
	}
	return name, func(ctx context.Context) error {
		return errors.Join(takeDown(ctx, r.Engine, name, up.Tie), relieve(), release(claim))
	}, nil
}

// claim makes the lab of a job this run's own where labs are shared by all: another run that has it ends
// first. It returns what holds the claim, nil for none.
func (r *run) claim(ctx context.Context, j *job) (held *os.File, err error) {
	e, err := engine.For(r.Engine, j.stage.lab, nil)
	if err != nil {
		return nil, err
	}
	c, ok := engine.AsClaimer(e)
	if !ok || j.stage.own {
		return nil, nil
	}
	return c.Claim(ctx, j.stage.lab.Name, r.Progress)
}

// release ends a claim, nil for none.
func release(held *os.File) error {
	if held == nil {
		return nil
	}
	return held.Close()
}

// careFor lets somebody else take a lab down that is not tied to this process, should that be killed.
// That one holds the claim as well, until it is done.
func (r *run) careFor(ctx context.Context, j *job, claim *os.File) (relieve func() error, err error) {
	nobody := func() error { return nil }
	if r.CareFor == nil || r.Keep || j.stage.own {
		return nobody, nil
	}
	_, err = r.Engine.Open(ctx, j.stage.lab.Name)
	if !errors.Is(err, engine.ErrNoLab) {
		return nobody, err // it is there: somebody else's
	}
	e, err := engine.For(r.Engine, j.stage.lab, nil)
	if err != nil {
		return nil, err
	}
	return r.CareFor(e.Name(), j.stage.lab.Name, claim)
}

// takeDown takes a lab down, and lets go of its tie if it has one.
func takeDown(ctx context.Context, e engine.Engine, name string, tie io.Closer) error {
	if tie != nil {
		return lab.EndTied(ctx, e, name, tie)
	}
	ending, cancel := context.WithTimeout(ctx, downWithin)
	defer cancel()
	return e.Down(ending, name, nil)
}

// InstanceName is a name for an instance of a lab that no other has.
func InstanceName(lab string) string {
	const longest = 30 // as names are
	suffix := "-" + strings.ToLower(rand.Text()[:6])
	return strings.TrimRight(lab[:min(len(lab), longest-len(suffix))], "-") + suffix
}

// note keeps the name of an engine that is played on.
func (r *run) note(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.engines {
		if n == name {
			return
		}
	}
	r.engines = append(r.engines, name)
}

// outcome is what there is of the run.
func (r *run) outcome() *Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot()
}

// notYet is the reason of plays that have not come to an end when a report is written meanwhile.
const notYet = "not finished yet: the run goes on, or was killed"

// snapshot is the outcome as it stands. The caller holds mu.
func (r *run) snapshot() *Outcome {
	o := &Outcome{Timing: r.board.sum()}
	for _, j := range r.jobs {
		switch {
		case j.result != nil:
			o.Results = append(o.Results, j.result)
		case j.leftOut:
		default:
			u := *j
			if u.why == "" {
				u.why = notYet
			}
			o.Unfinished = append(o.Unfinished, u.unfinished())
		}
	}
	return o
}
