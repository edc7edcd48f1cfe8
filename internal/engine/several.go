package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/wslab/wslab/topology"
)

// Several is engines as one: new labs come up on the first, running ones are found
// on any of them. What cannot be asked holds no lab that can be reached.
type Several []Engine

// Name is that of the first.
func (s Several) Name() string { return s[0].Name() }

// Probe asks the first.
func (s Several) Probe(ctx context.Context) error { return s[0].Probe(ctx) }

// Refuse asks the first; see [For].
func (s Several) Refuse(needs topology.Needs) *topology.Refusal { return s[0].Refuse(needs) }

// Up brings the lab up on the first. An instance of that name on another one is an error.
func (s Several) Up(ctx context.Context, p *topology.Plan, progress Progress) (Changes, error) {
	for _, e := range s[1:] {
		if _, err := e.Open(ctx, p.Lab); err == nil {
			return Changes{}, fmt.Errorf("lab %s is running on engine %s already: take it down first, or use --engine %s", p.Lab, e.Name(), e.Name())
		}
	}
	return s[0].Up(ctx, p, progress)
}

// Open finds the lab on any of them.
func (s Several) Open(ctx context.Context, lab string) (Lab, error) {
	for _, e := range s {
		l, err := e.Open(ctx, lab)
		if !errors.Is(err, ErrNoLab) {
			return l, err
		}
	}
	return nil, ErrNoLab
}

// Labs lists those of all.
func (s Several) Labs(ctx context.Context) ([]LabStatus, error) {
	var all []LabStatus
	for _, e := range s {
		labs, err := e.Labs(ctx)
		if err != nil {
			return nil, fmt.Errorf("engine %s: %w", e.Name(), err)
		}
		all = append(all, labs...)
	}
	return all, nil
}

// Down takes the lab away wherever it is.
func (s Several) Down(ctx context.Context, lab string, progress Progress) error {
	for _, e := range s {
		if err := e.Down(ctx, lab, progress); !errors.Is(err, ErrNoLab) {
			return err
		}
	}
	return ErrNoLab
}

// Close closes all.
func (s Several) Close() error {
	var errs []error
	for _, e := range s {
		errs = append(errs, e.Close())
	}
	return errors.Join(errs...)
}
