package suite

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/scenarios"
	"github.com/wslab/wslab/topology"
)

// jobOf is a play of a number of seconds.
func jobOf(name string, st *stage, seconds int, speed float64) *job {
	return &job{
		play:  scenarios.Play{Scenario: &scenarios.Scenario{Name: name, Steps: []scenarios.Step{&scenarios.Talk{For: time.Duration(seconds) * time.Second}}}},
		stage: st, speed: speed,
	}
}

func names(tracks []track) []string {
	var all []string
	for _, t := range tracks {
		var line []string
		for _, j := range t {
			line = append(line, j.String())
		}
		all = append(all, strings.Join(line, "; "))
	}
	return all
}

// costly is an engine that only knows what a lab may need.
type costly struct{ engine.Engine }

func (costly) Name() string                            { return "costly" }
func (costly) Refuse(topology.Needs) *topology.Refusal { return nil }

// ephemeral is one whose labs cost little.
type ephemeral struct {
	costly
	engine.Ephemeral
}

// TestTracks: where labs cost little each play has its own, the longest first; elsewhere a lab comes up
// once for the plays of one speed. A lab that runs already is played on in any case.
func TestTracks(t *testing.T) {
	jobs := func(running *engine.LabStatus) []*job {
		home := &stage{ref: "home", lab: &topology.Lab{Name: "home"}, running: running}
		office := &stage{ref: "office", lab: &topology.Lab{Name: "office"}}
		return []*job{
			jobOf("a", home, 10, 1), jobOf("b", office, 40, 1), jobOf("c", home, 20, 1), jobOf("d", home, 5, 0.5), jobOf("e", office, 1, 1),
		}
	}
	for _, test := range []struct {
		name    string
		engine  engine.Engine
		keep    bool
		running *engine.LabStatus
		want    []string
	}{
		{"own labs", ephemeral{}, false, nil, []string{"b on office", "c on home", "a on home", "d on home", "e on office"}},
		{"shared labs", costly{}, false, nil, []string{"a on home; c on home; d on home", "b on office; e on office"}},
		{"labs to be kept", ephemeral{}, true, nil, []string{"a on home; c on home; d on home", "b on office; e on office"}},
		{"a running lab", ephemeral{}, false, &engine.LabStatus{Name: "mine"}, []string{"a on home; c on home; d on home", "b on office", "e on office"}},
	} {
		s := &Suite{Engine: test.engine, Keep: test.keep, jobs: jobs(test.running)}
		tracks, err := s.tracks()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, names(tracks)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// TestRounds: all rounds of a play are there, beside one another, and the first rounds begin first.
func TestRounds(t *testing.T) {
	home := &stage{ref: "home", lab: &topology.Lab{Name: "home"}}
	s := &Suite{Engine: ephemeral{}, Repeat: 2}
	s.jobs = s.repeat([]*job{jobOf("a", home, 10, 1), jobOf("b", home, 20, 1)})
	var order []string
	for _, j := range s.jobs {
		order = append(order, j.String())
	}
	if diff := cmp.Diff([]string{"a on home, round 1", "a on home, round 2", "b on home, round 1", "b on home, round 2"}, order); diff != "" {
		t.Error(diff)
	}
	tracks, err := s.tracks()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b on home, round 1", "a on home, round 1", "b on home, round 2", "a on home, round 2"}, names(tracks)); diff != "" {
		t.Error(diff)
	}
}

// TestPaceFollowsTheMachine: fewer side by side where this process is woken late, more where it is not.
func TestPaceFollowsTheMachine(t *testing.T) {
	p := newPace(0, 10)
	first := p.limit
	p.playing = first
	p.observe(p.busy + 1)
	if p.limit != first-1 {
		t.Errorf("busy: %d after %d", p.limit, first)
	}
	p.observe(p.busy / 2)
	if p.limit != first-1 {
		t.Errorf("neither busy nor calm: %d", p.limit)
	}
	p.observe(0)
	if p.limit != first {
		t.Errorf("calm: %d", p.limit)
	}
	p.playing = 0
	p.observe(0)
	if p.limit != first {
		t.Errorf("one more although there are not as many: %d", p.limit)
	}
	for range 100 {
		p.observe(time.Second)
	}
	if p.limit != p.cores {
		t.Errorf("%d on %d cores", p.limit, p.cores)
	}
	fixed := newPace(3, 10)
	fixed.adapt(t.Context()) // returns at once
	if fixed.limit != 3 {
		t.Errorf("%d, not 3", fixed.limit)
	}
}

// TestPaceFollowsThePlays: fewer side by side where plays come out bent, once for all that ran beside
// one another; more again where a number of them did not.
func TestPaceFollowsThePlays(t *testing.T) {
	p := newPace(0, 10)
	p.cores = 2
	p.limit, p.bears, p.playing = 6, 24, 6
	began := time.Now()
	for range 3 {
		p.ends(began, false)
	}
	if p.limit != 5 || p.bears != 5 {
		t.Fatalf("limit %d, bears %d", p.limit, p.bears)
	}
	p.playing = 5
	p.observe(0)
	if p.limit != 5 {
		t.Errorf("limit %d", p.limit)
	}
	for range 6 {
		p.ends(time.Now(), true)
	}
	p.observe(0)
	if p.limit != 6 || p.bears != 6 {
		t.Errorf("limit %d, bears %d", p.limit, p.bears)
	}
	for range 10 {
		p.ends(time.Now(), false)
	}
	if p.limit != 1 || p.bears != 1 {
		t.Errorf("limit %d, bears %d", p.limit, p.bears)
	}
	fixed := newPace(3, 10)
	fixed.ends(time.Now(), false)
	if fixed.limit != 3 {
		t.Errorf("limit %d where it is fixed", fixed.limit)
	}
}

// TestPaceHoldsToItsLimit: no more labs come up and no more plays run than there may.
func TestPaceHoldsToItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(2, 10)
		ended := 0
		for range 20 {
			go func() {
				if err := p.bringUp(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				p.isUp(true)
				if err := p.play(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Second)
				p.played(false)
				p.mu.Lock()
				ended++
				p.mu.Unlock()
			}()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if limit, most := p.sideBySide(); limit != 2 || most != 2 || ended != 20 || p.comingUp+p.ready+p.playing != 0 {
			t.Errorf("limit %d, at most %d, %d ended, left %d %d %d", limit, most, ended, p.comingUp, p.ready, p.playing)
		}
	})
}

// TestPaceDoesNotKeepWhoIsInterrupted.
func TestPaceDoesNotKeepWhoIsInterrupted(t *testing.T) {
	p := newPace(1, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := p.bringUp(ctx); err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped")
	cancel(stopped)
	if err := p.bringUp(ctx); !errors.Is(err, stopped) {
		t.Error(err)
	}
	p.isUp(true)
	if err := p.play(ctx); !errors.Is(err, stopped) || p.ready != 0 {
		t.Errorf("%v, %d ready", err, p.ready)
	}
}

// TestStateTellsTheTimeToGo in a bubble: the clock is the test's.
func TestStateTellsTheTimeToGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home := &stage{ref: "home", lab: &topology.Lab{Name: "home"}}
		a, b, c := jobOf("a", home, 10, 1), jobOf("b", home, 20, 1), jobOf("c", home, 30, 1)
		var told []State
		board := newBoard([]*job{a, b, c}, newPace(1, 1), func(s State) { told = append(told, s) })
		if got, want := board.state().Left, 60*time.Second+3*overheadAtFirst; got != want {
			t.Errorf("%s to go at first, want %s", got, want)
		}
		board.begin(a)
		time.Sleep(12 * time.Second)
		a.result = &scenarios.Result{}
		board.end(a)
		// It was two seconds longer than its steps: a quarter of the difference is believed.
		overhead := overheadAtFirst - 125*time.Millisecond
		if got, want := board.state().Left, 50*time.Second+2*overhead; got != want {
			t.Errorf("%s to go after one, want %s", got, want)
		}
		board.begin(b)
		board.end(c) // never begun
		if got := board.state(); got.Done != 2 || got.Total != 3 || len(got.Running) != 1 || got.Running[0] != "b on home" {
			t.Errorf("%+v", got)
		}
		if len(told) != 4 {
			t.Errorf("told %d times", len(told))
		}
		time.Sleep(20 * time.Second)
		b.result = &scenarios.Result{}
		board.end(b)
		sum := board.sum()
		if sum.Wall != 32*time.Second || sum.Lab != 30*time.Second || sum.Played != 32*time.Second || sum.Plays != 2 || sum.SideBySide() != 1 {
			t.Errorf("%+v", sum)
		}
		if got := sum.Ratio(); got < 1.06 || got > 1.07 {
			t.Errorf("ratio %f", got)
		}
	})
}

func TestInstanceNames(t *testing.T) {
	for _, lab := range []string{"home", "a-lab-whose-name-is-30-letters"} {
		one, two := InstanceName(lab), InstanceName(lab)
		if one == two || !topology.ValidName(one) || !strings.HasPrefix(one, lab[:4]) {
			t.Errorf("%s, %s", one, two)
		}
	}
}
