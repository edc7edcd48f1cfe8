package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/engine/docker"
	"github.com/wslab/wslab/internal/engine/netns"
)

// engineAuto takes the first engine that can run labs here.
const engineAuto = "auto"

// engineKind is an engine that --engine can name.
type engineKind struct {
	name string
	open func(*settings) (engine.Engine, error)
}

// engines is the list of engines, in the order in which auto tries them.
func engines() []engineKind {
	return []engineKind{
		{"docker", func(s *settings) (engine.Engine, error) {
			return docker.New(docker.Options{Host: s.dockerHost, Version: version()})
		}},
		{"netns", func(*settings) (engine.Engine, error) { return netns.New(netns.Options{}) }},
	}
}

// engineNames are what --engine can be.
func engineNames() []string {
	names := []string{engineAuto}
	for _, k := range engines() {
		names = append(names, k.name)
	}
	return names
}

// openEngine returns the engine that the settings name, after it has said that it
// can run labs here. auto takes the first that can, says why it is not an earlier
// one, and still finds labs that run on the others.
func (c *cli) openEngine(ctx context.Context) (engine.Engine, error) {
	var fit engine.Several
	var refused []error
	for _, k := range engines() {
		if c.settings.engine != engineAuto && c.settings.engine != k.name {
			continue
		}
		e, err := fitEngine(ctx, k, c.settings)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		fit = append(fit, e)
	}
	if len(fit) == 0 {
		return nil, errors.Join(refused...)
	}
	var unfit *engine.UnfitError
	if len(refused) > 0 && errors.As(refused[0], &unfit) && fit.Name() != engines()[0].name {
		c.progress("engine %s: %s", fit.Name(), unfit.Problem)
	}
	if len(fit) == 1 {
		return fit[0], nil
	}
	return fit, nil
}

func fitEngine(ctx context.Context, k engineKind, s *settings) (engine.Engine, error) {
	e, err := k.open(s)
	if err != nil {
		return nil, err
	}
	if err := e.Probe(ctx); err != nil {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

// withEngine runs f with the engine and closes it afterwards.
func (c *cli) withEngine(cmd *cobra.Command, f func(engine.Engine) error) error {
	e, err := c.openEngine(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	return f(e)
}
