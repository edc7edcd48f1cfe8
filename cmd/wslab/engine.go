package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/engine/docker"
	"github.com/wslab/wslab/internal/engine/netns"
	"github.com/wslab/wslab/internal/lab"
)

// engineAuto takes the first engine that can run labs here.
const engineAuto = "auto"

// engineKind is an engine that --engine can name.
type engineKind struct {
	name string
	open func(s *settings, notice engine.Progress) (engine.Engine, error)
}

// engines is the list of engines, in the order in which auto tries them.
func engines() []engineKind {
	return []engineKind{
		{"docker", func(s *settings, _ engine.Progress) (engine.Engine, error) {
			return docker.New(docker.Options{Host: s.dockerHost, Version: version()})
		}},
		{"netns", func(_ *settings, notice engine.Progress) (engine.Engine, error) {
			return netns.New(netns.Options{Notice: notice})
		}},
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
		e, err := c.fitEngine(ctx, k)
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

func (c *cli) fitEngine(ctx context.Context, k engineKind) (engine.Engine, error) {
	e, err := k.open(c.settings, c.progress)
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

// withRunning makes what is done with a running lab a command's: the lab of that name, or
// the one that is running.
func (c *cli) withRunning(name *string) func(f func(*cobra.Command, engine.Lab, []string) error) func(*cobra.Command, []string) error {
	return func(f func(*cobra.Command, engine.Lab, []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			return c.withEngine(cmd, func(e engine.Engine) error {
				running, err := lab.Open(cmd.Context(), e, *name)
				if err != nil {
					return err
				}
				return f(cmd, running, args)
			})
		}
	}
}
