// Package lab brings labs up and walks them: what happens between a checked lab
// file and a running instance, whatever the engine.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// Progress may be nil.
	Progress engine.Progress
}

// Result of Up.
type Result struct {
	Plan    *topology.Plan
	Changes engine.Changes
	// Walks are the clients' ways to the server, each walked once.
	Walks []Walk
	// Ready is the time from the start to the last node's readiness, Walked to
	// the end of the walks.
	Ready, Walked time.Duration
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

// rangeTries bounds how often a plan is made anew because another lab took one
// of its ranges in the meantime.
const rangeTries = 3

// Up makes the running instance equal to the lab and walks its clients' ways once.
func Up(ctx context.Context, e engine.Engine, l *topology.Lab, o Options) (*Result, error) {
	start := time.Now()
	name := o.Name
	if name == "" {
		name = l.Name
	}
	progress := o.Progress
	if progress == nil {
		progress = func(string, ...any) {}
	}
	var plan *topology.Plan
	var changes engine.Changes
	for try := 1; ; try++ {
		var err error
		if plan, err = planFor(ctx, e, l, name, o); err != nil {
			return nil, err
		}
		for _, note := range plan.Notes {
			progress("%s", note)
		}
		changes, err = e.Up(ctx, plan, progress)
		if err == nil {
			break
		}
		if !errors.Is(err, engine.ErrRangeTaken) || try == rangeTries {
			return nil, err
		}
	}
	r := &Result{Plan: plan, Changes: changes, Ready: time.Since(start)}
	running, err := e.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if r.Walks, err = WalkAll(ctx, running); err != nil {
		return nil, err
	}
	r.Walked = time.Since(start)
	return r, nil
}

// planFor makes the plan of an instance. Where the instance runs already, its
// certificate authority and its moved ranges are kept, so that the same file
// gives the same plan.
func planFor(ctx context.Context, e engine.Engine, l *topology.Lab, name string, o Options) (*topology.Plan, error) {
	taken, err := e.Taken(ctx, name)
	if err != nil {
		return nil, err
	}
	opts := topology.PlanOptions{Name: name, File: o.File, Speed: o.Speed, Taken: taken}
	running, err := e.Open(ctx, name)
	switch {
	case err == nil:
		opts.Running = running.Plan()
		opts.CA = authority(running.Plan())
	case !errors.Is(err, engine.ErrNoLab):
		return nil, err
	}
	if opts.CA == nil {
		if opts.CA, err = ca.New(); err != nil {
			return nil, err
		}
	}
	return topology.NewPlan(l, opts)
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
