//go:build !linux

package server

import (
	"errors"

	"github.com/wslab/wslab/internal/trace"
)

// vanishing needs the kernel of Linux, on which all nodes run.
type vanishing struct{}

func installVanishing() (*vanishing, error) { return nil, errors.ErrUnsupported }

func clearVanishing() error { return nil }

func (*vanishing) add(trace.Flow) error { return errors.ErrUnsupported }
func (*vanishing) remove() error        { return errors.ErrUnsupported }
