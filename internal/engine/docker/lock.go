package docker

import (
	"fmt"

	"github.com/wslab/wslab/internal/engine"
)

// busyError says that another wslab works on the same lab at this moment.
type busyError struct {
	lab string
	err error
}

// Error says what to do.
func (e *busyError) Error() string {
	text := fmt.Sprintf("lab %s is being changed by another wslab at this moment; try again when it has ended", e.lab)
	if e.err != nil {
		text += fmt.Sprintf(" (%v)", e.err)
	}
	return text
}

// Unwrap returns the cause.
func (e *busyError) Unwrap() error { return e.err }

// progressOf makes a nil Progress one that drops what it is told.
func progressOf(p engine.Progress) engine.Progress {
	if p == nil {
		return func(string, ...any) {}
	}
	return p
}
