// Package engine says what a lab runs on: an [Engine] carries out a plan, a [Lab]
// is a running instance of one. Engines know no kinds of node: the plan says
// which capabilities and sysctls a node needs.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/wslab/wslab/topology"
)

// Engine runs labs.
type Engine interface {
	// Name as in --engine.
	Name() string
	// Probe says whether the engine can run labs here: nil, or an [*UnfitError].
	Probe(ctx context.Context) error
	// Refuse says why the engine cannot run a node with these needs, nil when it
	// can. It looks at this machine and asks nobody.
	Refuse(needs topology.Needs) *topology.Refusal
	// Up makes the running instance named p.Lab equal to the plan: creates what
	// is missing, replaces what differs, removes what is not in the plan. Nodes
	// are started together. It returns when every node has said that it is
	// ready, or failed. When it fails or ctx ends, what this call has made is
	// removed again; a [*LeftBehindError] says that it could not be. Other errors to
	// tell apart: [*RangeTakenError], [*BusyError], [*UnfitError], and [*EndedError]
	// of a node.
	Up(ctx context.Context, p *topology.Plan, progress Progress) (Changes, error)
	// Open returns the running instance of that name, or ErrNoLab.
	Open(ctx context.Context, lab string) (Lab, error)
	// Labs lists the instances that are there, whatever state they are in.
	Labs(ctx context.Context) ([]LabStatus, error)
	// Down removes everything of the instance, whatever state it is in. It
	// returns ErrNoLab when there was nothing.
	Down(ctx context.Context, lab string, progress Progress) error
	// Close releases the engine's client. Labs go on running.
	Close() error
}

// Lab is a running instance.
type Lab interface {
	// Plan as it is running, read back from the engine.
	Plan() *topology.Plan
	// Nodes says how each node is, in the order of the plan.
	Nodes(ctx context.Context) ([]NodeStatus, error)
	// Attach opens the node's control stream: what is written reaches its
	// standard input, what is read is its standard output from now on. Several
	// attachments at once see the same output.
	Attach(ctx context.Context, node string) (io.ReadWriteCloser, error)
	// Logs returns what the node has written to its standard output and error
	// so far, and goes on with what it writes until ctx ends if follow is set.
	Logs(ctx context.Context, node string, follow bool) (io.ReadCloser, error)
	// Exec runs a program of the host in the node's network namespace and
	// returns its exit code. It returns an [*UnfitError] where the engine cannot do that.
	Exec(ctx context.Context, node string, cmd Command) (int, error)
	// Pause stops every process of the node, Resume continues them. The
	// node's kernel goes on.
	Pause(ctx context.Context, node string) error
	Resume(ctx context.Context, node string) error
}

// Ephemeral is an [Engine] whose labs cost little and share nothing: any number of instances
// of one lab run side by side with the same addresses, and none has to outlive the process
// that it is for.
type Ephemeral interface {
	// UpTied is Up for an instance that is not there yet. It ends, with everything of it, when
	// this process does, however that ends, or when what is returned is closed.
	UpTied(ctx context.Context, p *topology.Plan, progress Progress) (Changes, io.Closer, error)
}

// Claimer is an [Engine] whose labs have a name that there is once on a machine, whoever brings them up.
type Claimer interface {
	// Claim makes the lab of that name, which need not be there, this process's own: it is listed as
	// tied, and who else claims it waits, which progress is told of. It ends when held is closed, or the
	// process has ended, and every other that has inherited held.
	Claim(ctx context.Context, lab string, progress Progress) (held *os.File, err error)
}

// ImageRunner is a [Lab] that can run container images on the network of a node.
type ImageRunner interface {
	// RunImage runs a container in the node's network namespace until it ends, and returns its exit code.
	// The program is the image's own; cmd.Args, if there are any, stand for its CMD. It is run by package
	// contain: cmd.Stdin gives the orders, and when it or this process ends everything of the container does.
	RunImage(ctx context.Context, node, image string, cmd Command) (int, error)
}

// Command is a program of the host to be run inside a node.
type Command struct {
	Args           []string
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Changes says what Up did.
type Changes struct {
	// Created, Replaced and Removed name the nodes and networks ("network NAME").
	Created, Replaced, Removed []string
}

// None says whether nothing had to be done.
func (c Changes) None() bool {
	return len(c.Created)+len(c.Replaced)+len(c.Removed) == 0
}

// LabStatus is an instance that an engine holds.
type LabStatus struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	File   string `json:"file"`
	Engine string `json:"engine"`
	// Nodes of the plan and how many of them run.
	Nodes   int     `json:"nodes"`
	Running int     `json:"running"`
	Speed   float64 `json:"speed"`
	// Tied says that the lab is a process's own and ends with it.
	Tied bool `json:"tied,omitempty"`
	// Created is when the oldest part of the lab was made.
	Created time.Time `json:"created"`
}

// State of a node's machine.
type State string

// The states of a node.
const (
	Running State = "running"
	Paused  State = "paused"
	Exited  State = "exited"
	Missing State = "missing"
)

// NodeStatus says how a node is.
type NodeStatus struct {
	Node  string `json:"node"`
	Kind  string `json:"kind"`
	State State  `json:"state"`
	// ExitCode and Detail say why an exited node has ended.
	ExitCode int    `json:"exit_code,omitempty"`
	Detail   string `json:"detail,omitempty"`
	// Addrs of the node, one for each interface.
	Addrs []string `json:"addrs"`
	// PID of the node's first process as the host sees it, 0 if unknown.
	PID int `json:"pid,omitempty"`
}

// Addrs are the addresses of a node as a [NodeStatus] has them.
func Addrs(spec *topology.NodeSpec) []string {
	addrs := make([]string, 0, len(spec.Interfaces))
	for _, i := range spec.Interfaces {
		addrs = append(addrs, i.Addr.Addr().String())
	}
	return addrs
}

// Progress takes one line about what is being done. It may be nil.
type Progress func(format string, args ...any)

// Say tells it, unless there is nobody to take it.
func (p Progress) Say(format string, args ...any) {
	if p != nil {
		p(format, args...)
	}
}

// ErrNoLab says that the engine holds no such instance.
var ErrNoLab = errors.New("no such lab")

// NoNode is the error of a method of [Lab] about a node that the lab does not have.
func NoNode(lab string) error { return fmt.Errorf("lab %s has no such node", lab) }

// NotRunning is the error of a method of [Lab] about a node whose process is not
// there. detail is that of its [NodeStatus].
func NotRunning(detail string) error {
	if detail != "" {
		detail = " (" + detail + ")"
	}
	return fmt.Errorf("it does not run%s; wslab up starts it again", detail)
}

// RangeTakenError says that Up found ranges of the plan in use by others. The caller
// may plan anew, around those that are taken.
type RangeTakenError struct {
	// Taken are the ranges that no network of the lab may have.
	Taken []topology.PlannedNetwork
	Err   error
}

// Error says which.
func (e *RangeTakenError) Error() string {
	return fmt.Sprintf("address range taken by another: %v", e.Err)
}

// Unwrap returns the cause.
func (e *RangeTakenError) Unwrap() error { return e.Err }

// BusyError says that another wslab works on the same lab at this moment.
type BusyError struct {
	Lab string
	// Err is how that came out, may be nil.
	Err error
}

// Error says what to do.
func (e *BusyError) Error() string {
	text := fmt.Sprintf("lab %s is being changed by another wslab at this moment; try again when it has ended", e.Lab)
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return text
}

// Unwrap returns the cause.
func (e *BusyError) Unwrap() error { return e.Err }

// LeftBehindError says that an Up that failed or was interrupted could not remove
// everything that it had made.
type LeftBehindError struct {
	Lab string
	Err error
}

// Error says what to do about it.
func (e *LeftBehindError) Error() string {
	return fmt.Sprintf("not everything of lab %s could be removed again, try: wslab down %s: %v", e.Lab, e.Lab, e.Err)
}

// Unwrap returns the cause.
func (e *LeftBehindError) Unwrap() error { return e.Err }

// UnfitError says that the environment cannot do what was asked: no engine, no
// privilege, too old. The command ends with exit code 3.
type UnfitError struct {
	// Problem is what is wrong, in one sentence without a full stop.
	Problem string
	// Remedy is what to do about it.
	Remedy string
	// Err is the cause, may be nil.
	Err error
}

// Error returns the problem and the remedy.
func (e *UnfitError) Error() string {
	if e.Remedy == "" {
		return e.Problem
	}
	return e.Problem + "\n  " + e.Remedy
}

// Unwrap returns the cause.
func (e *UnfitError) Unwrap() error { return e.Err }
