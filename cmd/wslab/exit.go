package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/internal/lab"
	"github.com/wslab/wslab/topology"
)

// The exit codes, as `wslab --help` and README list them.
const (
	exitPassed      = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnfit       = 3
	exitInterrupted = 130
)

// exitCodes is the text for help and documentation.
const exitCodes = `Exit codes:
  0    passed, or done
  1    an expectation failed, a handshake is wrong, or the command failed
  2    wrong usage, or an invalid file
  3    the environment is unfit (no engine, no privilege); the message says what to do
  130  interrupted; what the command had made is gone again
  exec ends with the exit code of the program that it ran.
`

// usageError is wrong usage: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usageError.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// errExpectation says that a scenario's expectation failed. The report has said which.
var errExpectation = errors.New("expectation failed")

// programError carries the exit code of a program that exec ran.
type programError struct{ code int }

func (e *programError) Error() string {
	return fmt.Sprintf("the program ended with exit code %d", e.code)
}

// exitCode prints what went wrong and returns the exit code for it.
func exitCode(ctx context.Context, err error, stderr io.Writer) int {
	if err == nil {
		return exitPassed
	}
	var (
		program   *programError
		usage     *usageError
		problems  topology.Problems
		speed     *topology.SpeedError
		unfit     *engine.UnfitError
		notFound  *lab.NotFoundError
		ambiguous *lab.AmbiguousError

		leftBehind *engine.LeftBehindError
	)
	switch {
	case errors.As(err, &program):
		return program.code
	case err == errExpectation, err == errHandshake: // and nothing else that would have to be said
		return exitFailed
	case ctx.Err() != nil:
		_, _ = fmt.Fprintln(stderr, "wslab: interrupted")
		if errors.As(err, &leftBehind) {
			_, _ = fmt.Fprintln(stderr, "wslab:", leftBehind)
		}
		return exitInterrupted
	case errors.As(err, &problems):
		_, _ = fmt.Fprintln(stderr, problems)
		return exitUsage
	case errors.As(err, &unfit):
		_, _ = fmt.Fprintln(stderr, "wslab:", unfit)
		return exitUnfit
	}
	_, _ = fmt.Fprintln(stderr, "wslab:", err)
	switch {
	case errors.As(err, &usage), errors.As(err, &speed), errors.As(err, &notFound),
		errors.As(err, &ambiguous), errors.Is(err, lab.ErrNoneRunning):
		return exitUsage
	}
	return exitFailed
}
