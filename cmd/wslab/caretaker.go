package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/wslab/wslab/internal/engine"
)

// caretakerVerb is the hidden command that takes a lab down whose run was killed.
const caretakerVerb = "caretaker"

// relieved is what the run writes whose lab is down.
const relieved = 'r'

// careFor starts a process that takes the lab down if this one ends without having done so: what an engine
// runs goes on when its client is killed. relieve tells it that the lab is gone. It inherits claim, if there
// is one: the lab is nobody else's until it has done what it is for.
func (c *cli) careFor(engineName, name string, claim *os.File) (relieve func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, caretakerVerb, name, "--engine", engineName)
	if c.settings.dockerHost != "" {
		cmd.Args = append(cmd.Args, "--docker-host", c.settings.dockerHost)
	}
	if claim != nil {
		cmd.ExtraFiles = []*os.File{claim}
	}
	inBackground(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error {
		_, err := in.Write([]byte{relieved})
		return errors.Join(err, in.Close(), cmd.Wait())
	}, nil
}

func (c *cli) caretakerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    caretakerVerb + " LAB",
		Short:  "Take a lab down when its run was killed (started by run)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			said, err := io.ReadAll(c.in)
			if err == nil && len(said) > 0 {
				return nil
			}
			if c.settings, err = readSettings(cmd.Root().PersistentFlags()); err != nil {
				return err
			}
			return c.withEngine(cmd, func(e engine.Engine) error { return clearAway(cmd.Context(), e, args[0]) })
		},
	}
}

// How long an engine may still be at work on what a process has asked for that was killed.
const (
	clearWithin = time.Minute
	clearEvery  = time.Second
)

// clearAway takes a lab down, and what the engine makes of it meanwhile.
func clearAway(ctx context.Context, e engine.Engine, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, clearWithin, fmt.Errorf("lab %s is still there", name))
	defer cancel()
	for gone := 0; gone < 2; {
		err := e.Down(ctx, name, nil)
		if errors.Is(err, engine.ErrNoLab) {
			gone++
		} else {
			gone = 0
		}
		select {
		case <-time.After(clearEvery):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
	return nil
}
