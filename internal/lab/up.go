// Package lab brings labs up and walks them: what happens between a checked lab
// file and a running instance, whatever the engine.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/wslab/wslab/internal/ca"
	"github.com/wslab/wslab/internal/control"
	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/topology"
)

// Options of Up.
type Options struct {
	// Name of the instance; empty is the lab's own name.
	Name string
	// File that the lab was read from, for `wslab ps`.
	File string
	// Speed divides every duration; 1 is real time.
	Speed float64
	// Tied lets an instance that is not there yet end with this process, however that ends; it
	// needs an [engine.Ephemeral].
	Tied bool
	// Progress may be nil.
	Progress engine.Progress
}

// Result of Up.
type Result struct {
	// Engine is the name of the one that runs the lab.
	Engine  string
	Plan    *topology.Plan
	Changes engine.Changes
	// Walks are the clients' ways to the server, each walked once.
	Walks []Walk
	// Ready is the time from the start to the last node's readiness, Walked to
	// the end of the walks.
	Ready, Walked time.Duration
	// Tie of a lab that is tied to this process: the lab ends when it is closed. Else nil.
	Tie io.Closer
}

// Walk is one way of a client to the server, tried once.
type Walk struct {
	Client string `json:"client"`
	Path   string `json:"path"`
	OK     bool   `json:"ok"`
	// Stage that failed and the error, when not OK.
	Stage   string  `json:"stage,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

// rangeTries bounds how often a plan is made: anew around the ranges that the engine
// finds taken, and again where one of those was taken in the meantime.
const rangeTries = 4

// Up makes the running instance equal to the lab and walks its clients' ways once. Of
// several engines it takes the first that can run every node of the lab. What none can
// run is [topology.Problems], before anything is made.
func Up(ctx context.Context, e engine.Engine, l *topology.Lab, o Options) (*Result, error) {
	start := time.Now()
	name := o.Name
	if name == "" {
		name = l.Name
	}
	progress := o.Progress
	e, err := engine.For(e, l, progress)
	if err != nil {
		return nil, err
	}
	var plan *topology.Plan
	var changes engine.Changes
	var tie io.Closer
	var taken *engine.RangeTakenError
	var fresh bool
	for try := 1; ; try++ {
		var err error
		if plan, fresh, err = planFor(ctx, e, l, name, o, taken); err != nil {
			return nil, err
		}
		for _, note := range plan.Notes {
			progress.Say("%s", note)
		}
		if o.Tied {
			changes, tie, err = upTied(ctx, e, plan, progress)
		} else {
			changes, err = e.Up(ctx, plan, progress)
		}
		if err == nil {
			break
		}
		if !errors.As(err, &taken) || try == rangeTries {
			return nil, err
		}
	}
	r := &Result{Engine: e.Name(), Plan: plan, Changes: changes, Ready: time.Since(start), Tie: tie}
	if err := r.walk(ctx, e); err != nil {
		switch {
		case tie != nil:
			err = errors.Join(err, EndTied(ctx, e, name, tie))
		case fresh && ctx.Err() != nil: // what an interrupted command has made goes again
			err = errors.Join(err, end(ctx, e, name))
		}
		return nil, err
	}
	r.Walked = time.Since(start)
	return r, nil
}

func (r *Result) walk(ctx context.Context, e engine.Engine) error {
	running, err := e.Open(ctx, r.Plan.Lab)
	if err != nil {
		return err
	}
	r.Walks, err = WalkAll(ctx, running)
	return err
}

func upTied(ctx context.Context, e engine.Engine, plan *topology.Plan, progress engine.Progress) (engine.Changes, io.Closer, error) {
	t, ok := engine.AsEphemeral(e)
	if !ok {
		return engine.Changes{}, nil, fmt.Errorf("engine %s cannot tie a lab to this process", e.Name())
	}
	return t.UpTied(ctx, plan, progress)
}

// EndTied takes a lab down that is tied to this process, also when ctx has ended.
func EndTied(ctx context.Context, e engine.Engine, name string, tie io.Closer) error {
	err := end(ctx, e, name)
	if errors.Is(err, engine.ErrNoLab) {
		err = nil // it has ended by itself
	}
	return errors.Join(err, tie.Close())
}

func end(ctx context.Context, e engine.Engine, name string) error {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	return e.Down(ending, name, nil)
}

// endWithin bounds how long taking a lab down may take when nobody waits any more.
const endWithin = 30 * time.Second

// planFor makes the plan of an instance. Where the instance runs already, its
// certificate authority and its moved ranges are kept, so that the same file
// gives the same plan. taken is what the engine had against an earlier plan, or nil.
// fresh says that the instance does not run yet.
func planFor(ctx context.Context, e engine.Engine, l *topology.Lab, name string, o Options, taken *engine.RangeTakenError) (plan *topology.Plan, fresh bool, err error) {
	opts := topology.PlanOptions{Name: name, File: o.File, Speed: o.Speed}
	if taken != nil {
		opts.Taken = taken.Taken
	}
	running, err := e.Open(ctx, name)
	switch {
	case err == nil:
		opts.Running = running.Plan()
		opts.CA = authority(running.Plan())
	case errors.Is(err, engine.ErrNoLab):
		fresh = true
	default:
		return nil, false, err
	}
	if opts.CA == nil {
		if opts.CA, err = ca.New(); err != nil {
			return nil, false, err
		}
	}
	plan, err = topology.NewPlan(l, opts)
	return plan, fresh, err
}

// authority returns the running instance's authority from a node that has its key.
func authority(p *topology.Plan) *topology.Authority {
	for _, n := range p.Nodes {
		if n.CA != nil && n.CA.KeyPEM != "" {
			return n.CA
		}
	}
	return nil
}

// WalkAll lets every client of a running lab walk each of its ways to the server once.
func WalkAll(ctx context.Context, running engine.Lab) ([]Walk, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		walks []Walk
		errs  []error
	)
	clients := Clients(running.Plan())
	for _, client := range clients {
		wg.Go(func() {
			w, err := walk(ctx, running, client)
			mu.Lock()
			defer mu.Unlock()
			walks, errs = append(walks, w...), append(errs, err)
		})
	}
	wg.Wait()
	slices.SortStableFunc(walks, func(a, b Walk) int {
		return slices.Index(clients, a.Client) - slices.Index(clients, b.Client)
	})
	return walks, errors.Join(errs...)
}

func walk(ctx context.Context, running engine.Lab, client string) ([]Walk, error) {
	var walks []Walk
	if err := Call(ctx, running, client, "walk", struct{}{}, &walks); err != nil {
		return nil, err
	}
	for i := range walks {
		walks[i].Client = client
	}
	return walks, nil
}

// Call attaches to a node, asks it one thing and detaches.
func Call(ctx context.Context, running engine.Lab, node, method string, params, result any) error {
	stream, err := running.Attach(ctx, node)
	if err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	conn := control.NewConn(node, stream, nil)
	err = conn.Call(ctx, method, params, result)
	if errClose := conn.Close(); err == nil && errClose != nil {
		err = fmt.Errorf("node %s: %w", node, errClose)
	}
	return err
}

// Blocked says whether the lab file says of a client that it does not get through.
func Blocked(p *topology.Plan, client string) bool {
	n, ok := p.Node(client)
	if !ok {
		return false
	}
	var settings struct {
		Blocked bool `json:"blocked"`
	}
	return json.Unmarshal(n.Settings, &settings) == nil && settings.Blocked
}

// Clients returns the names of the nodes that have ways to the server.
func Clients(p *topology.Plan) []string {
	var names []string
	for _, n := range p.Nodes {
		var settings struct {
			Paths []json.RawMessage `json:"paths"`
		}
		if json.Unmarshal(n.Settings, &settings) == nil && len(settings.Paths) > 0 {
			names = append(names, n.Name)
		}
	}
	return names
}
