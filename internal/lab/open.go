package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wslab/wslab/internal/engine"
	"github.com/wslab/wslab/labs"
	"github.com/wslab/wslab/topology"
)

// EmbeddedPrefix stands before the name of a lab that came with the binary.
const EmbeddedPrefix = "embedded:"

// Read returns the lab that the user means: a file, or the name of an embedded
// lab. file is what positions and `wslab ps` show.
func Read(arg string, reg *topology.Registry) (l *topology.Lab, file string, err error) {
	src, file, err := source(arg)
	if err != nil {
		return nil, "", err
	}
	l, err = topology.Load(file, src, reg)
	return l, file, err
}

// source returns the bytes of a lab. What looks like a path is one; a bare word
// is an embedded lab.
func source(arg string) (src []byte, file string, err error) {
	if !strings.ContainsAny(arg, `/\`) && filepath.Ext(arg) == "" {
		src, err = labs.Read(arg)
		if err != nil {
			return nil, "", &NotFoundError{What: "lab", Name: arg, Known: labs.Names()}
		}
		return src, EmbeddedPrefix + arg, nil
	}
	src, err = os.ReadFile(arg)
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", &NotFoundError{What: "lab file", Name: arg, Known: labs.Names()}
	}
	if err != nil {
		return nil, "", fmt.Errorf("lab file: %w", err)
	}
	return src, arg, nil
}

// NotFoundError says that there is no lab of that name, running or not.
type NotFoundError struct {
	// What was looked for: "lab", "lab file", "running lab".
	What string
	Name string
	// Known are the names that would have worked.
	Known []string
}

// Error names what would have worked.
func (e *NotFoundError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("no %s %q", e.What, e.Name)
	}
	return fmt.Sprintf("no %s %q; there is: %s", e.What, e.Name, strings.Join(e.Known, ", "))
}

// ErrNoneRunning says that no lab is running on the engine.
var ErrNoneRunning = errors.New("no lab is running; start one with: wslab up home")

// AmbiguousError says that several labs are running and none was named.
type AmbiguousError struct{ Running []string }

// Error lists the labs.
func (e *AmbiguousError) Error() string {
	return "several labs are running, name one of them: " + strings.Join(e.Running, ", ")
}

// Open returns the running lab of that name, or the only one when name is empty.
// A lab file's path stands for the lab that was brought up from it.
func Open(ctx context.Context, e engine.Engine, name string) (engine.Lab, error) {
	status, err := Find(ctx, e, name)
	if err != nil {
		return nil, err
	}
	return e.Open(ctx, status.Name)
}

// Find is Open without opening.
func Find(ctx context.Context, e engine.Engine, name string) (*engine.LabStatus, error) {
	all, err := e.Labs(ctx)
	if err != nil {
		return nil, err
	}
	if name == "" {
		switch len(all) {
		case 0:
			return nil, ErrNoneRunning
		case 1:
			return &all[0], nil
		}
		return nil, &AmbiguousError{Running: names(all)}
	}
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	var fromFile []engine.LabStatus
	for _, s := range all {
		if s.File != "" && SameFile(s.File, name) {
			fromFile = append(fromFile, s)
		}
	}
	switch len(fromFile) {
	case 0:
		return nil, &NotFoundError{What: "running lab", Name: name, Known: names(all)}
	case 1:
		return &fromFile[0], nil
	}
	return nil, &AmbiguousError{Running: names(fromFile)}
}

func names(all []engine.LabStatus) []string {
	var n []string
	for _, s := range all {
		n = append(n, s.Name)
	}
	return n
}

// SameFile compares paths, relative ones from the working directory.
func SameFile(a, b string) bool {
	if a == b {
		return true
	}
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && absA == absB
}
