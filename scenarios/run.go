package scenarios

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/trace"
	"github.com/wslab/wslab/strategy"
	"github.com/wslab/wslab/topology"
)

// Lab is a running lab, whatever engine runs it.
type Lab interface {
	// Plan as it is running.
	Plan() *topology.Plan
	// Attach opens a node's control stream, from now on.
	Attach(ctx context.Context, node string) (io.ReadWriteCloser, error)
	// Pause stops a node's processes, Resume continues them.
	Pause(ctx context.Context, node string) error
	Resume(ctx context.Context, node string) error
}

// Options of Run.
type Options struct {
	// Progress takes one line about what is being done. May be nil.
	Progress func(format string, args ...any)
	// Why says why a node has ended, for the cause of a play during which one
	// did. May be nil.
	Why func(ctx context.Context, node string) string
}

// Limits in wall time: they bound what a broken lab can hold up, and are never
// part of a verdict.
const (
	openLimit    = 15 * time.Second // for the first connections
	readyLimit   = 15 * time.Second // for a node to be back, beyond its time down
	answerLimit  = 15 * time.Second // for a node to answer a request
	crashLimit   = 3 * time.Second  // for the end of a node to be known everywhere
	restoreLimit = 15 * time.Second // for undoing what a play has changed
	booksLimit   = 3 * time.Second  // for the last events to arrive
)

// How long messages that are still on their way are waited for after the last
// step: the longer of the two.
const (
	settleLab  = 3 * time.Second
	settleWall = 1500 * time.Millisecond
)

// Run plays a play on a running lab and judges it. What it changes at nodes it
// restores, also when ctx ends. Plays on one lab must not overlap. The error is for a
// play that could not be played; a client that fails is a verdict.
func Run(ctx context.Context, lab Lab, play Play, o Options) (*Result, error) {
	p, err := newPlayer(lab, play, o)
	if err != nil {
		return nil, err
	}
	result, err := p.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", play.Scenario.Name, err)
	}
	return result, nil
}

// session is one client session of a play.
type session struct {
	id       string
	strategy string
	settings json.RawMessage
	habits   strategy.Strategy
	expect   Expectation

	// program is set for a client that is not wslab's own, else nil.
	program *running
}

// player plays one play.
type player struct {
	lab  Lab
	plan *topology.Plan
	play Play
	o    Options

	client   string
	path     string
	sessions []session

	rec        *recorder
	nodes      map[string]*control.Conn
	background sync.WaitGroup
	fail       context.CancelCauseFunc

	mu sync.Mutex
	// undo is what has to be done at the end, last first.
	undo []func(context.Context) error
	// moved are the places at which nodes have another address than the plan says.
	moved map[place]bool
	// begun counts the steps that have begun.
	begun       int64
	talking     speech
	intercepted []string
	// down are the nodes that are being restarted; the channel is closed when
	// the node is ready again and was told what it has to know.
	down map[string]chan struct{}
}

func newPlayer(lab Lab, play Play, o Options) (*player, error) {
	p := &player{lab: lab, plan: lab.Plan(), play: play, o: o, rec: newRecorder(), nodes: make(map[string]*control.Conn), down: make(map[string]chan struct{}), moved: make(map[place]bool)}
	if p.o.Progress == nil {
		p.o.Progress = func(string, ...any) {}
	}
	if most, key := play.MaxSpeed(); most > 0 && p.plan.Speed > most {
		return nil, fmt.Errorf("scenario %s: %w", play.Scenario.Name, &topology.SpeedError{Speed: p.plan.Speed, Max: most, Key: key})
	}
	for _, n := range play.Nodes() {
		if _, ok := p.plan.Node(n); !ok {
			return nil, fmt.Errorf("scenario %s needs a node %q, which lab %s does not have", play.Scenario.Name, n, p.plan.Lab)
		}
	}
	for _, c := range play.changes() {
		if n, _ := p.plan.Node(c.Node); n.Kind != c.Kind {
			return nil, &OtherKindError{Scenario: play.Scenario.Name, Lab: p.plan.Lab, Node: c.Node, Kind: n.Kind, Wanted: c.Kind}
		}
	}
	spec, err := p.findClient()
	if err != nil {
		return nil, err
	}
	run := strings.ToLower(rand.Text()[:6])
	for _, e := range play.programs {
		p.sessions = append(p.sessions, session{id: e.Name + "-" + run, strategy: e.Name, program: &running{Program: e.Program}, expect: e.expect})
	}
	for _, e := range play.Expect {
		raw, err := p.strategy(spec, e.Client)
		if err != nil {
			return nil, err
		}
		s := session{id: e.Client + "-" + run, strategy: e.Client, settings: raw, expect: e}
		if err := json.Unmarshal(raw, &s.habits); err != nil {
			return nil, fmt.Errorf("strategy %s: %w", e.Client, err)
		}
		s.habits = s.habits.WithDefaults()
		p.sessions = append(p.sessions, s)
	}
	return p, nil
}

// OtherKindError says that a play changes settings that a node of this lab does not have: it
// is of another kind than in the lab that the scenario is for.
type OtherKindError struct {
	Scenario, Lab, Node string
	// Kind of the node in this lab, and that whose settings are changed.
	Kind, Wanted string
}

// Error says which settings.
func (e *OtherKindError) Error() string {
	return fmt.Sprintf("scenario %s changes settings of a %s at %s, which is a %s in lab %s", e.Scenario, e.Wanted, e.Node, e.Kind, e.Lab)
}

// findClient finds the node that the sessions start from, and the way they take.
func (p *player) findClient() (*topology.NodeSpec, error) {
	var ways []string
	for i := range p.plan.Nodes {
		n := &p.plan.Nodes[i]
		var settings struct {
			Paths []struct {
				Name string `json:"name"`
			} `json:"paths"`
		}
		if json.Unmarshal(n.Settings, &settings) != nil || len(settings.Paths) == 0 || (p.play.Client != "" && p.play.Client != n.Name) {
			continue
		}
		for _, way := range settings.Paths {
			if p.play.Path == "" || p.play.Path == way.Name {
				p.client, p.path = n.Name, way.Name
				return n, nil
			}
			ways = append(ways, way.Name)
		}
	}
	if len(ways) > 0 {
		return nil, fmt.Errorf("scenario %s: no client of lab %s has a way %q to the server; there is: %s",
			p.play.Scenario.Name, p.plan.Lab, p.play.Path, strings.Join(ways, ", "))
	}
	return nil, fmt.Errorf("scenario %s: lab %s has no client %q with a way to the server", p.play.Scenario.Name, p.plan.Lab, p.play.Client)
}

// strategy returns the settings of a strategy: the scenario's own, the lab's, or a built-in one; each may be
// asked to resume.
func (p *player) strategy(client *topology.NodeSpec, name string) (json.RawMessage, error) {
	base, resumes := strings.CutSuffix(name, strategy.ResumeSuffix)
	for _, defined := range []map[string]json.RawMessage{p.play.Scenario.Strategies, client.Strategies} {
		if raw, ok := defined[base]; ok {
			var s strategy.Strategy
			err := json.Unmarshal(raw, &s)
			return mustJSON(s.Resuming(resumes)), err
		}
	}
	if s, ok := strategy.Find(name); ok {
		return mustJSON(s), nil
	}
	return nil, fmt.Errorf("scenario %s: lab %s knows no strategy %q", p.play.Scenario.Name, p.plan.Lab, name)
}

// ids of all sessions.
func (p *player) ids() []string {
	ids := make([]string, len(p.sessions))
	for i, s := range p.sessions {
		ids[i] = s.id
	}
	return ids
}

// own are those of the sessions that the client node keeps: all but those of programs.
func own(sessions []session) []string {
	var ids []string
	for _, s := range sessions {
		if s.program == nil {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// crash is the end of a node during a play.
type crash struct{ node, why string }

func (c *crash) Error() string {
	if c.why == "" {
		return "node " + c.node + " has ended"
	}
	return "node " + c.node + " has ended: " + c.why
}

// run plays. A crash of a node ends the steps early; it is judged, not an error.
func (p *player) run(ctx context.Context) (result *Result, err error) {
	playing, cancel := context.WithCancelCause(ctx)
	p.fail = cancel
	var down *crash
	defer func() {
		cancel(nil)
		p.background.Wait()
		restoring, stop := context.WithTimeout(context.WithoutCancel(ctx), restoreLimit)
		defer stop()
		// A node that has ended cannot be restored, and is reported as it is.
		if undone := p.restore(restoring); err == nil && undone != nil && down == nil {
			err = fmt.Errorf("restore the lab: %w", undone)
		}
	}()
	if err := p.attach(playing); err != nil {
		return nil, err
	}
	if err := p.prepare(playing); err != nil {
		return nil, err
	}
	punctual := p.watchPunctuality(playing)
	defer punctual.stop()
	err = p.start(playing)
	start := time.Now()
	if err == nil {
		err = p.steps(playing)
	}
	end := time.Now()
	if err == nil {
		err = p.settle(playing)
	}
	if err == nil {
		err = p.balance(playing)
	}
	late := ""
	if err == nil {
		late = punctual.untrusted(playing, start)
	}
	if err == nil {
		err = p.endAll(playing)
	}
	if p.ended(playing, err, &down) {
		return p.judge(start, end, down), nil
	}
	if err != nil {
		return nil, err
	}
	result = p.judge(start, end, nil)
	result.Untrusted = late
	return result, nil
}

// ended says whether a node has ended during the play. Who asks a node that is about
// to end may learn of it before the play does.
func (p *player) ended(ctx context.Context, err error, down **crash) bool {
	var remote *control.RemoteError
	if err != nil && !errors.As(err, &remote) {
		select {
		case <-ctx.Done():
		case <-time.After(crashLimit):
		}
	}
	return errors.As(context.Cause(ctx), down)
}

// attach opens the control streams of all nodes.
func (p *player) attach(ctx context.Context) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, n := range p.plan.Nodes {
		wg.Go(func() {
			stream, err := p.lab.Attach(ctx, n.Name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err) // the engine names the node
				return
			}
			p.nodes[n.Name] = control.NewConn(n.Name, stream, p.onEvent)
		})
	}
	wg.Wait()
	p.restoreBy(func(context.Context) error { return p.detach() })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for name, c := range p.nodes {
		p.background.Go(func() { p.watch(ctx, name, c) })
	}
	return nil
}

func (p *player) detach() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(p.nodes)) {
		if err := p.nodes[name].Close(); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// onEvent takes an event of a node.
func (p *player) onEvent(e trace.Event) {
	p.rec.Record(e)
	if e.Type == trace.Stopped && e.Err != "" {
		p.fail(&crash{node: e.Node, why: e.Err})
	}
}

// watch ends the play when a node ends.
func (p *player) watch(ctx context.Context, name string, c *control.Conn) {
	select {
	case <-ctx.Done():
	case <-c.Done():
		down := &crash{node: name}
		if p.o.Why != nil {
			down.why = p.o.Why(ctx, name)
		}
		p.fail(down)
	}
}

// call asks a node something; one that is being restarted is waited for.
func (p *player) call(ctx context.Context, node, method string, params, result any) error {
	p.mu.Lock()
	back, down := p.down[node]
	p.mu.Unlock()
	if down {
		select {
		case <-back:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return p.callNow(ctx, node, method, params, result)
}

func (p *player) callNow(ctx context.Context, node, method string, params, result any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, errors.New("no answer"))
	defer cancel()
	c, ok := p.nodes[node]
	if !ok {
		return fmt.Errorf("lab %s has no node %q", p.plan.Lab, node)
	}
	return c.Call(ctx, method, params, result)
}

// restoreBy has something done at the end of the play, before what was asked for earlier.
func (p *player) restoreBy(undo func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.undo = append(p.undo, undo)
}

// restore undoes, last first, everything that can be undone.
func (p *player) restore(ctx context.Context) error {
	p.mu.Lock()
	all := p.undo
	p.mu.Unlock()
	var errs []error
	for _, undo := range slices.Backward(all) {
		errs = append(errs, undo(ctx))
	}
	return errors.Join(errs...)
}

// wait waits in lab time.
func (p *player) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(p.wall(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wall turns lab time into wall time.
func (p *player) wall(d time.Duration) time.Duration {
	return time.Duration(float64(d) / p.plan.Speed)
}
